//! Action CUSTOM and host calls: an instance that marks and one that decides share a VM, and none of their host calls
//! opens the way past the authorizer by failing.

use anyhow::{Context, Result, ensure};
use host_tests::filter;
use host_tests::policy::authorization_policy;
use host_tests::wasm_host::{Connection, InjectedFailure, Module, Request, RequestOutcome, Root, Vm};
use serde_json::{Value, json};

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

/// The filter state of the mark.
const MARK: &str = "wasm.sallyport.identity_authz.custom";

/// Resources with a CUSTOM policy of this rule, beside an ALLOW that the connection alone decides.
fn resources(rule: &str) -> Result<Value> {
    let custom = format!("{{action: CUSTOM, provider: {{name: opa}}, rules: [{rule}]}}");
    let allow = "{rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]}";
    Ok(json!([authorization_policy("ask", &custom)?, authorization_policy("web", allow)?]))
}

/// One VM with an instance that marks and one that decides.
fn instances(module: &Module, rule: &str) -> Result<(Vm, Root, Root)> {
    let mut vm = Vm::start(module)?;
    let resources = resources(rule)?;
    let mut configure = |stage: &str| {
        let configuration = json!({"stage": stage, "customProviders": ["opa"], "resources": resources});
        Ok::<_, anyhow::Error>(vm.configure(configuration.to_string().as_bytes())??)
    };
    let (mark, decide) = (configure("custom")?, configure("decide")?);
    Ok((vm, mark, decide))
}

/// A connection of web, whose request has this mark.
fn marked(mark: Option<&str>) -> Connection {
    let mut connection = Connection::mtls(1, WEB);
    connection.filter_state.extend(mark.map(|mark| (MARK.to_owned(), mark.as_bytes().to_vec())));
    connection
}

fn get(path: &str) -> Request {
    Request::new("GET", "orders.shop", path).with("x-role", b"guest")
}

fn mark_of(outcome: &RequestOutcome) -> Option<&str> {
    outcome.filter_state.get(MARK).map(String::as_str)
}

#[test]
fn two_instances_in_one_vm_keep_their_stages_and_their_caches_apart() -> Result<()> {
    let (mut vm, mark, decide) =
        instances(&filter::load("identity-authz")?, "{to: [{operation: {paths: [/account]}}]}")?;
    for round in 0..3 {
        for (path, expected) in [("/account", "opa"), ("/orders", "none")] {
            let outcome = vm.request(mark, marked(None), get(path))?;
            ensure!(outcome.continues && mark_of(&outcome) == Some(expected), "round {round}: {outcome:?}");
            ensure!(vm.request(decide, marked(Some(expected)), get(path))?.continues, "round {round}: {path}");
            // The connection is known by now, and what the ALLOW says of it.
            for wrong in [None, Some(""), Some("other")] {
                let outcome = vm.request(decide, marked(wrong), get(path))?;
                ensure!(outcome.status() == Some(403), "round {round}, mark {wrong:?}: {outcome:?}");
            }
        }
        let outcome = vm.request(decide, marked(Some("none")), get("/account"))?;
        ensure!(outcome.status() == Some(403), "round {round}: {outcome:?}");
    }
    vm.tick(mark)?;
    vm.tick(decide)?;
    let counters = vm.counters();
    let count = |name: &str| counters.get(&format!("sallyport.identity_authz.{name}")).copied().unwrap_or_default();
    let found = ["custom.opa", "custom.none", "allowed", "denied", "errors", "connection.mtls"].map(count);
    ensure!(found == [3, 3, 6, 21, 0, 1], "{counters:?}");
    Ok(())
}

#[test]
fn a_mark_that_the_proxy_does_not_keep_is_a_denial_that_says_so() -> Result<()> {
    let (mut vm, mark, _) = instances(&filter::load("identity-authz")?, "{}")?;
    let call = "proxy_set_property sallyport.identity_authz.custom".to_owned();
    vm.inject_failure(Some(InjectedFailure { call, status: 10 }));
    let outcome = vm.request(mark, marked(None), get("/"))?;
    ensure!(outcome.status() == Some(403), "{outcome:?}");
    let reason = outcome.filter_state.get("wasm.sallyport.identity_authz.reason").context("no reason")?;
    ensure!(reason == "the proxy did not keep the mark for ext_authz: InternalFailure", "{reason}");
    vm.inject_failure(None);
    vm.tick(mark)?;
    let errors = vm.counters().get("sallyport.identity_authz.errors").copied();
    ensure!(errors == Some(1), "{errors:?}");
    Ok(())
}

/// A rule about everything that a request is asked for.
const RULE: &str = "{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}], \
                     to: [{operation: {methods: [GET], paths: [/account], hosts: [orders.shop], ports: ['443']}}], \
                     when: [{key: 'request.headers[x-role]', values: [guest]}]}";

#[test]
fn no_failing_host_call_leads_past_the_authorizer() -> Result<()> {
    let module = filter::load("identity-authz")?;
    let (mut vm, mark, decide) = instances(&module, RULE)?;
    let marking = vm.request(mark, marked(None), get("/account"))?;
    ensure!(mark_of(&marking) == Some("opa"), "{marking:?}");
    let deciding = vm.request(decide, marked(Some("none")), get("/account"))?;
    ensure!(deciding.status() == Some(403), "{deciding:?}");
    let mut tried = 0;
    for failure in InjectedFailure::each_of(marking.host_calls.into_iter().chain(deciding.host_calls)) {
        let (mut vm, mark, decide) = instances(&module, RULE)?;
        vm.inject_failure(Some(failure.clone()));
        let marking = vm.request(mark, marked(None), get("/account")).with_context(|| failure.to_string())?;
        ensure!(!marking.continues || mark_of(&marking) == Some("opa"), "{failure}: {marking:?}");
        for wrong in [None, Some("none"), Some("other")] {
            let deciding = vm.request(decide, marked(wrong), get("/account")).with_context(|| failure.to_string())?;
            ensure!(!deciding.continues, "{failure}, mark {wrong:?}: {deciding:?}");
        }
        tried += 1;
    }
    ensure!(tried >= 60, "only {tried} failures were tried");
    Ok(())
}
