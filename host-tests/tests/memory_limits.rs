//! Limits of the memory of a VM: what takes too much is refused at the proxy's trial, and a worker without room denies.

use anyhow::{Result, ensure};
use host_tests::wasm_host::{Connection, Request, Speaker, Vm};
use host_tests::{filter, rows};
use serde_json::{Value, json};

/// A configuration of each filter that lets everything through.
fn open(filter: &str) -> Value {
    match filter {
        "identity-authz" => json!({"defaultAction": "ALLOW", "resources": []}),
        "baseline-deny" => json!({"presets": ["scanners"]}),
        _ => json!({"mode": "report", "rules": []}),
    }
}

fn request() -> Request {
    Request::new("GET", "shop.test", "/").with("user-agent", b"Mozilla/5.0")
}

rows! {
    a_worker_without_room_denies: check_full_worker;
    identity_authz: "identity-authz";
    baseline_deny: "baseline-deny";
    egress_allowlist: "egress-allowlist";
}

/// Envoy goes on without a filter that fails to load on a worker, so it must not fail there.
fn check_full_worker(filter: &str) -> Result<()> {
    let configuration = open(filter).to_string();
    let (mut vm, root) = Vm::configured(&filter::load(filter)?, &configuration)?;
    ensure!(vm.request(root, Connection::plaintext(1), request())?.continues, "before");
    vm.grow_memory(3_600)?;
    let updated = vm.configure(configuration.as_bytes())??;
    let denied = vm.request(updated, Connection::plaintext(1), request())?;
    ensure!(denied.status() == Some(503), "{denied:?}");
    let connection = vm.connection(updated, Connection::plaintext(1), Speaker::Client)?;
    ensure!(connection.closed && !connection.data_forwarded, "{connection:?}");
    let told = "a configuration is not loaded, and what it is for is denied: this worker's VM takes 36";
    ensure!(vm.log().iter().any(|line| line.message.contains(told)), "{:?}", vm.log());
    ensure!(vm.request(root, Connection::plaintext(1), request())?.continues, "the old configuration");
    Ok(())
}

rows! {
    a_configuration_that_takes_much_memory_is_refused: check_excess;
    a_first_one: 600, false;
    one_that_takes_less: 400, true;
}

fn check_excess(mib: u64, is_taken: bool) -> Result<()> {
    let mut vm = Vm::start(&filter::load("identity-authz")?)?;
    vm.grow_memory(mib)?;
    let configured = vm.configure(open("identity-authz").to_string().as_bytes())?;
    ensure!(configured.is_ok() == is_taken, "{:?}", vm.log());
    let told = "configuration refused, it takes 60";
    ensure!(vm.log().iter().any(|line| line.message.contains(told)) != is_taken, "{:?}", vm.log());
    Ok(())
}

/// A configuration that lets everything in but what these rules deny.
fn deny(rules: Value) -> String {
    let policy = json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"action": "DENY", "rules": rules}
    });
    json!({"defaultAction": "ALLOW", "resources": [policy]}).to_string()
}

#[test]
fn the_fields_that_combinations_compare_have_a_limit() -> Result<()> {
    let source = |n: usize| json!({"source": {"principals": [format!("cluster.local/ns/shop/sa/{n}")], "namespaces": [format!("n{n}")]}});
    let operation = |n: usize| json!({"operation": {"paths": [format!("/{n}")], "methods": ["GET"]}});
    let when = |n: usize| json!({"key": format!("request.headers[x-{n}]"), "values": ["v"]});
    let rules = json!([{
        "from": (0..256).map(source).collect::<Vec<_>>(),
        "to": (0..256).map(operation).collect::<Vec<_>>(),
        "when": (0..73).map(when).collect::<Vec<_>>(),
    }]);
    let mut vm = Vm::start(&filter::load("identity-authz")?)?;
    ensure!(vm.configure(deny(rules).as_bytes())?.is_err(), "5,046,272 fields");
    let told = "spec.rules[0]: with this rule the configuration has 65536 combinations of sources and operations that compare 5046272 fields together, the limit is 5000000; shorten `when`";
    ensure!(vm.log().iter().any(|line| line.message.contains(told)), "{:?}", vm.log());
    Ok(())
}

#[test]
fn an_update_of_long_texts_between_stars_takes_256_mib_at_most() -> Result<()> {
    let configuration = |version: u64| {
        let mut rng = fastrand::Rng::with_seed(version);
        let values: Vec<_> =
            (0..100).map(|_| format!("*{}*", (0..50_000).map(|_| rng.lowercase()).collect::<String>())).collect();
        let rules = json!([{"when": [{"key": "request.headers[x]", "values": values}]}]);
        deny(rules)
    };
    let (mut vm, root) = Vm::configured(&filter::load("identity-authz")?, &configuration(0))?;
    let before = vm.memory() >> 20;
    vm.update(root, configuration(1).as_bytes())??;
    let after = vm.memory() >> 20;
    println!("5 MB of texts between stars: {before} MiB, {after} after an update");
    ensure!(before <= 200 && after - before <= 200, "{before} MiB, and {after} after an update");
    Ok(())
}
