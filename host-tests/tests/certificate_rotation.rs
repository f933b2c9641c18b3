//! The snippets of docs/identity.md about where certificates come from, in a real Envoy: they rotate under load without a
//! lost request, nobody of a retired bundle gets in, and federated trust domains are held to their own bundles.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{
    CertificateAuthority, Client, Configuration, Envoy, Identity, Options, Secret, SecretServer, SubjectAltName,
    read_yaml, string_value, wait, wasm_plugin,
};

const LIMIT: Duration = Duration::from_secs(30);

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";
const ORDERS: &str = "spiffe://cluster.local/ns/shop/sa/orders";
const PARTNER: &str = "spiffe://partner.example/ns/billing/sa/reports";

/// The snippet of the page that holds these words.
fn snippet(words: &str) -> Result<Value> {
    let page = fs::read_to_string(testbed::root().join("docs/identity.md"))?;
    let mut snippets = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let found = snippets.find(|snippet| snippet.contains(words));
    read_yaml(found.with_context(|| format!("docs/identity.md has no snippet with {words}"))?)
}

/// Moves the paths of a snippet into a folder.
fn moved(value: Value, folder: &Path) -> Value {
    let mut configuration = Configuration::new(value);
    configuration.move_paths("/etc/sallyport", folder);
    configuration.move_paths("/run/spire/sockets", folder);
    configuration.value().clone()
}

/// An Envoy whose listener has the socket of a snippet, and lets in who the policies name.
fn start(folder: &TempDir, socket: &Value, clusters: &Value) -> Result<Envoy> {
    testbed::build_filters()?;
    let policies = json!({"resources": [{
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"name": "friends", "namespace": "shop"},
        "spec": {"rules": [{"from": [{"source": {"principals": [
            "cluster.local/ns/shop/sa/web", "partner.example/ns/billing/sa/reports"
        ]}}]}]}
    }]});
    let module = testbed::filter_path("identity-authz");
    let filter = wasm_plugin("identity_authz", "identity", &module, &string_value(&policies.to_string()));
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "ingress",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
        ]}]},
        "http_filters": [
            {"name": "identity", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm", "config": filter
            }},
            {"name": "router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}
        ]
    });
    let bootstrap = json!({
        "node": {"id": "orders-1", "cluster": "orders"},
        "static_resources": {"clusters": clusters, "listeners": [{
            "name": "ingress",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
            "filter_chains": [{"transport_socket": socket, "filters": [{"name": "http", "typed_config": manager}]}]
        }]}
    });
    let options =
        Options { binary: testbed::envoy_binary()?, folder: folder.path().to_owned(), workers: 1, detached: false };
    Envoy::start(&Configuration::new(bootstrap), &options)
}

fn issue(authority: &CertificateAuthority, uri: &str) -> Result<Identity> {
    authority.issue(&[SubjectAltName::Uri(uri.to_owned())])
}

/// Requests without a break, each on a connection of its own, until dropped or ended.
struct Load {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    thread: thread::JoinHandle<Vec<String>>,
}

impl Load {
    fn start(client: Client) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counter) = (Arc::clone(&stop), Arc::clone(&count));
        let thread = thread::spawn(move || {
            let mut lost = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                match client.get("/") {
                    Ok(answer) if answer.status == 200 => drop(counter.fetch_add(1, Ordering::Relaxed)),
                    Ok(answer) => lost.push(answer.status.to_string()),
                    Err(error) => lost.push(format!("{error:#}")),
                }
            }
            lost
        });
        Self { stop, count, thread }
    }

    /// Waits until some more requests were answered.
    fn go_on(&self) -> Result<()> {
        let before = self.count.load(Ordering::Relaxed);
        wait::until("more requests", LIMIT, || Ok((self.count.load(Ordering::Relaxed) > before + 5).then_some(())))
    }

    fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let lost = self.thread.join().map_err(|_| anyhow!("a load panicked"))?;
        ensure!(lost.is_empty(), "{} requests lost, the first: {:?}", lost.len(), lost.first());
        Ok(())
    }
}

/// The serial number of the certificate that the listener shows.
fn serial(envoy: &Envoy) -> Result<String> {
    let page: Value = serde_json::from_str(&envoy.admin_get("/certs")?)?;
    let chains = page.get("certificates").and_then(Value::as_array).context("no certificates")?;
    let serial = chains.iter().find_map(|chain| chain.pointer("/cert_chain/0/serial_number"));
    Ok(serial.and_then(Value::as_str).context("no serial number")?.to_owned())
}

/// Changes of what a listener has, one step at a time.
trait Issuer {
    fn give(&self, workload: &Identity, bundle: &str) -> Result<()>;
}

/// Takes a listener from one authority to another, under load.
fn rotate(envoy: &Envoy, issuer: &dyn Issuer, old: &CertificateAuthority) -> Result<()> {
    let new = CertificateAuthority::new("new")?;
    let at = envoy.listener("ingress")?;
    let client = |authority: &CertificateAuthority, uri: &str| Client::tls(at, Some(&issue(authority, uri)?));
    let (of_old, of_new) = (client(old, WEB)?, client(&new, WEB)?);
    ensure!(of_new.get("/").is_err(), "the new authority is trusted too early");
    let first = serial(envoy)?;
    let old_load = Load::start(of_old.clone());
    old_load.go_on()?;

    // Both authorities, then a certificate of the new one.
    let workload = issue(old, ORDERS)?;
    issuer.give(&workload, &format!("{}{}", old.pem(), new.pem()))?;
    wait::until("the new authority", LIMIT, || {
        Ok(of_new.get("/").is_ok_and(|answer| answer.status == 200).then_some(()))
    })?;
    let new_load = Load::start(of_new.clone());
    let workload = issue(&new, ORDERS)?;
    issuer.give(&workload, &format!("{}{}", old.pem(), new.pem()))?;
    wait::until("the new certificate", LIMIT, || Ok((serial(envoy)? != first).then_some(())))?;
    old_load.go_on()?;
    new_load.go_on()?;

    // The old authority goes, when nobody of it is there any more.
    old_load.end()?;
    issuer.give(&workload, new.pem())?;
    wait::until("the old authority to go", LIMIT, || Ok(of_old.get("/").is_err().then_some(())))?;
    for _ in 0..3 {
        let forged = client(old, WEB)?.get("/");
        ensure!(forged.is_err(), "who is of the retired bundle is let in: {forged:?}");
    }
    // Not everybody of the new one.
    let other = client(&new, "spiffe://cluster.local/ns/dev/sa/intruder")?.get("/")?.status;
    ensure!(other == 403, "{other}");
    let foreign = client(&new, PARTNER)?.get("/");
    ensure!(foreign.is_err(), "another trust domain: {foreign:?}");
    new_load.go_on()?;
    new_load.end()
}

struct Spire(SecretServer);

impl Issuer for Spire {
    fn give(&self, workload: &Identity, bundle: &str) -> Result<()> {
        self.0.set(&[("default", Secret::Svid(workload.clone())), ("ROOTCA", Secret::Bundle(bundle.to_owned()))]);
        Ok(())
    }
}

/// The snippets about SPIRE, with the agent's socket in a folder.
fn spire(folder: &TempDir) -> Result<(SecretServer, Value, Value)> {
    let socket = snippet("name: ROOTCA")?.get("transport_socket").cloned().context("no socket")?;
    let clusters = moved(snippet("agent.sock")?, folder.path());
    Ok((SecretServer::start(&folder.path().join("agent.sock"))?, socket, clusters))
}

#[test]
fn certificates_and_bundles_rotate_under_load_without_a_lost_request() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (server, socket, clusters) = spire(&folder)?;
    let (issuer, old) = (Spire(server), CertificateAuthority::new("old")?);
    issuer.give(&issue(&old, ORDERS)?, old.pem())?;
    rotate(&start(&folder, &socket, &clusters)?, &issuer, &old)
}

#[test]
fn of_two_federated_trust_domains_each_is_held_to_its_own_bundle() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (server, mut socket, clusters) = spire(&folder)?;
    // As the page says: ALL, and the partner among the names.
    let validation = "/typed_config/common_tls_context/combined_validation_context";
    let validation = socket.pointer_mut(validation).context("no validation")?;
    *validation.pointer_mut("/validation_context_sds_secret_config/name").context("no name")? = json!("ALL");
    let names = validation.pointer_mut("/default_validation_context/match_typed_subject_alt_names");
    let names = names.and_then(Value::as_array_mut).context("no names")?;
    names.push(json!({"san_type": "URI", "matcher": {"prefix": "spiffe://partner.example/"}}));

    let [own, partner, next] = ["own", "partner", "next"].map(CertificateAuthority::new);
    let (own, partner, next) = (own?, partner?, next?);
    let give = |workload: &Identity, of_partner: &CertificateAuthority| {
        let domains = [("cluster.local", own.pem()), ("partner.example", of_partner.pem())];
        let domains = domains.map(|(name, bundle)| (name.to_owned(), bundle.to_owned()));
        server.set(&[("default", Secret::Svid(workload.clone())), ("ALL", Secret::Federation(domains.into()))]);
    };
    let workload = issue(&own, ORDERS)?;
    give(&workload, &partner);
    let envoy = start(&folder, &socket, &clusters)?;
    let at = envoy.listener("ingress")?;
    let ask = |authority: &CertificateAuthority, uri: &str| {
        Ok::<_, anyhow::Error>(
            Client::tls(at, Some(&issue(authority, uri)?))?.get("/").map(|answer| answer.status).ok(),
        )
    };
    ensure!(ask(&own, WEB)? == Some(200), "the own trust domain");
    ensure!(ask(&partner, PARTNER)? == Some(200), "the partner's");
    ensure!(ask(&partner, WEB)?.is_none(), "the partner's authority issues one of ours");
    ensure!(ask(&own, PARTNER)?.is_none(), "our authority issues one of the partner's");
    ensure!(ask(&partner, "spiffe://partner.example/ns/billing/sa/other")? == Some(403), "another of the partner's");

    // The partner changes its authority, while ours go on.
    let load = Load::start(Client::tls(at, Some(&issue(&own, WEB)?))?);
    give(&workload, &next);
    wait::until("the partner's next authority", LIMIT, || Ok((ask(&next, PARTNER)? == Some(200)).then_some(())))?;
    ensure!(ask(&partner, PARTNER)?.is_none(), "the partner's retired authority is trusted");
    load.go_on()?;
    load.end()
}

/// A folder of files that are moved into their place.
struct Files<'f>(&'f Path);

impl Issuer for Files<'_> {
    fn give(&self, workload: &Identity, bundle: &str) -> Result<()> {
        for (name, text) in [("tls.key", workload.key()), ("tls.crt", workload.certificate()), ("ca.crt", bundle)] {
            let new = self.0.with_extension(name);
            fs::write(&new, text)?;
            fs::rename(new, self.0.join(name))?;
        }
        Ok(())
    }
}

#[test]
fn certificates_in_files_rotate_under_load_too() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let certificates = folder.path().join("certificates");
    fs::create_dir(&certificates)?;
    for (words, file) in [
        ("name: workload\n  tls_certificate", "sds-workload.yaml"),
        ("name: trusted\n  validation", "sds-trusted.yaml"),
    ] {
        fs::write(folder.path().join(file), moved(snippet(words)?, folder.path()).to_string())?;
    }
    let mut socket = snippet("name: ROOTCA")?.get("transport_socket").cloned().context("no socket")?;
    let context = snippet("path_config_source: {path: /etc/sallyport/sds-trusted.yaml}")?;
    let context = moved(context.get("common_tls_context").cloned().context("no context")?, folder.path());
    *socket.pointer_mut("/typed_config/common_tls_context").context("no context")? = context;
    let (issuer, old) = (Files(&certificates), CertificateAuthority::new("old")?);
    issuer.give(&issue(&old, ORDERS)?, old.pem())?;
    let envoy = start(&folder, &socket, &json!([]))?;
    rotate(&envoy, &issuer, &old)?;

    // A key that does not fit changes nothing, and is counted.
    let refused = || envoy.stat("sds.workload.key_rotation_failed");
    let (before, count) = (serial(&envoy)?, refused()?);
    fs::write(certificates.with_extension("key"), issue(&old, ORDERS)?.key())?;
    fs::rename(certificates.with_extension("key"), certificates.join("tls.key"))?;
    wait::until("the pair to be refused", LIMIT, || Ok((refused()? > count).then_some(())))?;
    ensure!(serial(&envoy)? == before, "a pair that does not fit is served");
    Ok(())
}
