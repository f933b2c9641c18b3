//! Validation of certificates in a real Envoy: by its attribute and by its listener, on resumed TLS sessions, and after a
//! certificate has expired.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::{
    CertificateAuthority, Client, Configuration, Envoy, Identity, Options, SubjectAltName, round_trip, wait,
};

const LIMIT: Duration = Duration::from_secs(30);

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

/// An Envoy with `identity-authz` behind a listener that verifies certificates.
struct Fixture {
    envoy: Envoy,
    client: Identity,
    _folder: tempfile::TempDir,
}

/// TLS of a listener that requires a certificate of `authority`, with session resumption or without.
fn listener_tls(folder: &Path, authority: &CertificateAuthority, resumption: bool) -> Result<Value> {
    fs::write(folder.join("trusted.pem"), authority.pem())?;
    authority.issue(&[SubjectAltName::Dns("localhost".to_owned())])?.write(folder, "server")?;
    Ok(json!({"name": "tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": true,
        "disable_stateless_session_resumption": !resumption,
        "disable_stateful_session_resumption": !resumption,
        "common_tls_context": testbed::common_tls_context(folder)
    }}))
}

fn bootstrap(listeners: &[Value]) -> Value {
    json!({"node": {"id": "test", "cluster": "test"}, "static_resources": {"listeners": listeners}})
}

fn listener(name: &str, tls: &Value, configuration: &Value) -> Value {
    let plugin = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": testbed::wasm_plugin(
            "identity_authz", "identity_authz", &testbed::filter_path("identity-authz"),
            &testbed::string_value(&configuration.to_string())
        )
    });
    let router = json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"});
    json!({
        "name": name,
        "stat_prefix": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"transport_socket": tls, "filters": [{"name": "http", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": name,
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{
                "match": {"prefix": "/"}, "direct_response": {"status": 200}
            }]}]},
            "http_filters": [
                {"name": "filter", "typed_config": plugin},
                {"name": "router", "typed_config": router}
            ]
        }}]}]
    })
}

/// A policy for the principal web, where `validation` says how a certificate counts as validated.
fn policy(action: &str, validation: &str) -> Value {
    json!({"defaultAction": "ALLOW", "identity": {"validation": validation}, "resources": [{
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"action": action, "rules": [{"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/web"]}}]}]}
    }]})
}

impl Fixture {
    fn start(resumption: bool, configuration: &Value, lifetime: Duration) -> Result<Self> {
        testbed::build_filters()?;
        let folder = tempfile::tempdir()?;
        let authority = CertificateAuthority::new("authority")?;
        let tls = listener_tls(folder.path(), &authority, resumption)?;
        let options =
            Options { binary: testbed::envoy_binary()?, folder: folder.path().to_owned(), workers: 1, detached: false };
        let envoy =
            Envoy::start(&Configuration::new(bootstrap(&[listener("ingress", &tls, configuration)])), &options)?;
        // Issued last, so that it lasts while the test does.
        let client = authority.issue_lasting(&[SubjectAltName::Uri(WEB.to_owned())], lifetime)?;
        Ok(Self { envoy, client, _folder: folder })
    }

    fn client(&self) -> Result<Client> {
        Client::tls(self.envoy.listener("ingress")?, Some(&self.client))
    }

    fn resumed_sessions(&self) -> Result<u64> {
        self.envoy.stat("listener.ingress.ssl.session_reused")
    }
}

const HOUR: Duration = Duration::from_secs(60 * 60);

#[test]
fn a_resumed_session_never_walks_past_a_deny() -> Result<()> {
    // Of a resumed session Envoy (1.40) does not tell whether its certificate was validated.
    for (resumption, action, validation, answers) in [
        (true, "DENY", "attribute", [403; 4]),
        (true, "ALLOW", "attribute", [200, 403, 403, 403]),
        (true, "DENY", "listener", [403; 4]),
        (true, "ALLOW", "listener", [200; 4]),
        (false, "DENY", "attribute", [403; 4]),
        (false, "ALLOW", "attribute", [200; 4]),
    ] {
        let row = format!("resumption {resumption}, {action}, {validation}");
        let fixture = Fixture::start(resumption, &policy(action, validation), HOUR)?;
        let client = fixture.client()?;
        let mut found = [0; 4];
        for status in &mut found {
            *status = client.get("/")?.status;
        }
        ensure!(found == answers, "{row}: {found:?}, expected {answers:?}");
        let resumed = fixture.resumed_sessions()?;
        ensure!((resumed > 0) == resumption, "{row}: {resumed} sessions were resumed");
        if resumption && validation == "attribute" {
            let reason = "its certificate is not validated on this TLS session; set identity.validation: listener if \
                          the session was resumed";
            ensure!(fixture.envoy.log()?.contains(reason), "{row}: {}", fixture.envoy.log()?);
        }
    }
    Ok(())
}

#[test]
fn a_certificate_that_has_ended_proves_nothing_on_any_connection() -> Result<()> {
    const LIFETIME: Duration = Duration::from_secs(15);
    let fixture = Fixture::start(true, &policy("ALLOW", "listener"), LIFETIME)?;
    let client = fixture.client()?;
    let mut kept_open = client.connect()?;
    let mut ask =
        || -> Result<u16> { Ok(round_trip(&mut *kept_open, b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n")?.status) };
    ensure!(ask()? == 200, "the certificate is good for {LIFETIME:?}");
    ensure!(client.get("/")?.status == 200, "a second connection");
    wait::until("the certificate to end on a connection", LIMIT, || Ok((ask()? == 403).then_some(())))?;
    // The listener resumes the session all the same.
    let before = fixture.resumed_sessions()?;
    let answer = client.get("/").context("a resumed session")?;
    ensure!(answer.status == 403, "{answer:?}");
    ensure!(fixture.resumed_sessions()? > before, "the session was not resumed");
    let log = fixture.envoy.log()?;
    ensure!(log.contains("its certificate has expired"), "{log}");
    ensure!(log.contains("identity.validation: listener, so each certificate counts that the listener takes"), "{log}");
    Ok(())
}

/// `validation: listener` is safe because a session that began without verification is not resumed elsewhere.
#[test]
fn a_session_of_a_listener_that_takes_any_certificate_is_not_resumed_by_one_that_verifies() -> Result<()> {
    testbed::build_filters()?;
    let folder = tempfile::tempdir()?;
    let strict = listener_tls(folder.path(), &CertificateAuthority::new("authority")?, true)?;
    fs::write(folder.path().join("ticket.key"), [7_u8; 80])?;
    let with_keys = |mut tls: Value| -> Result<Value> {
        let config = tls.get_mut("typed_config").and_then(Value::as_object_mut).context("no TLS context")?;
        let keys = json!({"keys": [{"filename": folder.path().join("ticket.key")}]});
        // The two are one choice.
        config.remove("disable_stateless_session_resumption");
        config.insert("session_ticket_keys".to_owned(), keys);
        Ok(tls)
    };
    let strict = with_keys(strict)?;
    let mut lenient = strict.clone();
    let trust = lenient.pointer_mut("/typed_config/common_tls_context/validation_context").context("no trust")?;
    trust["trust_chain_verification"] = json!("ACCEPT_UNTRUSTED");
    let policy = policy("ALLOW", "listener");
    let listeners = [listener("strict", &strict, &policy), listener("lenient", &lenient, &policy)];
    let options =
        Options { binary: testbed::envoy_binary()?, folder: folder.path().to_owned(), workers: 1, detached: false };
    let envoy = Envoy::start(&Configuration::new(bootstrap(&listeners)), &options)?;
    let stranger = CertificateAuthority::new("stranger")?.issue(&[SubjectAltName::Uri(WEB.to_owned())])?;
    let client = Client::tls(envoy.listener("lenient")?, Some(&stranger))?;
    for _ in 0..2 {
        ensure!(client.get("/")?.status == 200, "a listener that verifies nothing vouches for anyone");
    }
    ensure!(envoy.stat("listener.lenient.ssl.session_reused")? > 0, "the session can be resumed where it began");
    // The same client, with its tickets.
    let answer = client.at(envoy.listener("strict")?).get("/");
    ensure!(answer.is_err(), "{answer:?}");
    ensure!(envoy.stat("listener.strict.ssl.session_reused")? == 0, "the session was resumed");
    Ok(())
}
