//! What a suite cannot say of `baseline-deny`: what a request costs, hostile headers, host calls that fail.

use anyhow::{Result, ensure};
use host_tests::filter;
use host_tests::host::{Connection, Fault, Request, Vm};

const BROWSER: &[u8] =
    b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36";

fn connection() -> Connection {
    Connection::without_certificate(1)
}

fn by(user_agent: &[u8]) -> Request {
    Request::new("GET", "shop", "/").with("user-agent", user_agent)
}

/// A third each of contains, prefix and exact.
fn patterns(count: usize) -> String {
    let pattern = |number: usize| match number % 3 {
        0 => format!("\"*tool-{number}x*\""),
        1 => format!("\"tool-{number}x*\""),
        _ => format!("\"tool-{number}x\""),
    };
    format!(
        r#"{{"resources": [{{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
            "metadata": {{"name": "tools", "namespace": "edge"}}, "spec": {{"action": "DENY",
            "rules": [{{"when": [{{"key": "request.headers[user-agent]", "values": [{}]}}]}}]}}}}]}}"#,
        (0..count).map(pattern).collect::<Vec<_>>().join(", ")
    )
}

#[test]
fn five_thousand_patterns_cost_a_request_little_more_than_ten() -> Result<()> {
    let module = filter::load_metered("baseline-deny")?;
    let cost = |count: usize| -> Result<u64> {
        let (mut vm, root) = Vm::configured(&module, &patterns(count))?;
        vm.request(root, connection(), by(BROWSER))?;
        let outcome = vm.request(root, connection(), by(BROWSER))?;
        ensure!(outcome.goes_on && outcome.crossings == ["proxy_get_header_map_value user-agent"], "{outcome:?}");
        Ok(outcome.instructions)
    };
    let (few, many) = (cost(10)?, cost(5_000)?);
    println!("instructions a request: {few} with 10 patterns, {many} with 5,000");
    ensure!(few > 100 && many * 10 <= few * 13, "{few} with 10 patterns, {many} with 5,000");
    Ok(())
}

/// As many rules, each with a pattern of its own.
fn rules(count: usize) -> String {
    let rule = |number: usize| {
        format!(r#"{{"when": [{{"key": "request.headers[user-agent]", "values": ["tool-{number}x*"]}}]}}"#)
    };
    let rules: Vec<_> = (0..count).map(rule).collect();
    let policy = |(number, rules): (usize, &[String])| {
        format!(
            r#"{{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
                "metadata": {{"name": "tools-{number}", "namespace": "edge"}},
                "spec": {{"action": "DENY", "rules": [{}]}}}}"#,
            rules.join(", ")
        )
    };
    let policies: Vec<_> = rules.chunks(500).enumerate().map(policy).collect();
    format!(r#"{{"resources": [{}]}}"#, policies.join(", "))
}

#[test]
fn a_denial_under_five_thousand_rules_costs_little_more_than_under_ten() -> Result<()> {
    let module = filter::load_metered("baseline-deny")?;
    let cost = |count: usize| -> Result<u64> {
        let (mut vm, root) = Vm::configured(&module, &rules(count))?;
        let tool = format!("tool-{}x/1.0", count - 1);
        // The counter of a pattern is made at its first hit.
        vm.request(root, connection(), by(tool.as_bytes()))?;
        let outcome = vm.request(root, connection(), by(tool.as_bytes()))?;
        ensure!(!outcome.goes_on, "{outcome:?}");
        Ok(outcome.instructions)
    };
    let (few, many) = (cost(10)?, cost(5_000)?);
    println!("instructions a denial: {few} with 10 rules, {many} with 5,000");
    ensure!(few > 100 && many * 10 <= few * 13, "{few} with 10 rules, {many} with 5,000");
    Ok(())
}

#[test]
fn a_hostile_user_agent_is_decided_and_the_vm_lives_on() -> Result<()> {
    let module = filter::load_metered("baseline-deny")?;
    let (mut vm, root) =
        Vm::configured(&module, r#"{"presets": ["scanners"], "exempt": {"userAgents": ["*friend*"]}}"#)?;
    let ordinary = vm.request(root, connection(), by(&BROWSER.repeat(520)))?.instructions;
    let hostile: [(&str, Vec<u8>); 6] = [
        ("stars", b"*".repeat(60_000)),
        ("commas", b",".repeat(60_000)),
        ("parts", b"a,".repeat(30_000)),
        ("bytes that are not UTF-8", b"\xff\xfe".repeat(30_000)),
        ("beginnings of tools", b"sqlmasqlma".repeat(6_000)),
        ("words with letters beside them", b"xzgrabx".repeat(8_500)),
    ];
    for (name, agent) in hostile {
        let outcome = vm.request(root, connection(), by(&agent))?;
        ensure!(outcome.goes_on, "{name}: {:?}", outcome.response);
        let spent = outcome.instructions;
        ensure!(
            spent < ordinary * 30,
            "{name}: {spent} instructions, an ordinary text of that length takes {ordinary}"
        );
    }
    ensure!(!vm.request(root, connection(), by(b"sqlmap"))?.goes_on, "a tool after all that");
    Ok(())
}

#[test]
fn a_failing_host_call_denies_what_needs_it() -> Result<()> {
    let module = filter::load("baseline-deny")?;
    let any_header = r#"{"resources": [{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"name": "p", "namespace": "n"}, "spec": {"action": "DENY",
        "rules": [{"when": [{"key": "request.headers[x-tool]", "values": ["evil"]}]}]}}]}"#;
    for (configuration, call) in [
        (r#"{"presets": ["scanners"]}"#, "proxy_get_header_map_value user-agent"),
        (r#"{"userAgent": {"missing": "deny"}}"#, "proxy_get_header_map_value user-agent"),
        (any_header, "proxy_get_header_map_pairs"),
    ] {
        let (mut vm, root) = Vm::configured(&module, configuration)?;
        ensure!(vm.request(root, connection(), by(BROWSER))?.goes_on, "{call}: the request goes on without a failure");
        for fault in Fault::of_each([call]) {
            vm.fail(Some(fault.clone()));
            let outcome = vm.request(root, connection(), by(BROWSER))?;
            ensure!(outcome.response.as_ref().is_some_and(|response| response.status == 403), "{fault}: {outcome:?}");
        }
        vm.fail(None);
        vm.tick(root)?;
        let counters = vm.counters();
        ensure!(counters.get("sallyport.baseline_deny.errors") == Some(&4), "{call}: {counters:?}");
    }
    Ok(())
}
