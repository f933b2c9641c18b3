//! The caches of `identity-authz`: what it remembers of a connection is never used for another one, and saves work.
//!
//! Connections with equal cached results share a tag, a filter-state key that begins with `+`; a connection's own id is
//! under one that begins with `#`. Both keys are different in each VM.

use std::time::Duration;

use anyhow::{Result, ensure};
use fastrand::Rng;
use host_tests::policy::{allow_web, authorization_policy, only_allow_web, single_policy};
use host_tests::wasm_host::{Connection, InjectedFailure, Request, RequestOutcome, Vm};
use host_tests::{filter, rows};
use serde_json::json;

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";
const OTHER: &str = "spiffe://cluster.local/ns/shop/sa/other";

fn get(path: &str) -> Request {
    Request::new("GET", "orders.shop", path)
}

/// Returns true if this host call tests for a tag.
fn reads_tag(call: &str) -> bool {
    call.starts_with("proxy_get_property +")
}

/// Compares instruction counts, which are the same on every machine.
#[test]
fn methods_and_paths_of_a_known_caller_take_the_fast_path() -> Result<()> {
    let module = filter::load_metered("identity-authz")?;
    let instructions = |operation: &str| -> Result<u64> {
        let (mut vm, root) = Vm::configured(&module, &only_allow_web(operation)?)?;
        vm.request(root, Connection::mtls(7, WEB), get("/a"))?;
        let outcome = vm.request(root, Connection::mtls(7, WEB), get("/a"))?;
        ensure!(outcome.continues, "{operation}: {outcome:?}");
        Ok(outcome.instructions)
    };
    let suffix = instructions("{methods: [GET], paths: ['*/a']}")?;
    for path in ["/a", "/*"] {
        let fast = instructions(&format!("{{methods: [GET], paths: ['{path}']}}"))?;
        ensure!(fast * 10 < suffix * 7, "{fast} instructions for {path}, {suffix} for */a");
    }
    Ok(())
}

/// Returns a configuration with a rule for each caller: a path of its own.
fn path_for_each_caller(callers: u64) -> Result<String> {
    let rule = |number: u64| {
        format!(
            "- from: [{{source: {{principals: [cluster.local/ns/shop/sa/caller-{number}]}}}}]\n  \
               to: [{{operation: {{methods: [GET], paths: [/{number}]}}}}]\n"
        )
    };
    single_policy(&format!("rules:\n{}", (0..callers).map(rule).collect::<String>()))
}

rows! {
    callers_that_take_turns_make_few_host_calls_and_get_their_own_answers: check_callers_in_turns;
    one_caller: 1;
    two_callers: 2;
    as_many_as_there_are_tags: 15;
    more_than_there_are_tags: 40;
}

fn check_callers_in_turns(callers: u64) -> Result<()> {
    let (mut vm, root) = Vm::configured(&filter::load("identity-authz")?, &path_for_each_caller(callers)?)?;
    // Each caller has two connections. One more caller is allowed nothing.
    let connection = |caller: u64, index: u64| {
        Connection::mtls(caller * 2 + index, &format!("spiffe://cluster.local/ns/shop/sa/caller-{caller}"))
    };
    for index in [0, 1] {
        for caller in 0..=callers {
            vm.request(root, connection(caller, index), get("/"))?;
        }
    }
    let mut random = Rng::with_seed(callers);
    let (mut previous, mut in_a_row) = (callers + 1, 0);
    for step in 0..3_000_u64 {
        // Some callers send several requests in a row, others alternate.
        let (caller, path) = match step % 4 {
            0 => (random.u64(0..=callers), random.u64(0..=callers)),
            _ => (step / 7 % (callers + 1), step / 5 % (callers + 1)),
        };
        let outcome = vm.request(root, connection(caller, random.u64(0..2)), get(&format!("/{path}")))?;
        let allowed = caller == path && caller < callers;
        ensure!(outcome.continues == allowed, "caller {caller} at /{path}: {outcome:?}");
        in_a_row = if caller == previous { in_a_row + 1 } else { 1 };
        previous = caller;
        if allowed {
            check_known_caller(&outcome, in_a_row, callers)?;
        }
    }
    Ok(())
}

fn check_known_caller(outcome: &RequestOutcome, in_a_row: u64, callers: u64) -> Result<()> {
    // The first request after another caller's tests for that caller's tag in vain.
    let limit = if in_a_row == 1 { 3 } else { 2 };
    ensure!(outcome.host_calls.len() <= limit, "{:?}", outcome.host_calls);
    let tagged = outcome.host_calls.iter().any(|call| reads_tag(call));
    ensure!(callers > 15 || in_a_row < 3 || tagged, "{:?}", outcome.host_calls);
    Ok(())
}

#[test]
fn one_connections_identity_is_never_anothers() -> Result<()> {
    let (mut vm, root) = Vm::configured(&filter::load("identity-authz")?, &only_allow_web("")?)?;
    let is_web = |id: u64| id.is_multiple_of(3);
    let uri = |id| if is_web(id) { WEB.to_owned() } else { format!("spiffe://cluster.local/ns/shop/sa/other-{id}") };
    // More connections than the cache holds, each several times, soon after one another and long after.
    let mut random = Rng::with_seed(1);
    for step in 0..60_000_u64 {
        let id = match step % 3 {
            0 => step / 3,
            1 => step / 6,
            _ => random.u64(0..20_000),
        };
        let outcome = vm.request(root, Connection::mtls(id, &uri(id)), get("/"))?;
        ensure!(outcome.continues == is_web(id), "connection {id} at step {step}: {outcome:?}");
    }
    Ok(())
}

rows! {
    one_connections_decision_is_never_anothers: check_decisions;
    decided_by_the_connection: "", true;
    decided_by_the_request: "{notPaths: [/admin]}", false;
}

/// Checks 10,000 connections. `admin_allowed` tells whether web may request `/admin`.
fn check_decisions(operation: &str, admin_allowed: bool) -> Result<()> {
    let (mut vm, root) = Vm::configured(&filter::load("identity-authz")?, &only_allow_web(operation)?)?;
    for id in 0..10_000_u64 {
        let uri = if id % 2 == 0 { WEB } else { OTHER };
        for path in ["/", "/admin", "/"] {
            let allowed = uri == WEB && (admin_allowed || path != "/admin");
            let outcome = vm.request(root, Connection::mtls(id, uri), get(path))?;
            ensure!(outcome.continues == allowed, "connection {id}, {path}: {outcome:?}");
        }
    }
    vm.tick(root)?;
    let counter = |name: &str| vm.counters().get(&format!("sallyport.identity_authz.{name}")).copied();
    let allowed = if admin_allowed { 15_000 } else { 10_000 };
    ensure!(counter("allowed") == Some(allowed), "{:?}", counter("allowed"));
    ensure!(counter("denied") == Some(30_000 - allowed), "{:?}", counter("denied"));
    Ok(())
}

/// The host calls of a request on a known connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reads {
    /// The tag alone: the connection decides.
    TagAlone,
    /// More than the tag.
    More,
}

rows! {
    only_what_a_connection_fixes_is_decided_once: check_beside_allow_web;
    another_namespace: "{action: DENY, rules: [{from: [{source: {namespaces: [dev]}}]}]}", Reads::TagAlone;
    a_header: "{action: DENY, rules: [{when: [{key: 'request.headers[x-role]', values: [guest]}]}]}", Reads::More;
    a_port: "{action: DENY, rules: [{to: [{operation: {ports: ['1']}}]}]}", Reads::More;
}

/// Checks the requests of web under its ALLOW policy and another policy.
fn check_beside_allow_web(spec: &str, expected: Reads) -> Result<()> {
    let resources = [allow_web("")?, authorization_policy("deny", spec)?];
    let configuration = json!({"resources": resources}).to_string();
    let (mut vm, root) = Vm::configured(&filter::load("identity-authz")?, &configuration)?;
    for _ in 0..2 {
        ensure!(vm.request(root, Connection::mtls(1, WEB), get("/"))?.continues);
    }
    let guest = vm.request(root, Connection::mtls(1, WEB), get("/").with("x-role", b"guest"))?;
    ensure!(guest.continues != spec.contains("x-role"), "{guest:?}");
    let found = if guest.host_calls.iter().all(|call| reads_tag(call)) { Reads::TagAlone } else { Reads::More };
    ensure!(found == expected, "{:?}", guest.host_calls);
    Ok(())
}

rows! {
    what_is_decided_once_is_counted_for_each_request: check_counter;
    audit: "{action: AUDIT, rules: [{from: [{source: {namespaces: [shop]}}]}]}", "false", "policy.shop.p.audited";
    dry_run: "{action: DENY, rules: [{from: [{source: {namespaces: [shop]}}]}]}", "true", "would_deny";
}

fn check_counter(spec: &str, dry_run: &str, counter: &str) -> Result<()> {
    let policy = json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "p", "namespace": "shop", "annotations": {"istio.io/dry-run": dry_run}},
        "spec": testbed::read_yaml(spec)?
    });
    let configuration = json!({"resources": [allow_web("")?, policy]}).to_string();
    let (mut vm, root) = Vm::configured(&filter::load("identity-authz")?, &configuration)?;
    for _ in 0..3 {
        ensure!(vm.request(root, Connection::mtls(1, WEB), get("/"))?.continues);
    }
    vm.tick(root)?;
    let count = vm.counters().get(&format!("sallyport.identity_authz.{counter}")).copied();
    ensure!(count == Some(3), "{count:?}");
    Ok(())
}

rows! {
    a_request_takes_few_instructions: check_instructions;
    by_principal: "", 180;
    by_method_and_path: "{methods: [GET], paths: [/a]}", 1_700;
}

fn check_instructions(operation: &str, limit: u64) -> Result<()> {
    let (mut vm, root) = Vm::configured(&filter::load_metered("identity-authz")?, &only_allow_web(operation)?)?;
    vm.request(root, Connection::mtls(7, WEB), get("/a"))?;
    let instructions = vm.request(root, Connection::mtls(7, WEB), get("/a"))?.instructions;
    println!("{instructions} instructions for a repeated request, operation `{operation}`");
    ensure!(instructions <= limit, "{instructions} instructions, the limit is {limit}");
    Ok(())
}

#[test]
fn a_connection_that_one_configuration_allows_is_denied_by_another() -> Result<()> {
    let web = only_allow_web("")?;
    let (mut vm, root) = Vm::configured(&filter::load("identity-authz")?, &web)?;
    // The tags of configurations differ even if the clock stands still.
    vm.stop_clock(Duration::from_secs(1));
    let other = vm.configure(web.replace("sa/web", "sa/other").as_bytes())??;
    let another = vm.configure(web.replace("sa/web", "sa/another").as_bytes())??;
    for _ in 0..3 {
        for (root, allowed) in [(root, true), (other, false), (another, false)] {
            ensure!(vm.request(root, Connection::mtls(1, WEB), get("/"))?.continues == allowed, "{root:?}");
        }
    }
    Ok(())
}

rows! {
    a_proxy_that_confirms_every_tag_is_not_trusted: check_confirmed_tags;
    by_principal: "";
    by_method: "{methods: [GET]}";
}

fn check_confirmed_tags(operation: &str) -> Result<()> {
    let (mut vm, root) = Vm::configured(&filter::load("identity-authz")?, &only_allow_web(operation)?)?;
    vm.inject_failure(Some(InjectedFailure { call: "proxy_get_property +".to_owned(), status: 0 }));
    for id in 1..=6 {
        let (uri, expected) = if id % 3 == 0 { (OTHER, Some(403)) } else { (WEB, None) };
        let outcome = vm.request(root, Connection::mtls(id, uri), get("/a"))?;
        ensure!(outcome.status() == expected, "{uri}: {outcome:?}");
    }
    Ok(())
}

#[test]
fn a_connection_gets_few_tags_however_often_the_configuration_changes() -> Result<()> {
    let configuration = only_allow_web("")?;
    let (mut vm, mut root) = Vm::configured(&filter::load("identity-authz")?, &configuration)?;
    let mut tagged = 0;
    for _ in 0..40 {
        ensure!(vm.request(root, Connection::mtls(1, WEB), get("/"))?.continues);
        let repeated = vm.request(root, Connection::mtls(1, WEB), get("/"))?;
        ensure!(repeated.continues && repeated.host_calls.len() <= 2, "{:?}", repeated.host_calls);
        tagged += u32::from(repeated.host_calls.iter().any(|call| reads_tag(call)));
        root = vm.update(root, configuration.as_bytes())??;
    }
    ensure!(tagged == 16, "{tagged} tags");
    ensure!(!vm.request(root, Connection::mtls(2, OTHER), get("/"))?.continues);
    Ok(())
}

rows! {
    connections_with_the_same_id_are_told_apart: check_same_id;
    decided_by_the_connection: "";
    decided_by_the_request: "{paths: [/]}";
}

fn check_same_id(operation: &str) -> Result<()> {
    let (mut vm, root) = Vm::configured(&filter::load("identity-authz")?, &only_allow_web(operation)?)?;
    for _ in 0..3 {
        ensure!(vm.request(root, Connection::mtls(1, WEB), get("/"))?.continues);
        let other = vm.request(root, Connection::mtls(1, OTHER), get("/"))?;
        ensure!(other.status() == Some(403), "{other:?}");
    }
    Ok(())
}
