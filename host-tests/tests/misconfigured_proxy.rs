//! Settings that the documentation asks for, taken away one at a time from `envoy-config/` in a real Envoy: the answer
//! stays as the policy says, or it is a denial whose reason names the setting.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use host_tests::config_file::{File, MANAGER, Proxy, TLS};
use serde_json::{Value, json};
use testbed::{CertificateAuthority, Client, Identity, SmtpServer, SubjectAltName, TokenIssuer, access_log};

const FRONTEND: &str = "spiffe://cluster.local/ns/shop/sa/frontend";
const ORDERS: &str = "spiffe://cluster.local/ns/shop/sa/orders";

/// The configuration of `identity-authz` with one policy of this action and rule.
fn policy(action: &str, rule: &Value) -> Value {
    json!({"defaultAction": "ALLOW", "resources": [resource(action, rule)]})
}

fn resource(action: &str, rule: &Value) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"name": action.to_lowercase(), "namespace": "shop"},
        "spec": {"action": action, "rules": [rule]}
    })
}

/// A policy that lets the frontend in.
fn allow_frontend() -> Value {
    policy("ALLOW", &json!({"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/frontend"]}}]}))
}

/// The frontend below `/orders/` alone, and nobody at `/orders/admin`.
fn check_paths(settings: &[&str]) -> Result<()> {
    let frontend = json!({"principals": ["cluster.local/ns/shop/sa/frontend"]});
    let policies = json!({"resources": [
        resource("ALLOW", &json!({"from": [{"source": frontend}], "to": [{"operation": {"paths": ["/orders/*"]}}]})),
        resource("DENY", &json!({"to": [{"operation": {"paths": ["/orders/admin"]}}]}))
    ]});
    let mut file = File::ingress(&policies)?;
    for setting in settings {
        file = file.without(MANAGER, setting)?;
    }
    let proxy = file.start()?;
    let client = proxy.client(FRONTEND)?;
    for path in ["/orders/17", "/orders/17?next=/orders/../admin", "/orders/x/../17"] {
        let status = client.get(path)?.status;
        ensure!(status == 200, "{path} gets {status}");
    }
    for path in [
        "/orders/../admin",
        "/orders/%2e%2e/admin",
        "/orders/..%2fadmin",
        "/orders/..%5cadmin",
        "/orders/..\\admin",
        "/orders/..;/admin",
        "/orders//admin",
        "//orders/admin",
        "/orders/./admin",
        "/orders/x/../admin",
        "/orders/%61dmin",
        "/orders/admin;x",
        "/orders%2fadmin",
        "/orders/x//../../admin",
        "/%6frders//admin",
    ] {
        let status = client.get(path)?.status;
        // Envoy refuses some itself: 400, or with escaped slashes a redirect to nowhere else.
        ensure!(status == 403 || status == 400, "{path} gets {status}");
    }
    Ok(())
}

#[test]
fn paths_hold_without_normalize_path() -> Result<()> {
    check_paths(&["normalize_path"])
}

#[test]
fn paths_hold_without_merge_slashes() -> Result<()> {
    check_paths(&["merge_slashes"])
}

#[test]
fn paths_hold_without_path_with_escaped_slashes_action() -> Result<()> {
    check_paths(&["path_with_escaped_slashes_action"])
}

#[test]
fn paths_hold_without_any_normalization() -> Result<()> {
    check_paths(&["normalize_path", "merge_slashes", "path_with_escaped_slashes_action"])
}

/// Asks with an address of the client's choice.
fn with_forwarded_for(client: &Client, address: &str) -> Result<u16> {
    let head = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: {address}\r\nconnection: close\r\n\r\n");
    Ok(client.send(head.as_bytes())?.status)
}

#[test]
fn ip_blocks_hold_without_use_remote_address() -> Result<()> {
    let inside = json!({"from": [{"source": {"ipBlocks": ["10.9.9.0/24"]}}]});
    let outside = json!({"from": [{"source": {"notIpBlocks": ["127.0.0.0/8"]}}]});
    for (action, rule, status) in [("ALLOW", inside, 403), ("DENY", outside, 200)] {
        let proxy = File::ingress(&policy(action, &rule))?.without(MANAGER, "use_remote_address")?.start()?;
        let found = with_forwarded_for(&proxy.client(FRONTEND)?, "10.9.9.9")?;
        ensure!(found == status, "{action}: {found}, expected {status}");
    }
    Ok(())
}

#[test]
fn remote_ip_blocks_are_refused_until_the_settings_are_vouched_for() -> Result<()> {
    let mut policies = policy("ALLOW", &json!({"from": [{"source": {"remoteIpBlocks": ["10.9.9.0/24"]}}]}));
    let refused = File::ingress(&policies)?.without(MANAGER, "use_remote_address")?.start();
    let error = refused.err().context("the configuration is accepted")?.to_string();
    for name in ["remoteAddress: missing", "use_remote_address", "xff_num_trusted_hops"] {
        ensure!(error.contains(name), "{error}");
    }
    *policies.as_object_mut().context("no object")?.entry("remoteAddress").or_insert(Value::Null) = json!("trusted");
    // With the setting that the word vouches for, the client chooses nothing.
    let proxy = File::ingress(&policies)?.start()?;
    let status = with_forwarded_for(&proxy.client(FRONTEND)?, "10.9.9.9")?;
    ensure!(status == 403, "{status}");
    // A word that is not true cannot be told from one that is: this is what the refusal above is for.
    let proxy = File::ingress(&policies)?.without(MANAGER, "use_remote_address")?.start()?;
    let status = with_forwarded_for(&proxy.client(FRONTEND)?, "10.9.9.9")?;
    ensure!(status == 200, "{status}");
    Ok(())
}

#[test]
fn ip_blocks_without_the_direct_address_are_denied() -> Result<()> {
    for (action, field) in [("ALLOW", "ipBlocks"), ("DENY", "ipBlocks"), ("ALLOW", "notIpBlocks")] {
        let rule = json!({"from": [{"source": {field: ["127.0.0.0/8"]}}]});
        let filters = format!("{MANAGER}/http_filters");
        let proxy = File::ingress(&policy(action, &rule))?.without_direct_remote_address(&filters)?.start()?;
        let status = proxy.client(FRONTEND)?.get("/")?.status;
        ensure!(status == 403, "{action} {field}: {status}");
        proxy.ensure_reason(&["sallyport.direct_remote_address"])?;
    }
    Ok(())
}

#[test]
fn a_resumed_session_is_denied_and_the_reason_names_the_settings() -> Result<()> {
    const STATELESS: &str = "disable_stateless_session_resumption";
    const STATEFUL: &str = "disable_stateful_session_resumption";
    for settings in [&[STATELESS, STATEFUL][..], &[STATELESS], &[STATEFUL]] {
        let mut file = File::ingress(&allow_frontend())?;
        for setting in settings {
            file = file.without(TLS, setting)?;
        }
        let proxy = file.start()?;
        let client = proxy.client(FRONTEND)?;
        let answers = (0..3).map(|_| Ok(client.get("/")?.status)).collect::<Result<Vec<_>>>()?;
        ensure!(answers.first() == Some(&200), "{settings:?}: {answers:?}");
        // Clients of TLS 1.3 resume by tickets, which are stateless.
        match settings.contains(&STATELESS) {
            true => {
                ensure!(answers == [200, 403, 403], "{settings:?}: {answers:?}");
                proxy.ensure_reason(&[STATELESS, STATEFUL, "identity.validation: listener"])?;
            }
            false => ensure!(answers == [200; 3], "{settings:?}: {answers:?}"),
        }
    }
    Ok(())
}

#[test]
fn without_require_client_certificate_a_client_without_one_is_denied() -> Result<()> {
    let without = || File::ingress(&allow_frontend())?.without(TLS, "require_client_certificate");
    // Envoy still requires a certificate where it has names to match.
    let proxy = without()?.start()?;
    ensure!(proxy.client(FRONTEND)?.get("/")?.status == 200, "the listener still takes a certificate");
    let refused = Client::tls(proxy.envoy.listener("ingress")?, None)?.get("/");
    ensure!(refused.is_err(), "{refused:?}");
    let context = format!("{TLS}/common_tls_context/validation_context");
    let proxy = without()?.without(&context, "match_typed_subject_alt_names")?.start()?;
    let at = proxy.envoy.listener("ingress")?;
    ensure!(proxy.client(FRONTEND)?.get("/")?.status == 200, "the listener still asks for a certificate");
    let stranger = CertificateAuthority::new("stranger")?.issue(&[SubjectAltName::Uri(FRONTEND.to_owned())])?;
    let forged = Client::tls(at, Some(&stranger))?.get("/");
    ensure!(forged.is_err(), "{forged:?}");
    let status = Client::tls(at, None)?.get("/")?.status;
    ensure!(status == 403, "{status}");
    proxy.ensure_reason(&["require_client_certificate", "validation_context"])
}

#[test]
fn without_validation_context_everybody_is_denied() -> Result<()> {
    let context = format!("{TLS}/common_tls_context");
    let proxy = File::ingress(&allow_frontend())?.without(&context, "validation_context")?.start()?;
    // The listener asks for no certificate then, whatever require_client_certificate says.
    let status = proxy.client(FRONTEND)?.get("/")?.status;
    ensure!(status == 403, "{status}");
    proxy.ensure_reason(&["require_client_certificate", "validation_context"])
}

#[test]
fn a_certificate_that_nothing_validated_is_denied_and_the_reason_names_the_settings() -> Result<()> {
    let mut file = File::ingress(&allow_frontend())?;
    file.configuration.at(&format!("{TLS}/common_tls_context/validation_context"))?["trust_chain_verification"] =
        json!("ACCEPT_UNTRUSTED");
    let proxy = file.start()?;
    let stranger = CertificateAuthority::new("stranger")?.issue(&[SubjectAltName::Uri(FRONTEND.to_owned())])?;
    let status = Client::tls(proxy.envoy.listener("ingress")?, Some(&stranger))?.get("/")?.status;
    ensure!(status == 403, "{status}");
    proxy.ensure_reason(&["validation_context", "ACCEPT_UNTRUSTED", "identity.validation"])
}

#[test]
fn a_foreign_trust_domain_is_no_friend_without_match_typed_subject_alt_names() -> Result<()> {
    let context = format!("{TLS}/common_tls_context/validation_context");
    let proxy = File::ingress(&allow_frontend())?.without(&context, "match_typed_subject_alt_names")?.start()?;
    let status = proxy.client("spiffe://cluster.example/ns/shop/sa/frontend")?.get("/")?.status;
    ensure!(status == 403, "{status}");
    ensure!(proxy.client(FRONTEND)?.get("/")?.status == 200, "the frontend");
    Ok(())
}

/// Adds Envoy's JWT filter, which keeps the payload of a token under `key`, or not at all.
fn with_tokens(mut file: File, issuer: &TokenIssuer, key: Option<&str>) -> Result<File> {
    let mut provider = json!({
        "issuer": "https://issuer.example",
        "local_jwks": {"inline_string": issuer.key_set()},
        "payload_in_metadata": key
    });
    if key.is_none() {
        provider.as_object_mut().context("no object")?.remove("payload_in_metadata");
    }
    let filter = json!({"name": "envoy.filters.http.jwt_authn", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        "providers": {"corp": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "corp"}}]
    }});
    let filters = file.configuration.at(&format!("{MANAGER}/http_filters"))?.as_array_mut().context("no filters")?;
    filters.insert(0, filter);
    Ok(file)
}

fn ask_with_token(proxy: &Proxy, issuer: &TokenIssuer, group: &str) -> Result<u16> {
    let token = issuer.token(&json!({"iss": "https://issuer.example", "sub": "ann", "group": group}));
    let head =
        format!("GET / HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n");
    Ok(proxy.client(FRONTEND)?.send(head.as_bytes())?.status)
}

#[test]
fn a_payload_under_another_name_is_denied_and_the_reason_names_the_settings() -> Result<()> {
    let issuer = TokenIssuer::new("issuer");
    let rule = json!({"when": [{"key": "request.auth.claims[group]", "values": ["guest"]}]});
    for action in ["ALLOW", "DENY"] {
        for group in ["guest", "staff"] {
            let proxy = with_tokens(File::ingress(&policy(action, &rule))?, &issuer, Some("corp"))?.start()?;
            let status = ask_with_token(&proxy, &issuer, group)?;
            ensure!(status == 403, "{action}, {group}: {status}");
            proxy.ensure_reason(&["payload_in_metadata", "identity.jwt.metadataKeys"])?;
        }
    }
    // Under its name the claim decides.
    let proxy = with_tokens(File::ingress(&policy("DENY", &rule))?, &issuer, Some("payload"))?.start()?;
    ensure!(ask_with_token(&proxy, &issuer, "guest")? == 403, "a guest");
    ensure!(ask_with_token(&proxy, &issuer, "staff")? == 200, "one of the staff");
    Ok(())
}

#[test]
fn a_payload_that_is_kept_nowhere_is_no_token() -> Result<()> {
    let issuer = TokenIssuer::new("issuer");
    let start = |action: &str, rule: &Value| with_tokens(File::ingress(&policy(action, rule))?, &issuer, None)?.start();
    let proxy = start("ALLOW", &json!({"when": [{"key": "request.auth.claims[group]", "values": ["staff"]}]}))?;
    ensure!(ask_with_token(&proxy, &issuer, "staff")? == 403, "a claim of nowhere");
    proxy.ensure_reason(&["without a token", "payload_in_metadata"])?;
    // What a DENY by a claim cannot see, one for want of a token does.
    let proxy = start("DENY", &json!({"from": [{"source": {"notRequestPrincipals": ["*"]}}]}))?;
    ensure!(ask_with_token(&proxy, &issuer, "guest")? == 403, "a token of nowhere");
    proxy.ensure_reason(&["without a token", "payload_in_metadata"])
}

const MAIL: &str = "/static_resources/listeners/1";
const EGRESS: &str = "/static_resources/listeners/1/filter_chains/0";

/// `layer4.yaml` in front of a mail server that speaks first.
fn layer4() -> Result<(File, SmtpServer)> {
    let mut file = File::read("layer4.yaml", &["postgres", "mail"])?;
    let mail = SmtpServer::start()?;
    let SocketAddr::V4(address) = mail.address() else { bail!("no IPv4 address") };
    *file.configuration.at(
        "/static_resources/clusters/1/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address",
    )? = json!({"address": address.ip().to_string(), "port_value": address.port()});
    Ok((file, mail))
}

/// Reports whether the mail server's greeting reaches a client.
fn is_greeted(proxy: &Proxy, uri: &str) -> Result<bool> {
    let mut stream = Client::tls(proxy.envoy.listener("mail")?, Some(&proxy.identity(uri)?))?.connect()?;
    let mut greeting = vec![0; SmtpServer::GREETING.len()];
    Ok(stream.read_exact(&mut greeting).is_ok() && greeting == SmtpServer::GREETING.as_bytes())
}

#[test]
fn a_server_that_speaks_too_early_is_cut_off_and_the_reason_names_upstream_connect_mode() -> Result<()> {
    let tcp_proxy = format!("{MAIL}/filter_chains/0/filters/2/typed_config");
    let (file, _mail) = layer4()?;
    let proxy = file.without(&tcp_proxy, "upstream_connect_mode")?.start()?;
    ensure!(!is_greeted(&proxy, FRONTEND)?, "who is not allowed is greeted");
    // Without the TLS inspector, which waits for the client's first bytes, the server comes first for certain.
    let (file, _mail) = layer4()?;
    let proxy = file.without(&tcp_proxy, "upstream_connect_mode")?.without(MAIL, "listener_filters")?.start()?;
    let orders = proxy.identity(ORDERS)?;
    let mut stream = Client::tls(proxy.envoy.listener("mail")?, Some(&orders))?.connect()?;
    // The client starts its handshake with the first read.
    proxy.ensure_reason(&["upstream_connect_mode: ON_DOWNSTREAM_TLS_HANDSHAKE"])?;
    let mut greeting = [0];
    ensure!(stream.read_exact(&mut greeting).is_err(), "a byte has passed");
    Ok(())
}

#[test]
fn connections_without_the_direct_address_are_denied() -> Result<()> {
    let (file, _mail) = layer4()?;
    let proxy = file.without_direct_remote_address(&format!("{MAIL}/filter_chains/0/filters"))?.start()?;
    ensure!(!is_greeted(&proxy, ORDERS)?, "the DENY by address is passed");
    proxy.ensure_reason(&["sallyport.direct_remote_address"])
}

#[test]
fn connections_without_a_certificate_that_was_asked_for_are_denied() -> Result<()> {
    let tls = format!("{MAIL}/filter_chains/0/transport_socket/typed_config");
    let (file, _mail) = layer4()?;
    let names = format!("{tls}/common_tls_context/validation_context");
    let file = file.without(&names, "match_typed_subject_alt_names")?;
    let proxy = file.without(&tls, "require_client_certificate")?.start()?;
    let greeted = Client::tls(proxy.envoy.listener("mail")?, None)?.is_greeted(SmtpServer::GREETING.as_bytes());
    ensure!(!greeted.is_ok_and(|greeted| greeted), "greeted without a certificate");
    let (file, _mail) = layer4()?;
    let proxy = file.without(&format!("{tls}/common_tls_context"), "validation_context")?.start()?;
    ensure!(!is_greeted(&proxy, ORDERS)?, "the listener asks for no certificate, so nobody has an identity");
    Ok(())
}

/// `egress.yaml`, in which the gateway itself answers what it lets through.
fn egress(rules: Option<&Value>) -> Result<File> {
    let mut file = File::read("egress.yaml", &["workload"])?;
    let manager = format!("{EGRESS}/filters/0/typed_config");
    *file.configuration.at(&format!("{manager}/route_config/virtual_hosts/0/routes"))? =
        json!([{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]);
    if let Some(rules) = rules {
        *file.configuration.at(&format!("{manager}/http_filters/1/typed_config/config/configuration/value"))? =
            json!({"rules": rules});
    }
    Ok(file)
}

/// Asks for the partner's API, with an address of the client's choice.
fn ask_partner(proxy: &Proxy, identity: Option<&Identity>) -> Result<u16> {
    let client = Client::tls(proxy.envoy.listener("mtls")?, identity)?.with_sni(Some("api.partner.example"));
    let head = "GET / HTTP/1.1\r\nhost: api.partner.example:443\r\nx-forwarded-for: 10.9.9.9\r\n\
                connection: close\r\n\r\n";
    Ok(client.send(head.as_bytes())?.status)
}

const PAYMENTS: &str = "spiffe://cluster.local/ns/shop/sa/payments";

#[test]
fn the_gateway_lets_nobody_out_without_an_identity() -> Result<()> {
    let tls = format!("{EGRESS}/transport_socket/typed_config");
    // Envoy would require a certificate for the names to match.
    let context = format!("{tls}/common_tls_context/validation_context");
    let file = egress(None)?.without(&context, "match_typed_subject_alt_names")?;
    let proxy = file.without(&tls, "require_client_certificate")?.start()?;
    let status = ask_partner(&proxy, Some(&proxy.identity(PAYMENTS)?))?;
    ensure!(status == 200, "payments: {status}");
    let status = ask_partner(&proxy, None)?;
    ensure!(status == 403, "nobody: {status}");
    proxy.ensure_reason(&["require_client_certificate", "validation_context"])?;
    let proxy = egress(None)?.without(&format!("{tls}/common_tls_context"), "validation_context")?.start()?;
    let status = ask_partner(&proxy, Some(&proxy.identity(PAYMENTS)?))?;
    ensure!(status == 403, "payments, who is not asked: {status}");
    proxy.ensure_reason(&["require_client_certificate", "validation_context"])
}

#[test]
fn the_gateway_takes_no_address_from_x_forwarded_for() -> Result<()> {
    let rules = json!([{
        "name": "partner", "from": [{"source": {"ipBlocks": ["10.9.9.9"]}}], "hosts": ["api.partner.example"],
        "ports": [443]
    }]);
    let manager = format!("{EGRESS}/filters/0/typed_config");
    let file = egress(Some(&rules))?.without(&manager, "use_remote_address")?;
    let proxy = file.start()?;
    let status = ask_partner(&proxy, Some(&proxy.identity(PAYMENTS)?))?;
    ensure!(status == 403, "an address of the client's choice: {status}");
    let filters = format!("{manager}/http_filters");
    let proxy = egress(Some(&rules))?.without_direct_remote_address(&filters)?.start()?;
    let status = ask_partner(&proxy, Some(&proxy.identity(PAYMENTS)?))?;
    ensure!(status == 403, "no address: {status}");
    proxy.ensure_reason(&["sallyport.direct_remote_address"])
}

#[test]
fn without_tls_inspector_no_connection_passes_and_no_server_name_is_compared() -> Result<()> {
    let ask = |proxy: &Proxy, host: &str| -> Result<u16> {
        let payments = proxy.identity(PAYMENTS)?;
        let client = Client::tls(proxy.envoy.listener("mtls")?, Some(&payments))?.with_sni(Some("updates.example.org"));
        let head = format!("GET / HTTP/1.1\r\nhost: {host}:443\r\nconnection: close\r\n\r\n");
        Ok(client.send(head.as_bytes())?.status)
    };
    let proxy = egress(None)?.start()?;
    ensure!(ask(&proxy, "api.partner.example")? == 403, "the server name is not that of the host");
    let file = egress(None)?.without("/static_resources/listeners/1", "listener_filters")?;
    let proxy = file.without("/static_resources/listeners/2", "listener_filters")?.start()?;
    for (host, status) in [("api.partner.example", 200), ("evil.example", 403)] {
        let found = ask(&proxy, host)?;
        ensure!(found == status, "{host}: {found}, expected {status}");
    }
    let passed = Client::tls(proxy.envoy.listener("tls")?, None)?.with_sni(Some("updates.example.org")).get("/");
    ensure!(passed.is_err(), "{passed:?}");
    let reason = |entry: &Value| entry.get("reason").and_then(Value::as_str).unwrap_or_default().to_owned();
    let log = proxy.folder.path().join("envoy.out");
    access_log::find(&log, |entry| reason(entry).contains("tls_inspector"))?;
    Ok(())
}
