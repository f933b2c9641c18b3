//! What a suite cannot say of `egress-allowlist`: host calls that fail, a connection that cannot be closed, what a
//! decision costs, and how that grows.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use host_tests::filter;
use host_tests::host::{Connection, Fault, First, Module, Request, Root, Vm};

const PAYMENTS: &str = "spiffe://cluster.local/ns/shop/sa/payments";

const CONFIGURATION: &str = r#"{"rules": [
    {"name": "payments", "from": [{"source": {"principals": ["cluster.local/ns/shop/sa/payments"], "notIpBlocks": ["10.0.0.0/8"]}}], "hosts": ["good.com"]},
    {"name": "anyone", "from": [{"source": {"notIpBlocks": ["10.0.0.0/8"]}}], "hosts": ["open.com"]},
    {"name": "never", "action": "DENY", "from": [{"source": {"ipBlocks": ["10.0.0.0/8"]}}], "hosts": ["open.com"]}]}"#;

fn module() -> Result<Module> {
    filter::load("egress-allowlist")
}

fn connection(id: u64, uri: Option<&str>, server_name: Option<&str>) -> Connection {
    let by = uri.map_or_else(|| Connection::without_certificate(id), |uri| Connection::mtls(id, uri));
    Connection { server_name: server_name.map(|name| name.as_bytes().to_vec()), ..by }
}

fn get(host: &str) -> Request {
    Request::new("GET", host, "/")
}

#[test]
fn no_failing_host_call_lets_a_denied_request_out() -> Result<()> {
    let module = module()?;
    let tries = [
        (connection(1, Some("spiffe://cluster.local/ns/shop/sa/web"), None), get("good.com")),
        (connection(1, Some(PAYMENTS), Some("front.com")), get("good.com")),
        (connection(1, Some(PAYMENTS), None), Request::new("CONNECT", "evil.com:443", "")),
    ];
    let mut tried = 0;
    for (by, what) in tries {
        let (mut vm, root) = Vm::configured(&module, CONFIGURATION)?;
        let crossings = vm.request(root, by.clone(), what.clone())?.crossings;
        ensure!(crossings.len() > 4, "the request makes {crossings:?} only");
        for fault in Fault::of_each(crossings) {
            let (mut vm, root) = Vm::configured(&module, CONFIGURATION)?;
            vm.fail(Some(fault.clone()));
            let outcome = vm.request(root, by.clone(), what.clone())?;
            ensure!(!outcome.goes_on, "{fault}, and the request goes on");
            tried += 1;
        }
    }
    ensure!(tried >= 80, "{tried} failures were tried only");
    Ok(())
}

#[test]
fn no_failing_host_call_lets_a_denied_connection_out() -> Result<()> {
    let module = module()?;
    let mut tried = 0;
    for server_name in [None, Some("evil.com"), Some("good.com")] {
        let (mut vm, root) = Vm::configured(&module, CONFIGURATION)?;
        let passage = vm.connection(root, connection(1, None, server_name), First::Client)?;
        ensure!(passage.closed && !passage.goes_on && !passage.bytes_go_on, "{server_name:?}: {passage:?}");
        for fault in Fault::of_each(passage.crossings) {
            let (mut vm, root) = Vm::configured(&module, CONFIGURATION)?;
            vm.fail(Some(fault.clone()));
            let passage = vm.connection(root, connection(1, None, server_name), First::Client)?;
            ensure!(!passage.bytes_go_on, "{fault}, and the connection goes on: {passage:?}");
            tried += 1;
        }
    }
    ensure!(tried >= 40, "{tried} failures were tried only");
    Ok(())
}

#[test]
fn a_connection_that_cannot_be_closed_is_held() -> Result<()> {
    let (mut vm, root) = Vm::configured(&module()?, CONFIGURATION)?;
    vm.fail(Some(Fault { of: "proxy_close_stream".to_owned(), status: 10 }));
    let passage = vm.connection(root, connection(1, None, Some("evil.com")), First::Client)?;
    ensure!(!passage.closed && !passage.goes_on && !passage.bytes_go_on, "{passage:?}");
    let tries = passage.crossings.iter().filter(|crossing| *crossing == "proxy_close_stream").count();
    ensure!(tries == 2, "closing is tried again with the first bytes, not {tries} times");
    vm.fail(None);
    let passage = vm.connection(root, connection(2, None, Some("open.com")), First::Client)?;
    ensure!(passage.bytes_go_on, "another connection: {passage:?}");
    Ok(())
}

#[test]
fn what_an_allowed_request_needs_failing_denies_it_and_is_counted() -> Result<()> {
    let module = module()?;
    for call in [
        "proxy_get_property connection.uri_san_peer_certificate",
        "proxy_get_property connection.peer_certificate_valid",
        "proxy_get_property connection.requested_server_name",
        "proxy_get_property source.address",
        "proxy_get_header_map_value :method",
        "proxy_get_header_map_value :authority",
    ] {
        let (mut vm, root) = Vm::configured(&module, CONFIGURATION)?;
        ensure!(vm.request(root, connection(1, Some(PAYMENTS), None), get("good.com"))?.goes_on, "{call}");
        vm.fail(Some(Fault { of: call.to_owned(), status: 10 }));
        let outcome = vm.request(root, connection(2, Some(PAYMENTS), None), get("good.com"))?;
        ensure!(!outcome.goes_on, "{call}: {outcome:?}");
        let reason = outcome.filter_state.get("wasm.sallyport.egress_allowlist.reason").context("no reason")?;
        ensure!(reason.starts_with("the proxy did not tell "), "{reason}");
        vm.fail(None);
        vm.tick(root)?;
        ensure!(vm.counters().get("sallyport.egress_allowlist.errors") == Some(&1), "{call}: {:?}", vm.counters());
    }
    Ok(())
}

#[test]
fn connections_and_requests_before_any_configuration_are_turned_away() -> Result<()> {
    let mut vm = Vm::start(&module()?)?;
    let root = vm.unconfigured()?;
    ensure!(!vm.connection(root, connection(1, None, Some("open.com")), First::Client)?.bytes_go_on);
    ensure!(!vm.request(root, connection(1, None, None), get("open.com"))?.goes_on);
    Ok(())
}

#[test]
fn a_decision_costs_few_crossings() -> Result<()> {
    let configuration = r#"{"rules": [
        {"name": "a", "hosts": ["open.com"]},
        {"name": "b", "from": [{"source": {"principals": ["cluster.local/ns/shop/sa/payments"]}}], "hosts": ["good.com"]}]}"#;
    let (mut vm, root) = Vm::configured(&module()?, configuration)?;
    let name = "proxy_get_property connection.requested_server_name";
    let (method, authority) = ("proxy_get_header_map_value :method", "proxy_get_header_map_value :authority");
    let payments = || connection(7, Some(PAYMENTS), None);
    let rows: [(Request, &[&str]); 3] = [
        (get("open.com"), &[method, authority, name]),
        (Request::new("CONNECT", "open.com:443", ""), &[method, authority]),
        (Request::new("CONNECT", "good.com:443", ""), &[method, authority, "proxy_get_property #"]),
    ];
    for (request, expected) in rows {
        vm.request(root, payments(), request.clone())?;
        let outcome = vm.request(root, payments(), request.clone())?;
        // The key of a connection's number is another one in each VM.
        let crossings: Vec<_> = outcome
            .crossings
            .iter()
            .map(|crossing| crossing.split_once('#').map_or(crossing.clone(), |(call, _)| format!("{call}#")))
            .collect();
        ensure!(outcome.goes_on && crossings == expected, "{request:?}: {outcome:?}");
    }
    Ok(())
}

#[test]
fn neither_requests_nor_connections_leave_memory_behind() -> Result<()> {
    let (mut vm, root) = Vm::configured(&module()?, CONFIGURATION)?;
    let play = |vm: &mut Vm, rounds: u64| -> Result<usize> {
        for round in 0..rounds {
            for server_name in [None, Some("evil.com"), Some("open.com")] {
                vm.connection(root, connection(round, None, server_name), First::Client)?;
            }
            vm.request(root, connection(round % 100, Some(PAYMENTS), None), get("evil.com:443"))?;
        }
        Ok(vm.memory())
    };
    let before = play(&mut vm, 500)?;
    let after = play(&mut vm, 5000)?;
    ensure!(after == before, "{before} bytes before, {after} after");
    Ok(())
}

/// One rule for each ten hosts, half of them wildcards.
fn of_hosts(count: usize) -> String {
    let rule = |number: usize| {
        let hosts: Vec<_> = (number * 10..number * 10 + 10)
            .map(|host| format!("\"{}h{host}.example.com\"", if host % 2 == 0 { "*." } else { "" }))
            .collect();
        format!(r#"{{"name": "r{number}", "hosts": [{}]}}"#, hosts.join(", "))
    };
    format!(r#"{{"rules": [{}]}}"#, (0..count / 10).map(rule).collect::<Vec<_>>().join(", "))
}

/// How many instructions some hundred requests take, allowed and denied.
fn cost(vm: &mut Vm, root: Root, count: usize) -> Result<u64> {
    let mut instructions = 0;
    for turn in 0..400 {
        let number = (turn * 7919) % count;
        let host = match turn % 3 {
            0 => format!("a.h{}.example.com", number - number % 2),
            1 => format!("h{}.example.com", number | 1),
            _ => format!("other{number}.example.com"),
        };
        let outcome = vm.request(root, connection(1, None, None), get(&host))?;
        ensure!(outcome.goes_on == (turn % 3 != 2), "{host}");
        instructions += outcome.instructions;
    }
    Ok(instructions)
}

#[test]
fn a_hundred_thousand_hosts_cost_what_ten_do() -> Result<()> {
    let module = filter::load_metered("egress-allowlist")?;
    let (mut few, few_root) = Vm::configured(&module, &of_hosts(10))?;
    let timed = |count: usize| -> Result<(Vm, Root, Duration)> {
        let begin = Instant::now();
        let (vm, root) = Vm::configured(&module, &of_hosts(count))?;
        Ok((vm, root, begin.elapsed()))
    };
    let (_, _, tenth) = timed(10_000)?;
    let (mut many, many_root, loaded) = timed(100_000)?;
    let each = (many.memory() - few.memory()) / 100_000;
    let (base, cost) = (cost(&mut few, few_root, 10)?, cost(&mut many, many_root, 100_000)?);
    println!(
        "instructions: {base} with 10 hosts, {cost} with 100,000; loaded in {:.2} s, {each} bytes a host",
        loaded.as_secs_f64()
    );
    ensure!(cost * 10 <= base * 12, "{base} instructions with 10 hosts, {cost} with 100,000");
    // Ten times as many take about ten times as long: nothing in loading grows faster.
    ensure!(loaded < tenth * 30, "10,000 hosts load in {tenth:?}, 100,000 in {loaded:?}");
    ensure!(each < 1000, "{each} bytes a host");
    Ok(())
}
