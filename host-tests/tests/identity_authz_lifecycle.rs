//! `identity-authz` over the life of a VM: several configurations, updates, counters, the log, and memory.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use host_tests::policy::{allow_web, authorization_policy, configuration, only_allow_web};
use host_tests::wasm_host::{Connection, Request, Vm};
use host_tests::{filter, rows};
use serde_json::json;
use testbed::{CertificateAuthority, Identity, SubjectAltName};

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";
const STRANGER: &str = "spiffe://cluster.local/ns/shop/sa/stranger";

fn get(path: &str) -> Request {
    Request::new("GET", "orders.shop", path)
}

/// Returns a configuration with an ALLOW for web and a DENY.
fn allow_and_deny() -> Result<String> {
    let deny = authorization_policy(
        "deny-rest",
        "{action: DENY, rules: [{to: [{operation: {hosts: [evil], ports: ['1']}}]}]}",
    )?;
    Ok(json!({"resources": [allow_web("")?, deny]}).to_string())
}

rows! {
    a_certificate_that_ends_takes_its_cached_decisions_with_it: check_end_of_certificate;
    decided_by_the_connection: "";
    decided_by_method_and_path: "{methods: [GET], paths: [/a]}";
}

/// Checks a certificate that is valid when its connection is first seen, and one that is not.
fn check_end_of_certificate(operation: &str) -> Result<()> {
    let (mut vm, root) = Vm::configured(&filter::load("identity-authz")?, &only_allow_web(operation)?)?;
    let authority = CertificateAuthority::new("authority")?;
    let sans = [SubjectAltName::Uri(WEB.to_owned())];
    let with = |id: u64, identity: &Identity| {
        let peer_certificate = Some(identity.certificate().to_owned());
        Connection { peer_certificate, ..Connection::mtls(id, WEB) }
    };
    let (valid, expired) = (with(1, &authority.issue(&sans)?), with(2, &authority.issue_expired(&sans)?));
    for _ in 0..2 {
        ensure!(vm.request(root, valid.clone(), get("/a"))?.continues, "valid");
        ensure!(!vm.request(root, expired.clone(), get("/a"))?.continues, "expired");
    }
    for _ in 0..2 {
        ensure!(vm.request(root, valid.clone(), get("/a"))?.continues, "valid, and recognised by its tag");
    }
    vm.stop_clock(SystemTime::now().duration_since(UNIX_EPOCH)? + Duration::from_secs(2 * 60 * 60));
    vm.tick(root)?;
    for _ in 0..2 {
        let outcome = vm.request(root, valid.clone(), get("/a"))?;
        ensure!(!outcome.continues, "expired since: {outcome:?}");
    }
    Ok(())
}

#[test]
fn configurations_in_one_vm_are_independent() -> Result<()> {
    let (mut vm, first) = Vm::configured(&filter::load("identity-authz")?, &only_allow_web("")?)?;
    let second = vm.configure(only_allow_web("{paths: [/only]}")?.as_bytes())??;
    ensure!(vm.configure(b"{}")?.is_err(), "a bad configuration is accepted");
    for _ in 0..2 {
        ensure!(vm.request(first, Connection::mtls(1, WEB), get("/x"))?.continues);
        ensure!(vm.request(second, Connection::mtls(1, WEB), get("/x"))?.status() == Some(403));
        ensure!(vm.request(second, Connection::mtls(1, WEB), get("/only"))?.continues);
    }
    vm.delete(second)?;
    vm.tick(first)?;
    ensure!(vm.request(first, Connection::mtls(1, WEB), get("/x"))?.continues);
    let orphan = vm.request(second, Connection::mtls(1, WEB), get("/only"))?;
    ensure!(orphan.status() == Some(503), "a stream of a deleted plugin: {orphan:?}");
    Ok(())
}

#[test]
fn counters_are_flushed_by_the_timer_and_at_the_end() -> Result<()> {
    let configuration = allow_and_deny()?;
    let (mut vm, root) = Vm::configured(&filter::load("identity-authz")?, &configuration)?;
    ensure!(vm.tick_period() == 1000, "{}", vm.tick_period());
    let names = vm.defined_counters();
    for name in [
        "allowed",
        "denied",
        "would_deny",
        "errors",
        "policy.shop.deny-rest.denied",
        "policy.shop.deny-rest.would_deny",
    ] {
        ensure!(names.contains(&format!("sallyport.identity_authz.{name}")), "{name} is not among {names:?}");
    }
    let allowed = |vm: &Vm| vm.counters().get("sallyport.identity_authz.allowed").copied();
    vm.request(root, Connection::mtls(1, WEB), get("/"))?;
    ensure!(allowed(&vm).is_none(), "a request makes a host call for a counter");
    vm.tick(root)?;
    ensure!(allowed(&vm) == Some(1));
    vm.request(root, Connection::mtls(1, WEB), get("/"))?;
    let next = vm.configure(configuration.as_bytes())??;
    vm.delete(root)?;
    vm.tick(next)?;
    ensure!(allowed(&vm) == Some(2), "counts from before the update are lost: {:?}", allowed(&vm));
    vm.request(next, Connection::mtls(1, WEB), get("/"))?;
    vm.tick(next)?;
    ensure!(allowed(&vm) == Some(3), "{:?}", allowed(&vm));
    Ok(())
}

#[test]
fn a_connection_is_counted_once_as_mtls_or_plaintext() -> Result<()> {
    let (mut vm, root) = Vm::configured(&filter::load("identity-authz")?, &only_allow_web("")?)?;
    let unvalidated = |id| Connection { validated: Some(false), ..Connection::mtls(id, WEB) };
    for _ in 0..3 {
        for connection in [
            Connection::mtls(1, WEB),
            Connection::mtls(2, WEB),
            Connection::without_certificate(3),
            unvalidated(4),
            Connection::mtls(5, "spiffe://A/b"),
        ] {
            vm.request(root, connection, get("/"))?;
        }
    }
    vm.tick(root)?;
    let counters = vm.counters();
    let counter = |name: &str| counters.get(&format!("sallyport.identity_authz.connection.{name}")).copied();
    ensure!((counter("mtls"), counter("plaintext")) == (Some(3), Some(2)), "{counters:?}");
    Ok(())
}

#[test]
fn at_most_ten_denials_a_second_are_logged() -> Result<()> {
    let (mut vm, root) = Vm::configured(&filter::load("identity-authz")?, &only_allow_web("")?)?;
    let denials =
        |vm: &Vm| vm.log().iter().filter(|line| line.message.starts_with("sallyport identity_authz: deny: ")).count();
    for _ in 0..25 {
        vm.request(root, Connection::mtls(1, STRANGER), get("/"))?;
    }
    ensure!(denials(&vm) == 10, "{} lines", denials(&vm));
    vm.tick(root)?;
    let last = vm.log().last().context("no log")?;
    ensure!(last.message == "sallyport identity_authz: 15 more denials in the last second, not logged", "{last:?}");
    vm.request(root, Connection::mtls(1, STRANGER), get("/"))?;
    ensure!(denials(&vm) == 11, "{} lines", denials(&vm));
    Ok(())
}

#[test]
fn the_loaded_policies_are_logged() -> Result<()> {
    let (vm, _) = Vm::configured(&filter::load("identity-authz")?, &allow_and_deny()?)?;
    let line = vm.log().first().context("no log")?;
    ensure!(
        line.message.ends_with(" identity_authz: loaded 2 resources, 2 apply here, 2 enforced, 0 only reported"),
        "{line:?}"
    );
    ensure!(line.level == 2, "{line:?}");
    Ok(())
}

#[test]
fn the_load_line_names_the_build_and_gauges_name_the_configuration() -> Result<()> {
    let first = allow_and_deny()?;
    let (mut vm, _) = Vm::configured(&filter::load("identity-authz")?, &first)?;
    let line = &vm.log().first().context("no log")?.message;
    let build = line.strip_prefix("sallyport ").and_then(|rest| rest.split_once(") ")).context(line.clone())?.0;
    let (version, commit) = build.split_once(" (").context(line.clone())?;
    ensure!(version == env!("CARGO_PKG_VERSION"), "{line}");
    ensure!(commit == "unknown commit" || commit.starts_with(|first: char| first.is_ascii_hexdigit()), "{line}");
    let loaded = |vm: &Vm| vm.gauges().get("sallyport.identity_authz.loaded").copied();
    let version_number = vm.gauges().get("sallyport.identity_authz.version").copied();
    let parts = version.split('.').map(str::parse::<u64>).collect::<Result<Vec<_>, _>>()?;
    ensure!(version_number == parts.into_iter().reduce(|number, part| number * 1000 + part), "{:?}", vm.gauges());
    let fingerprint = loaded(&vm);
    ensure!(vm.configure(b"{\"mode\": 1}")?.is_err());
    ensure!(loaded(&vm) == fingerprint, "a refused configuration changes the gauge");
    let _second = vm.configure(only_allow_web("")?.as_bytes())??;
    ensure!(loaded(&vm) != fingerprint, "another configuration has the same gauge");
    let _first = vm.configure(first.as_bytes())??;
    ensure!(loaded(&vm) == fingerprint, "the same configuration has another gauge");
    Ok(())
}

#[test]
fn what_is_passed_over_is_logged_for_information_and_what_may_surprise_as_a_warning() -> Result<()> {
    let yaml = "
        defaultAction: DENY
        resources:
        - {apiVersion: v1, kind: Service, metadata: {name: orders}}
        - {apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: p, namespace: shop}}
        - {apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: p, namespace: pay}}
    ";
    let (vm, _) = Vm::configured(&filter::load("identity-authz")?, &configuration(yaml)?)?;
    let logged: Vec<_> = vm.log().iter().map(|line| (line.level, line.message.as_str())).collect();
    let [(2, counts), (2, passed_over), (3, warning)] = logged.as_slice() else { bail!("{logged:?}") };
    ensure!(counts.contains(": loaded 2 resources, 2 apply here"), "{counts}");
    ensure!(
        passed_over.ends_with(": passed over 1 resource that this filter does not read: 1 Service"),
        "{passed_over}"
    );
    ensure!(
        warning.contains(": no workload is set, so the policies of the namespaces pay, shop all apply here"),
        "{warning}"
    );
    Ok(())
}

#[test]
fn requests_that_never_reach_the_filter_leave_no_memory_behind() -> Result<()> {
    let (mut vm, root) = Vm::configured(&filter::load("identity-authz")?, &only_allow_web("")?)?;
    vm.request(root, Connection::mtls(1, WEB), get("/"))?;
    let before = vm.memory();
    for _ in 0..200_000 {
        vm.bypassed_request(root, Connection::mtls(1, WEB))?;
    }
    ensure!(vm.request(root, Connection::mtls(1, WEB), get("/"))?.continues);
    ensure!(vm.memory() == before, "{before} bytes before, {} after", vm.memory());
    Ok(())
}

#[test]
fn neither_requests_nor_updates_leave_memory_behind() -> Result<()> {
    const WARM_UP: u64 = 30;
    let configuration = allow_and_deny()?;
    let (mut vm, mut root) = Vm::configured(&filter::load("identity-authz")?, &configuration)?;
    let mut before = 0;
    for update in 0..300_u64 {
        root = vm.update(root, configuration.as_bytes())??;
        for id in 0..50 {
            let uri = if id % 2 == 0 { WEB } else { STRANGER };
            vm.request(root, Connection::mtls(update * 50 + id, uri), get("/"))?;
        }
        if update == WARM_UP {
            before = vm.memory();
        }
    }
    ensure!(vm.memory() == before, "{before} bytes after {WARM_UP} updates, {} after 300", vm.memory());
    Ok(())
}
