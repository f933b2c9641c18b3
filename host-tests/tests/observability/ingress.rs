//! `envoy-config/ingress.yaml` and `ingress-migration.yaml` under requests that are allowed, denied and reported.

use anyhow::{Context, Result, ensure};
use host_tests::config_file::{File, MANAGER, Proxy};
use serde_json::{Value, json};
use testbed::{CertificateAuthority, Client, SubjectAltName};

use crate::example::{Filters, LIMIT, Observed, log_with, reset, scrape_when};
use crate::rules::{Scene, scenes};
use crate::samples::Samples;

const FRONTEND: &str = "spiffe://cluster.local/ns/shop/sa/frontend";
const INTRUDER: &str = "spiffe://cluster.local/ns/dev/sa/intruder";

const FILTER: &str = "sallyport.identity_authz";
const ALLOWED: &str = "wasmcustom.sallyport.identity_authz.allowed";
const DENIED: &str = "wasmcustom.sallyport.identity_authz.denied";
const WOULD_DENY: &str = "wasmcustom.sallyport.identity_authz.would_deny";
const PLAINTEXT: &str = "wasmcustom.sallyport.identity_authz.connection.plaintext";
const REFUSED: &str = "extension_config_discovery.http_filter.sallyport.identity_authz.config_fail";

/// Denials that are a jump.
const MANY: u64 = 30;

/// The file with an answer in place of the service.
fn file(name: &str) -> Result<File> {
    let mut file = File::read(name, &["workload"])?;
    let chains = file.configuration.at("/static_resources/listeners/0/filter_chains")?;
    for chain in chains.as_array_mut().context("no filter chains")? {
        let manager = MANAGER.rsplit_once("/filter_chains/0").map_or("", |(_, rest)| rest);
        let route = chain.pointer_mut(&format!("{manager}/route_config/virtual_hosts/0/routes/0"));
        *route.context("no route")? = json!({"match": {"prefix": "/"}, "direct_response": {"status": 200}});
    }
    Ok(file)
}

pub(crate) fn send(client: &Client, agent: &str, method: &str, path: &str, expected: u16) -> Result<()> {
    let head = format!("{method} {path} HTTP/1.1\r\nhost: shop\r\nuser-agent: {agent}\r\nconnection: close\r\n\r\n");
    let status = client.send(head.as_bytes())?.status;
    ensure!(status == expected, "{method} {path} gets {status}, expected {expected}");
    Ok(())
}

/// A request that is answered, over a connection that the client then resets.
const ANSWERED: &str = "GET / HTTP/1.1\r\nhost: shop\r\n\r\n";

/// Handshakes without a certificate, and with one of another authority.
pub(crate) fn fail_handshakes(proxy: &Proxy) -> Result<()> {
    let address = proxy.envoy.listener("ingress")?;
    let stranger = CertificateAuthority::new("stranger")?.issue(&[SubjectAltName::Uri(FRONTEND.to_owned())])?;
    for identity in [None, Some(&stranger)] {
        let response = Client::tls(address, identity)?.get("/");
        ensure!(!response.is_ok_and(|response| response.status != 0), "a handshake that has to fail gets a response");
    }
    Ok(())
}

/// Reports instead of denying.
fn only_report(configuration: &mut Value) -> Result<()> {
    configuration.as_object_mut().context("no object")?.insert("mode".to_owned(), json!("report"));
    Ok(())
}

/// Reports instead of denying, and audits everything.
fn report(configuration: &mut Value) -> Result<()> {
    let audit = json!({
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"name": "seen", "namespace": "shop"}, "spec": {"action": "AUDIT", "rules": [{}]}
    });
    configuration.pointer_mut("/resources").and_then(Value::as_array_mut).context("no resources")?.push(audit);
    only_report(configuration)
}

/// Plays `ingress.yaml`.
pub(crate) fn ingress() -> Result<Observed> {
    let mut file = file("ingress.yaml")?;
    let mut filters = Filters::discovered(&mut file.configuration, file.folder.path())?;
    let proxy = file.start()?;
    let (frontend, intruder) = (proxy.client(FRONTEND)?, proxy.client(INTRUDER)?);
    send(&frontend, "curl", "GET", "/orders/17", 200)?;
    send(&frontend, "curl", "DELETE", "/orders/17", 403)?;
    let healthy = scrape_when(&proxy.envoy, &[ALLOWED, DENIED], 2)?;

    reset(&proxy.envoy, "ingress", &frontend, ANSWERED)?;
    fail_handshakes(&proxy)?;
    send(&frontend, "sqlmap/1.8", "GET", "/orders/17", 403)?;
    let quiet = scrape_when(&proxy.envoy, &["wasmcustom.sallyport.baseline_deny.denied"], 1)?;

    for _ in 0..MANY {
        send(&intruder, "curl", "GET", "/orders/17", 403)?;
    }
    let jump = scrape_when(&proxy.envoy, &[DENIED], MANY + 2)?;

    filters.spoil(FILTER)?;
    let refused = scrape_when(&proxy.envoy, &[REFUSED], 1)?;

    filters.change(FILTER, report)?;
    filters.change("sallyport.baseline_deny", only_report)?;
    testbed::wait::until("the filters to report", LIMIT, || {
        Ok((send(&intruder, "sqlmap/1.8", "GET", "/orders/17", 200).is_ok()).then_some(()))
    })?;
    send(&frontend, "curl", "DELETE", "/orders/17", 200)?;
    let changed = scrape_when(&proxy.envoy, &[WOULD_DENY], 2)?;

    ensure!(!proxy.envoy.log()?.contains("Skipping duplicate tag"), "two labels of one name");
    let log = log_with(proxy.folder.path(), &["audit", "refused_handshake"])?;
    let samples = changed.clone();
    let mut scenes = scenes("refused handshakes and a tool", [healthy, quiet, jump, refused, changed]);
    scenes.extend([plaintext()?, refused_at_start()?]);
    Ok(Observed { samples, log, scenes })
}

/// `ingress.yaml` without its TLS, as who opens the listener by mistake.
fn plaintext() -> Result<Scene> {
    let file = file("ingress.yaml")?.without("/static_resources/listeners/0/filter_chains/0", "transport_socket")?;
    let proxy = file.start()?;
    let before = Samples::scrape(&proxy.envoy)?;
    send(&Client::plaintext(proxy.envoy.listener("ingress")?), "curl", "GET", "/orders/17", 403)?;
    let after = scrape_when(&proxy.envoy, &[PLAINTEXT], 1)?;
    Ok(Scene { condition: "plaintext", before, after, alerts: &["PlaintextSeen"] })
}

/// `ingress.yaml` with a policy that is refused from the first.
fn refused_at_start() -> Result<Scene> {
    let mut file = file("ingress.yaml")?;
    Filters::discovered(&mut file.configuration, file.folder.path())?.spoil(FILTER)?;
    let proxy = file.start()?;
    let after = scrape_when(&proxy.envoy, &[REFUSED], 1)?;
    send(&proxy.client(FRONTEND)?, "curl", "GET", "/orders/17", 500)?;
    Ok(Scene { condition: "no policy", before: Samples::default(), after, alerts: &["FilterFailedToLoad"] })
}

/// Makes PeerAuthentication STRICT, as the file says for the end of a migration.
fn strict(configuration: &mut Value) -> Result<()> {
    let mode = configuration.pointer_mut("/resources/0/spec/mtls/mode").context("no PeerAuthentication")?;
    *mode = json!("STRICT");
    Ok(())
}

/// Plays `ingress-migration.yaml`.
pub(crate) fn migration() -> Result<Observed> {
    let mut file = file("ingress-migration.yaml")?;
    let mut filters = Filters::discovered(&mut file.configuration, file.folder.path())?;
    let proxy = file.start()?;
    send(&proxy.client(FRONTEND)?, "curl", "GET", "/", 200)?;
    let healthy = scrape_when(&proxy.envoy, &[ALLOWED], 1)?;

    let plaintext = Client::plaintext(proxy.envoy.listener("ingress")?);
    send(&plaintext, "curl", "GET", "/", 200)?;
    let seen = scrape_when(&proxy.envoy, &[PLAINTEXT], 1)?;

    reset(&proxy.envoy, "ingress", &proxy.client(FRONTEND)?, ANSWERED)?;
    fail_handshakes(&proxy)?;
    let intruder = proxy.client(INTRUDER)?;
    for _ in 0..MANY {
        send(&intruder, "curl", "GET", "/", 403)?;
    }
    let jump = scrape_when(&proxy.envoy, &[DENIED], MANY)?;

    filters.spoil(FILTER)?;
    let refused = scrape_when(&proxy.envoy, &[REFUSED], 1)?;

    filters.change(FILTER, strict)?;
    testbed::wait::until("plaintext to be denied", LIMIT, || {
        Ok(send(&plaintext, "curl", "GET", "/", 403).is_ok().then_some(()))
    })?;
    let changed = scrape_when(&proxy.envoy, &[DENIED], MANY + 1)?;

    let log = log_with(proxy.folder.path(), &["refused_handshake", "policy"])?;
    let samples = changed.clone();
    let scenes = vec![
        Scene { condition: "plaintext", before: healthy, after: seen.clone(), alerts: &["PlaintextSeen"] },
        Scene { condition: "many denials", before: seen, after: jump.clone(), alerts: &["DenialsJumped"] },
        Scene { condition: "a refused policy", before: jump, after: refused.clone(), alerts: &["FilterFailedToLoad"] },
        Scene {
            condition: "the end of the migration",
            before: refused,
            after: changed,
            alerts: &["PlaintextSeen", "PoliciesDiffer"],
        },
    ];
    Ok(Observed { samples, log, scenes })
}
