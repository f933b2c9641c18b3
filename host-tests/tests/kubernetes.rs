//! The manifests of `envoy-config/kubernetes`: their fields are those of the CustomResourceDefinitions, and what Istio and
//! Envoy Gateway make of them lets friends in and keeps intruders out in a real Envoy, on new and on resumed TLS sessions.
//! The mistakes that docs/kubernetes.md warns of are made here.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use host_tests::kubernetes::istio::Proxy;
use host_tests::kubernetes::{CERTIFICATE, Manifest, TRUSTED, envoy_gateway, istio};
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{
    CertificateAuthority, Client, Configuration, Envoy, Options, Recorder, SubjectAltName, TokenIssuer, access_log,
};

/// Kinds of which no schema is at hand.
const WITHOUT_SCHEMA: [&str; 6] =
    ["Gateway", "DestinationRule", "VirtualService", "NetworkPolicy", "CiliumNetworkPolicy", "Kustomization"];

/// The files with resources.
fn files() -> Result<Vec<String>> {
    let folder = fs::read_dir(testbed::root().join("envoy-config/kubernetes"))?;
    let mut files =
        folder.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<Result<Vec<_>>>()?;
    files.sort();
    ensure!(files.len() == 10, "{files:?}");
    Ok(files)
}

#[test]
fn the_manifests_have_the_fields_of_their_definitions_and_no_others() -> Result<()> {
    let mut compared = 0;
    for file in files()? {
        for resource in Manifest::read(&file)?.resources() {
            let kind = resource.get("kind").and_then(Value::as_str).with_context(|| file.clone())?;
            if WITHOUT_SCHEMA.contains(&kind) {
                continue;
            }
            let Some(faults) = testbed::schema_faults(resource)? else { continue };
            ensure!(faults.is_empty(), "{file}: {kind}: {faults:?}");
            compared += 1;
        }
    }
    ensure!(compared == 0 || compared == 17, "{compared} resources");
    Ok(())
}

#[test]
fn a_field_that_a_cluster_would_drop_is_found() -> Result<()> {
    let name = "identity-authz-orders";
    for (pointer, value, fault) in [
        ("/spec/failStrategi", json!("FAIL_OPEN"), "spec.failStrategi: unknown"),
        ("/spec/phase", json!("AUTHORIZATION"), r#"spec.phase: "AUTHORIZATION""#),
        ("/spec/priority", json!("10"), r#"spec.priority: "10""#),
        ("/spec/url", Value::Null, "spec: no url"),
        ("/spec/url", json!(""), "spec.url: 0 long"),
        ("/spec/selector/matchLabel", json!({"app": "orders"}), "spec.selector.matchLabel: unknown"),
        ("/apiVersion", json!("extensions.istio.io/v1"), "WasmPlugin has no version v1"),
        ("/specs", json!({}), "specs: unknown"),
    ] {
        let manifest = Manifest::read("istio-sidecar.yaml")?.with("WasmPlugin", name, pointer, value)?;
        let plugin = manifest.of_kind("WasmPlugin").nth(1).context("no plugin")?;
        let Some(faults) = testbed::schema_faults(plugin)? else { return Ok(()) };
        ensure!(faults == [fault], "{faults:?}, not {fault}");
    }
    Ok(())
}

#[test]
fn the_kustomization_has_one_form_of_each_and_says_what_takes_its_place() -> Result<()> {
    let text = fs::read_to_string(testbed::root().join("envoy-config/kubernetes/kustomization.yaml"))?;
    let kustomization = testbed::read_yaml(&text)?;
    let listed: BTreeSet<&str> = kustomization
        .get("resources")
        .and_then(Value::as_array)
        .context("no resources")?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let mut names = BTreeSet::new();
    for file in files()? {
        ensure!(text.contains(&file) || file == "kustomization.yaml", "{file} is not mentioned");
        if !listed.contains(file.as_str()) {
            continue;
        }
        for resource in Manifest::read(&file)?.resources() {
            let name =
                ["/kind", "/metadata/namespace", "/metadata/name"].map(|pointer| resource.pointer(pointer).cloned());
            ensure!(names.insert(format!("{name:?}")), "{file}: {name:?} stands in two files");
        }
    }
    ensure!(
        listed.iter().all(|file| testbed::root().join("envoy-config/kubernetes").join(file).exists()),
        "{listed:?}"
    );
    Ok(())
}

/// Expected outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Status(u16),
    /// No TLS session, or a connection that is closed.
    Refused,
}

use Answer::{Refused, Status};

/// Caller: a service account, as in `shop/web`, of the trusted authority; none; or a certificate of a stranger's.
#[derive(Clone, Copy, Debug)]
enum Caller {
    Account(&'static str),
    Nobody,
    Plaintext,
    Forged(&'static str),
}

use Caller::{Account, Forged, Nobody, Plaintext};

/// An Envoy with a translated manifest.
struct Run {
    envoy: Envoy,
    folder: TempDir,
    authority: CertificateAuthority,
    issuer: TokenIssuer,
}

impl Run {
    fn start(translate: impl FnOnce(&Path, SocketAddr, &str) -> Result<Value>) -> Result<Self> {
        testbed::build_filters()?;
        let folder = tempfile::tempdir()?;
        let authority = CertificateAuthority::new("trusted")?;
        fs::write(folder.path().join(TRUSTED), authority.pem())?;
        authority.issue(&[SubjectAltName::Dns("localhost".to_owned())])?.write(folder.path(), CERTIFICATE)?;
        let issuer = TokenIssuer::new("login");
        let service = Recorder::start("")?;
        let bootstrap = translate(folder.path(), service.address(), &issuer.key_set())?;
        let options =
            Options { binary: testbed::envoy_binary()?, folder: folder.path().to_owned(), workers: 1, detached: false };
        Ok(Self { envoy: Envoy::start(&Configuration::new(bootstrap), &options)?, folder, authority, issuer })
    }

    fn client(&self, caller: Caller) -> Result<Client> {
        let uri = |account: &str| {
            let (namespace, name) = account.split_once('/').context("no namespace")?;
            Ok::<_, anyhow::Error>(SubjectAltName::Uri(format!("spiffe://cluster.local/ns/{namespace}/sa/{name}")))
        };
        let at = self.envoy.listener("ingress")?;
        match caller {
            Account(account) => Client::tls(at, Some(&self.authority.issue(&[uri(account)?])?)),
            Forged(account) => Client::tls(at, Some(&CertificateAuthority::new("stranger")?.issue(&[uri(account)?])?)),
            Nobody => Client::tls(at, None),
            Plaintext => Ok(Client::plaintext(at)),
        }
    }

    /// Asks four times, each on a connection of its own; TLS sessions are resumed where the listener does that.
    fn ask(&self, caller: Caller, request: &str) -> Result<[Answer; 4]> {
        let client = self.client(caller)?;
        let (line, headers) =
            request.split_once(' ').map_or((request, ""), |_| request.split_once('|').unwrap_or((request, "")));
        let host = if headers.contains("host:") { "" } else { "host: orders.shop\r\n" };
        let head = format!("{} HTTP/1.1\r\n{host}{headers}connection: close\r\n\r\n", line.trim());
        let mut answers = [Refused; 4];
        for answer in &mut answers {
            *answer = client.send(head.as_bytes()).map_or(Refused, |response| Status(response.status));
        }
        Ok(answers)
    }

    fn check(&self, rows: &[(Caller, &str, Answer)]) -> Result<()> {
        for (caller, request, expected) in rows {
            let answers = self.ask(*caller, request)?;
            ensure!(answers == [*expected; 4], "{caller:?} {request}: {answers:?}, expected {expected:?}");
        }
        Ok(())
    }

    /// A request with a token of the issuer, or of another, whose claim `group` is this.
    fn with_token(&self, line: &str, group: &str, is_forged: bool) -> String {
        let issuer = if is_forged { TokenIssuer::new("stranger") } else { self.issuer };
        let token = issuer.token(&json!({"iss": "https://login.example", "sub": "ann", "group": group}));
        format!("{line}|authorization: Bearer {token}\r\n")
    }

    /// Fails unless a denial in the access log has a reason with all of these words.
    fn ensure_reason(&self, filter: &str, words: &[&str]) -> Result<()> {
        let reason = |entry: &Value| entry.get(filter).and_then(Value::as_str).map(str::to_owned);
        let says = |text: &str| words.iter().all(|word| text.contains(word));
        let log = self.folder.path().join("envoy.out");
        let entry = access_log::find(&log, |entry| reason(entry).is_some())?;
        let reason = reason(&entry).context("no reason")?;
        ensure!(says(&reason), "{reason}");
        Ok(())
    }
}

fn orders(manifest: &Manifest) -> Result<Run> {
    Run::start(|folder, upstream, _| istio::sidecar(manifest, "orders", false, folder, upstream))
}

const SIDECAR: &[(Caller, &str, Answer)] = &[
    (Account("shop/web"), "GET /orders/17", Status(200)),
    (Account("shop/web"), "POST /orders/17", Status(403)),
    (Account("shop/web"), "GET /orders/drafts/1", Status(403)),
    (Account("shop/web"), "GET /orders%2Fdrafts/1", Status(403)),
    (Account("dev/web"), "GET /orders/17", Status(403)),
    (Forged("shop/web"), "GET /orders/17", Refused),
    (Nobody, "GET /orders/17", Refused),
    (Plaintext, "GET /orders/17", Refused),
];

#[test]
fn a_sidecar_with_wasmplugin_lets_friends_in_and_keeps_intruders_out() -> Result<()> {
    let run = orders(&Manifest::read("istio-sidecar.yaml")?)?;
    run.check(SIDECAR)?;
    run.check(&[(Account("shop/web"), "GET /orders/17|user-agent: sqlmap/1.8\r\n", Status(403))])?;
    ensure!(run.envoy.log()?.contains("wasm log shop.identity-authz-orders"), "{}", run.envoy.log()?);
    Ok(())
}

#[test]
fn a_sidecar_with_trafficextension_and_without_resumption_does_too() -> Result<()> {
    orders(&Manifest::read("istio-sidecar-trafficextension.yaml")?)?.check(SIDECAR)
}

#[test]
fn without_the_envoyfilter_resumed_sessions_are_denied_and_the_reason_names_the_settings() -> Result<()> {
    let manifest = Manifest::read("istio-sidecar-trafficextension.yaml")?.without("EnvoyFilter")?;
    let run = orders(&manifest)?;
    let answers = run.ask(Account("shop/web"), "GET /orders/17")?;
    ensure!(answers == [Status(200), Status(403), Status(403), Status(403)], "{answers:?}");
    run.ensure_reason("identity", &["disable_stateless_session_resumption", "identity.validation: listener"])
}

#[test]
fn without_strict_plaintext_reaches_the_filter_and_has_no_identity() -> Result<()> {
    let run = orders(&Manifest::read("istio-sidecar.yaml")?.without("PeerAuthentication")?)?;
    run.check(&[
        (Account("shop/web"), "GET /orders/17", Status(200)),
        (Plaintext, "GET /orders/17", Status(403)),
        (Forged("shop/web"), "GET /orders/17", Refused),
    ])
}

/// Mistakes that leave a filter out: nothing denies, and only the missing line at load tells.
#[test]
fn a_plugin_that_is_nowhere_denies_nothing_and_logs_nothing_at_load() -> Result<()> {
    for (pointer, value) in [
        ("/spec/selector/matchLabels", json!({"app": "order"})),
        ("/spec/match", json!([{"mode": "CLIENT"}])),
        ("/spec/type", json!("NETWORK")),
    ] {
        let name = "identity-authz-orders";
        let manifest = Manifest::read("istio-sidecar.yaml")?.with("WasmPlugin", name, pointer, value)?;
        let run = orders(&manifest)?;
        run.check(&[(Account("dev/web"), "DELETE /orders/17", Status(200))]).context(pointer)?;
        ensure!(!run.envoy.log()?.contains("wasm log shop.identity-authz-orders"), "{}", run.envoy.log()?);
    }
    Ok(())
}

fn edge(manifest: &Manifest) -> Result<Run> {
    Run::start(|folder, upstream, keys| istio::gateway(manifest, Proxy::Gateway("edge"), keys, folder, upstream))
}

#[test]
fn a_gateway_lets_staff_in_by_token() -> Result<()> {
    let run = edge(&Manifest::read("istio-gateway.yaml")?)?;
    run.check(&[
        (Nobody, &run.with_token("GET /reports/2026", "staff", false), Status(200)),
        (Nobody, &run.with_token("GET /reports/2026", "guest", false), Status(403)),
        (Nobody, &run.with_token("GET /reports/2026", "staff", true), Status(401)),
        (Nobody, "GET /reports/2026", Status(403)),
        (Nobody, "GET /health", Status(200)),
        (Nobody, "GET /health|user-agent: sqlmap/1.8\r\n", Status(403)),
    ])
}

#[test]
fn in_phase_authn_tokens_are_not_validated_yet_and_rules_that_refer_to_them_deny() -> Result<()> {
    let manifest = Manifest::read("istio-gateway.yaml")?;
    let run = edge(&manifest.with("WasmPlugin", "identity-authz-edge", "/spec/phase", json!("AUTHN"))?)?;
    run.check(&[(Nobody, &run.with_token("GET /reports/2026", "staff", false), Status(403))])?;
    run.ensure_reason("identity", &["with a token that was not validated"])
}

/// Asks through a tunnel of ambient mode.
fn ask_in_tunnel(run: &Run, caller: Caller, line: &str) -> Result<Answer> {
    let mut stream = run.client(caller)?.connect()?;
    let Ok(status) = testbed::response_head(&mut *stream, b"CONNECT 10.0.0.7:80 HTTP/1.1\r\nhost: 10.0.0.7:80\r\n\r\n")
    else {
        return Ok(Refused);
    };
    ensure!(status == 200, "the tunnel gets {status}");
    write!(stream, "{line} HTTP/1.1\r\nhost: orders.shop\r\n\r\n")?;
    Ok(Status(testbed::response_head(&mut *stream, b"")?))
}

#[test]
fn a_waypoint_knows_callers_by_filter_state() -> Result<()> {
    let manifest = Manifest::read("istio-waypoint.yaml")?;
    let start =
        |manifest: &Manifest| Run::start(|folder, upstream, _| istio::waypoint(manifest, "orders", folder, upstream));
    let run = start(&manifest)?;
    for (caller, line, expected) in [
        (Account("shop/web"), "GET /orders/17", Status(200)),
        (Account("shop/web"), "POST /orders/17", Status(403)),
        (Account("dev/web"), "GET /orders/17", Status(403)),
        (Forged("shop/web"), "GET /orders/17", Refused),
    ] {
        for _ in 0..2 {
            let answer = ask_in_tunnel(&run, caller, line)?;
            ensure!(answer == expected, "{caller:?} {line}: {answer:?}");
        }
    }
    let name = "identity-authz-orders";
    let by_certificate = manifest.with("WasmPlugin", name, "/spec/pluginConfig/identity", Value::Null)?;
    let answer = ask_in_tunnel(&start(&by_certificate)?, Account("shop/web"), "GET /orders/17")?;
    ensure!(answer == Status(403), "{answer:?}");
    Ok(())
}

fn ledger(manifest: &Manifest) -> Result<Run> {
    // Echoes nothing, but answers the head of a request: enough to see whether bytes pass.
    Run::start(|folder, upstream, _| istio::sidecar(manifest, "ledger", true, folder, upstream))
}

#[test]
fn a_tcp_service_has_the_filter_for_connections() -> Result<()> {
    let manifest = Manifest::read("istio-layer4.yaml")?;
    // The test's listener has a port of its own.
    let open_port = json!([{"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/orders"]}}]}]);
    let rules = "/spec/pluginConfig/resources/0/spec/rules";
    let name = "identity-authz-ledger";
    ledger(&manifest)?.check(&[(Account("shop/orders"), "GET /", Refused)])?;
    let manifest = manifest.with("WasmPlugin", name, rules, open_port)?;
    ledger(&manifest)?.check(&[
        (Account("shop/orders"), "GET /", Status(200)),
        (Account("shop/web"), "GET /", Refused),
        (Forged("shop/orders"), "GET /", Refused),
        (Nobody, "GET /", Refused),
        (Plaintext, "GET /", Refused),
    ])?;
    // As HTTP the plugin is not inserted, and everybody whom Istio knows gets in.
    let http = manifest.with("WasmPlugin", name, "/spec/type", json!("HTTP"))?;
    ledger(&http)?.check(&[(Account("shop/web"), "GET /", Status(200))])
}

#[test]
fn an_egress_gateway_lets_out_who_may_to_where_they_may() -> Result<()> {
    let manifest = Manifest::read("istio-egress-gateway.yaml")?;
    let start = |manifest: &Manifest| {
        let proxy = Proxy::LabelledGateway("egressgateway");
        Run::start(|folder, upstream, keys| istio::gateway(manifest, proxy, keys, folder, upstream))
    };
    let run = start(&manifest)?;
    let ask = |run: &Run, caller, sni, host: &str| {
        let client = run.client(caller)?.with_sni(Some(sni));
        let head = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let answers = [(); 3].map(|()| client.send(head.as_bytes()).map_or(Refused, |answer| Status(answer.status)));
        ensure!(answers.iter().all(|answer| Some(answer) == answers.first()), "{caller:?} {host}: {answers:?}");
        answers.first().copied().context("no answer")
    };
    let (partner, payments) = ("api.partner.example", Account("shop/payments"));
    for (caller, sni, host, expected) in [
        (payments, partner, partner, Status(200)),
        (payments, partner, "files.partner.example", Status(403)),
        (payments, "egressgateway.istio-egress.svc", partner, Status(403)),
        (Account("shop/web"), partner, partner, Status(403)),
        (Forged("shop/payments"), partner, partner, Refused),
        (Nobody, partner, partner, Refused),
    ] {
        let answer = ask(&run, caller, sni, host)?;
        ensure!(answer == expected, "{caller:?} {sni} {host}: {answer:?}");
    }
    let simple = manifest.clone().with("Gateway", "egress", "/spec/servers/0/tls/mode", json!("SIMPLE"))?;
    let answer = ask(&start(&simple)?, payments, partner, partner)?;
    ensure!(answer == Status(403), "without certificates: {answer:?}");
    // Where TLS is passed through, so is everything else; plaintext shows it best.
    let passing = start(&manifest.with("Gateway", "egress", "/spec/servers/0/tls/mode", json!("PASSTHROUGH"))?)?;
    passing.check(&[(Plaintext, "DELETE /", Status(200))])?;
    ensure!(!passing.envoy.log()?.contains("sallyport"), "{}", passing.envoy.log()?);
    Ok(())
}

#[test]
fn addresses_deny_in_both_products_until_a_filter_hands_them_over() -> Result<()> {
    let rules = json!([{"from": [{"source": {"ipBlocks": ["127.0.0.0/8"]}}]}]);
    let sidecar = Manifest::read("istio-sidecar.yaml")?;
    let at = "/spec/pluginConfig/resources/0/spec/rules";
    let run = orders(&sidecar.with("WasmPlugin", "identity-authz-orders", at, rules.clone())?)?;
    run.check(&[(Account("shop/web"), "GET /orders/17", Status(403))])?;
    run.ensure_reason("identity", &["sallyport.direct_remote_address"])?;

    let gateway = Manifest::read("envoy-gateway.yaml")?;
    let at = "/spec/wasm/1/config/resources/0/spec/rules";
    let run = envoy_gateway(&gateway.with("EnvoyExtensionPolicy", "sallyport-edge", at, rules)?)?;
    run.check(&[(Account("partners/billing"), "GET /orders/17", Status(403))])?;
    run.ensure_reason("identity", &["sallyport.direct_remote_address"])
}

fn envoy_gateway(manifest: &Manifest) -> Result<Run> {
    Run::start(|folder, upstream, keys| envoy_gateway::gateway(manifest, "edge", keys, folder, upstream))
}

#[test]
fn envoy_gateway_lets_friends_in_by_certificate_and_token() -> Result<()> {
    let run = envoy_gateway(&Manifest::read("envoy-gateway.yaml")?)?;
    run.check(&[
        (Account("partners/billing"), "GET /orders/17", Status(200)),
        (Account("partners/billing"), "GET /orders/17|user-agent: sqlmap/1.8\r\n", Status(403)),
        (Account("partners/billing"), "DELETE /orders/17", Status(403)),
        (Account("partners/other"), "GET /orders/17", Status(403)),
        (Account("shop/desk"), &run.with_token("GET /reports/1", "staff", false), Status(200)),
        (Account("shop/desk"), &run.with_token("GET /reports/1", "guest", false), Status(403)),
        (Account("shop/desk"), &run.with_token("GET /reports/1", "staff", true), Status(401)),
        (Account("shop/desk"), "GET /reports/1", Status(403)),
        (Account("partners/other"), &run.with_token("GET /reports/1", "staff", false), Status(403)),
        (Account("shop/desk"), "GET /reports%2F1", Status(400)),
        (Forged("partners/billing"), "GET /orders/17", Refused),
        (Nobody, "GET /orders/17", Refused),
    ])
}

const EDGE: &str = "edge";
const IDENTITY: &str = "/spec/wasm/1/config/identity";
const VALIDATION: &str = "/spec/tls/clientValidation";

#[test]
fn a_listener_of_envoy_gateway_that_takes_any_certificate_is_denied_and_the_reason_says_so() -> Result<()> {
    let manifest = Manifest::read("envoy-gateway.yaml")?;
    let any = manifest.clone().with("ClientTrafficPolicy", EDGE, &format!("{VALIDATION}/mode"), json!("RequireAny"))?;
    let run = envoy_gateway(&any)?;
    run.check(&[(Forged("partners/billing"), "GET /orders/17", Status(403))])?;
    run.ensure_reason("identity", &["ACCEPT_UNTRUSTED"])?;
    // What the page warns of: the filter is told that certificates are validated, and nothing validates them.
    let told = any.with("EnvoyExtensionPolicy", "sallyport-edge", IDENTITY, json!({"validation": "listener"}))?;
    envoy_gateway(&told)?.check(&[(Forged("partners/billing"), "GET /orders/17", Status(200))])?;

    let none = manifest.clone().with("ClientTrafficPolicy", EDGE, VALIDATION, Value::Null)?;
    envoy_gateway(&none)?.check(&[
        (Account("partners/billing"), "GET /orders/17", Status(403)),
        (Forged("partners/billing"), "GET /orders/17", Status(403)),
    ])?;

    let session = json!({"resumption": {"stateless": {}}});
    let resumed = envoy_gateway(&manifest.with("ClientTrafficPolicy", EDGE, "/spec/tls/session", session)?)?;
    let answers = resumed.ask(Account("partners/billing"), "GET /orders/17")?;
    ensure!(answers == [Status(200), Status(403), Status(403), Status(403)], "{answers:?}");
    resumed.ensure_reason("identity", &["disable_stateless_session_resumption"])
}

#[test]
fn without_the_providers_name_tokens_deny_in_envoy_gateway_and_the_reason_names_the_key() -> Result<()> {
    let manifest = Manifest::read("envoy-gateway.yaml")?;
    let run = envoy_gateway(&manifest.with("EnvoyExtensionPolicy", "sallyport-edge", IDENTITY, Value::Null)?)?;
    run.check(&[(Account("shop/desk"), &run.with_token("GET /reports/1", "staff", false), Status(403))])?;
    run.ensure_reason("identity", &["identity.jwt.metadataKeys"])
}

#[test]
fn a_policy_for_another_gateway_leaves_the_filters_out() -> Result<()> {
    let manifest = Manifest::read("envoy-gateway.yaml")?;
    let name = "/spec/targetRefs/0/name";
    let run = envoy_gateway(&manifest.with("EnvoyExtensionPolicy", "sallyport-edge", name, json!("egde"))?)?;
    run.check(&[(Account("partners/other"), "DELETE /orders/17", Status(200))])?;
    ensure!(!run.envoy.log()?.contains("wasm log identity-authz"), "{}", run.envoy.log()?);
    Ok(())
}

#[test]
fn a_policy_for_a_route_takes_the_place_of_the_gateways_and_the_filters_are_off() -> Result<()> {
    let of_route = json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "EnvoyExtensionPolicy",
        "metadata": {"name": "headers", "namespace": "shop"},
        "spec": {
            "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "orders"}],
            "lua": [{"type": "Inline", "inline": "function envoy_on_request(handle) end"}]
        }
    });
    let faults = testbed::schema_faults(&of_route)?.unwrap_or_default();
    ensure!(faults.is_empty(), "{faults:?}");
    let run = envoy_gateway(&Manifest::read("envoy-gateway.yaml")?.and(&of_route))?;
    run.check(&[(Account("partners/other"), "DELETE /orders/17", Status(200))])
}

/// Pods as far as NetworkPolicy looks at them: namespace and labels.
struct Pod(&'static str, &'static [(&'static str, &'static str)]);

const WEB: Pod = Pod("shop", &[("app", "web")]);
const LEDGER: Pod = Pod("shop", &[("app", "ledger")]);
const GATEWAY: Pod = Pod("istio-egress", &[("istio", "egressgateway")]);
const OTHER_OF_EGRESS: Pod = Pod("istio-egress", &[("app", "other")]);
const DNS: Pod = Pod("kube-system", &[("k8s-app", "kube-dns")]);
const ISTIOD: Pod = Pod("istio-system", &[("app", "istiod")]);

/// Destination of a connection.
enum To {
    Pod(&'static Pod),
    Address([u8; 4]),
}

/// The labels of a selector are all there. NetworkPolicy has them under `matchLabels`.
fn selects(selector: &Value, labels: &[(&str, &str)]) -> bool {
    let wanted = selector.get("matchLabels").and_then(Value::as_object);
    wanted.is_none_or(|wanted| wanted.iter().all(|(key, value)| labels.iter().any(|(k, v)| k == key && value == v)))
}

fn is_in(cidr: &str, address: [u8; 4]) -> Result<bool> {
    let (network, length) = cidr.split_once('/').context("no length")?;
    let network: std::net::Ipv4Addr = network.parse()?;
    let mask = u32::MAX.checked_shl(32 - length.parse::<u32>()?).unwrap_or(0);
    Ok(u32::from_be_bytes(address) & mask == u32::from(network) & mask)
}

/// Reports whether NetworkPolicies let a pod connect: the first that selects it closes everything that none opens.
fn may_connect(policies: &[Value], from: &Pod, to: &To, protocol: &str, port: u16) -> Result<bool> {
    let Pod(namespace, labels) = from;
    let (mut is_selected, mut is_open) = (false, false);
    for policy in policies {
        let spec = policy.get("spec").context("no spec")?;
        let selector = spec.get("podSelector").context("no podSelector")?;
        if policy.pointer("/metadata/namespace") != Some(&json!(namespace)) || !selects(selector, labels) {
            continue;
        }
        is_selected = true;
        for rule in spec.get("egress").and_then(Value::as_array).context("no egress")? {
            let ports = rule.get("ports").and_then(Value::as_array);
            let is_port =
                |one: &Value| one.get("port") == Some(&json!(port)) && one.get("protocol") == Some(&json!(protocol));
            if ports.is_some_and(|ports| !ports.iter().any(is_port)) {
                continue;
            }
            for peer in rule.get("to").and_then(Value::as_array).context("a rule to everywhere")? {
                is_open |= match to {
                    To::Pod(Pod(other, labels)) => {
                        let name: &[(&str, &str)] = &[("kubernetes.io/metadata.name", other)];
                        let is_there = match peer.get("namespaceSelector") {
                            Some(selector) => selects(selector, name),
                            None => other == namespace && peer.get("podSelector").is_some(),
                        };
                        is_there && peer.get("podSelector").is_none_or(|selector| selects(selector, labels))
                    }
                    To::Address(address) => {
                        let Some(block) = peer.get("ipBlock") else { continue };
                        let cidr = block.get("cidr").and_then(Value::as_str).context("no cidr")?;
                        let mut is_in_block = is_in(cidr, *address)?;
                        for except in block.get("except").and_then(Value::as_array).into_iter().flatten() {
                            is_in_block &= !is_in(except.as_str().context("no text")?, *address)?;
                        }
                        is_in_block
                    }
                };
            }
        }
    }
    Ok(!is_selected || is_open)
}

/// CiliumNetworkPolicies as NetworkPolicies, as far as these two files are alike.
fn as_network_policy(policy: &Value) -> Result<Value> {
    let egress = policy.pointer("/spec/egress").and_then(Value::as_array).context("no egress")?;
    let rules = egress.iter().map(|rule| {
        let to = match (rule.pointer("/toEndpoints/0"), rule.pointer("/toCIDRSet/0")) {
            (Some(endpoint), _) => {
                let mut labels = endpoint.get("matchLabels").and_then(Value::as_object).cloned().unwrap_or_default();
                let namespace = labels.remove("k8s:io.kubernetes.pod.namespace");
                let pods = json!({"matchLabels": labels});
                match namespace {
                    Some(name) => json!({
                        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}, "podSelector": pods
                    }),
                    None => json!({"podSelector": pods}),
                }
            }
            (None, Some(block)) => json!({"ipBlock": block}),
            (None, None) => bail!("{rule} is not translated"),
        };
        let mut translated = json!({"to": [to]});
        if let Some(ports) = rule.pointer("/toPorts/0/ports").and_then(Value::as_array) {
            let mut all = Vec::new();
            for port in ports {
                let number: u16 = port.get("port").and_then(Value::as_str).context("no port")?.parse()?;
                match port.get("protocol").and_then(Value::as_str) {
                    Some("ANY") => all.extend(["TCP", "UDP"].map(|name| json!({"port": number, "protocol": name}))),
                    name => all.push(json!({"port": number, "protocol": name})),
                }
            }
            translated.as_object_mut().context("no object")?.insert("ports".to_owned(), json!(all));
        }
        Ok(translated)
    });
    Ok(json!({
        "metadata": policy.get("metadata"),
        "spec": {
            "podSelector": policy.pointer("/spec/endpointSelector"),
            "egress": rules.collect::<Result<Vec<_>>>()?
        }
    }))
}

#[test]
fn network_policies_let_only_the_gateway_out() -> Result<()> {
    let cilium = Manifest::read("cilium-network-policy.yaml")?;
    let cilium = cilium.resources().iter().map(as_network_policy).collect::<Result<Vec<_>>>()?;
    for policies in [Manifest::read("network-policy.yaml")?.resources(), &cilium] {
        for (from, to, protocol, port, expected) in [
            (&WEB, To::Pod(&LEDGER), "TCP", 5432, true),
            (&WEB, To::Pod(&GATEWAY), "TCP", 8443, true),
            (&WEB, To::Pod(&GATEWAY), "TCP", 15000, false),
            (&WEB, To::Pod(&OTHER_OF_EGRESS), "TCP", 8443, false),
            (&WEB, To::Pod(&DNS), "UDP", 53, true),
            (&WEB, To::Pod(&DNS), "TCP", 443, false),
            (&WEB, To::Pod(&ISTIOD), "TCP", 15012, true),
            (&WEB, To::Address([93, 184, 216, 34]), "TCP", 443, false),
            (&WEB, To::Address([93, 184, 216, 34]), "UDP", 443, false),
            (&WEB, To::Address([9, 9, 9, 9]), "UDP", 53, false),
            (&WEB, To::Address([169, 254, 169, 254]), "TCP", 80, false),
            (&GATEWAY, To::Address([93, 184, 216, 34]), "TCP", 443, true),
            (&GATEWAY, To::Address([93, 184, 216, 34]), "UDP", 443, false),
            (&GATEWAY, To::Address([93, 184, 216, 34]), "TCP", 25, false),
            (&GATEWAY, To::Address([169, 254, 169, 254]), "TCP", 443, false),
            (&GATEWAY, To::Address([10, 0, 0, 7]), "TCP", 443, false),
            (&GATEWAY, To::Pod(&DNS), "UDP", 53, true),
        ] {
            let may = may_connect(policies, from, &to, protocol, port)?;
            let to = match to {
                To::Pod(Pod(namespace, labels)) => format!("{namespace} {labels:?}"),
                To::Address(address) => format!("{address:?}"),
            };
            ensure!(may == expected, "{:?} to {to} {protocol} {port}: {may}", from.1);
        }
    }
    Ok(())
}

/// A WasmPlugin with this many rules, each for a caller, a method and a path, as long as a cluster stores it.
fn length_with(rules: usize) -> Result<usize> {
    let rule = |number: usize| {
        json!({
            "from": [{"source": {"principals": [format!("cluster.local/ns/shop/sa/caller-{number:05}")]}}],
            "to": [{"operation": {"methods": ["GET"], "paths": [format!("/orders/{number:05}/*")]}}]
        })
    };
    let rules: Vec<_> = (0..rules).map(rule).collect();
    let pointer = "/spec/pluginConfig/resources/0/spec/rules";
    let manifest =
        Manifest::read("istio-sidecar.yaml")?.with("WasmPlugin", "identity-authz-orders", pointer, json!(rules))?;
    Ok(manifest.of_kind("WasmPlugin").nth(1).context("no plugin")?.to_string().len())
}

/// The numbers of rules in the table of docs/kubernetes.md, of which each is the most below the limit, in fifties.
#[test]
fn the_page_says_how_many_rules_fit() -> Result<()> {
    let page = fs::read_to_string(testbed::root().join("docs/kubernetes.md"))?;
    let (empty, thousand) = (length_with(0)?, length_with(1_000)?);
    let each = (thousand - empty).div_ceil(1_000);
    // Annotations of an object; a request to etcd; a client-side apply, which stores the object a second time in them.
    for (limit, place) in [(262_144, "`kubectl apply`"), (1_572_864, "etcd")] {
        let fit = (limit - empty) / each / 50 * 50;
        ensure!(length_with(fit)? <= limit && length_with(fit + 100)? > limit, "{fit} rules are no limit of {place}");
        let number = format!("{},{:03}", fit / 1_000, fit % 1_000);
        println!("{place}: {limit} bytes, {number} rules of {each} bytes");
        ensure!(
            page.lines().any(|line| line.starts_with('|') && line.contains(place) && line.contains(&number)),
            "docs/kubernetes.md has no row {place} with {number}"
        );
    }
    Ok(())
}
