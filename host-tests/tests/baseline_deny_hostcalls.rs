//! `baseline-deny` beyond its suite: the cost of a request, hostile headers, and host calls that fail.

use anyhow::{Result, ensure};
use host_tests::policy;
use host_tests::wasm_host::{Connection, InjectedFailure, Request, Vm};
use host_tests::{filter, rows};
use serde_json::{Value, json};

const BROWSER: &[u8] =
    b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36";

fn connection() -> Connection {
    Connection::without_certificate(1)
}

fn request(user_agent: &[u8]) -> Request {
    Request::new("GET", "shop", "/").with("user-agent", user_agent)
}

/// Returns a rule for these user agents.
fn rule(patterns: &[String]) -> Value {
    json!({"when": [{"key": "request.headers[user-agent]", "values": patterns}]})
}

/// Returns a configuration with DENY policies of these rules, 500 in each.
fn deny(rules: &[Value]) -> String {
    let policy = |(number, rules): (usize, &[Value])| {
        json!({
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": {"name": format!("tools-{number}"), "namespace": "edge"},
            "spec": {"action": "DENY", "rules": rules}
        })
    };
    json!({"resources": rules.chunks(500).enumerate().map(policy).collect::<Vec<_>>()}).to_string()
}

/// Returns a configuration with one rule of `count` patterns, a third each of contains, prefix and exact.
fn one_rule(count: usize) -> String {
    let pattern = |number: usize| match number % 3 {
        0 => format!("*tool-{number}x*"),
        1 => format!("tool-{number}x*"),
        _ => format!("tool-{number}x"),
    };
    deny(&[rule(&(0..count).map(pattern).collect::<Vec<_>>())])
}

/// Returns a configuration with `count` rules of one pattern each.
fn many_rules(count: usize) -> String {
    deny(&(0..count).map(|number| rule(&[format!("tool-{number}x*")])).collect::<Vec<_>>())
}

#[test]
fn five_thousand_patterns_cost_a_request_little_more_than_ten() -> Result<()> {
    let module = filter::load_metered("baseline-deny")?;
    let cost = |count: usize| -> Result<u64> {
        let (mut vm, root) = Vm::configured(&module, &one_rule(count))?;
        vm.request(root, connection(), request(BROWSER))?;
        let outcome = vm.request(root, connection(), request(BROWSER))?;
        ensure!(outcome.continues && outcome.host_calls == ["proxy_get_header_map_value user-agent"], "{outcome:?}");
        Ok(outcome.instructions)
    };
    let (few, many) = (cost(10)?, cost(5_000)?);
    println!("instructions of a request: {few} with 10 patterns, {many} with 5,000");
    ensure!(few > 100 && many * 10 <= few * 13, "{few} with 10 patterns, {many} with 5,000");
    Ok(())
}

#[test]
fn a_denial_under_five_thousand_rules_costs_little_more_than_under_ten() -> Result<()> {
    let module = filter::load_metered("baseline-deny")?;
    let cost = |count: usize| -> Result<u64> {
        let (mut vm, root) = Vm::configured(&module, &many_rules(count))?;
        let tool = format!("tool-{}x/1.0", count - 1);
        // The first denial by a pattern defines its counter.
        vm.request(root, connection(), request(tool.as_bytes()))?;
        let outcome = vm.request(root, connection(), request(tool.as_bytes()))?;
        ensure!(!outcome.continues, "{outcome:?}");
        Ok(outcome.instructions)
    };
    let (few, many) = (cost(10)?, cost(5_000)?);
    println!("instructions of a denial: {few} with 10 rules, {many} with 5,000");
    ensure!(few > 100 && many * 10 <= few * 13, "{few} with 10 rules, {many} with 5,000");
    Ok(())
}

rows! {
    a_hostile_user_agent_costs_no_more_than_a_long_one: check_hostile_user_agent;
    stars: b"*".repeat(60_000);
    commas: b",".repeat(60_000);
    list_elements: b"aaaaaaaaaaaaaa,".repeat(4_000);
    bytes_that_are_not_utf_8: b"\xff\xfe".repeat(30_000);
    prefixes_of_a_tool: b"sqlmasqlma".repeat(6_000);
    a_tool_within_words: b"xzgrabx".repeat(5_500);
}

fn check_hostile_user_agent(user_agent: Vec<u8>) -> Result<()> {
    let configuration = policy::configuration("{presets: [scanners], exempt: {userAgents: ['*friend*']}}")?;
    let (mut vm, root) = Vm::configured(&filter::load_metered("baseline-deny")?, &configuration)?;
    let ordinary = vm.request(root, connection(), request(&BROWSER.repeat(520)))?.instructions;
    let outcome = vm.request(root, connection(), request(&user_agent))?;
    ensure!(outcome.continues, "{:?}", outcome.response);
    let instructions = outcome.instructions;
    ensure!(
        instructions < ordinary * 30,
        "{instructions} instructions, {ordinary} for an ordinary value of that length"
    );
    ensure!(!vm.request(root, connection(), request(b"sqlmap"))?.continues, "a tool is allowed afterwards");
    Ok(())
}

rows! {
    a_failing_host_call_denies_what_needs_it_and_is_counted: check_failure;
    a_preset: "{presets: [scanners]}", "proxy_get_header_map_value user-agent";
    a_missing_user_agent: "{userAgent: {missing: deny}}", "proxy_get_header_map_value user-agent";
    another_header: HEADER_POLICY, "proxy_get_header_map_pairs";
}

const HEADER_POLICY: &str = "
resources:
- apiVersion: security.istio.io/v1
  kind: AuthorizationPolicy
  metadata: {name: p, namespace: edge}
  spec:
    action: DENY
    rules:
    - when: [{key: 'request.headers[x-tool]', values: [evil]}]
";

fn check_failure(configuration: &str, call: &str) -> Result<()> {
    let (mut vm, root) = Vm::configured(&filter::load("baseline-deny")?, &policy::configuration(configuration)?)?;
    ensure!(vm.request(root, connection(), request(BROWSER))?.continues, "denied without a failure");
    let mut tried = 0;
    for failure in InjectedFailure::each_of([call]) {
        tried += 1;
        vm.inject_failure(Some(failure.clone()));
        let outcome = vm.request(root, connection(), request(BROWSER))?;
        ensure!(outcome.status() == Some(403), "{failure}: {outcome:?}");
    }
    vm.inject_failure(None);
    vm.tick(root)?;
    let counters = vm.counters();
    ensure!(counters.get("sallyport.baseline_deny.errors") == Some(&tried), "{counters:?}");
    Ok(())
}
