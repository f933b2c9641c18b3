//! What a suite cannot say of `identity-authz`: host calls that fail, connections that come and go, what a request
//! costs, what stays behind.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use host_tests::filter;
use host_tests::host::{Connection, Fault, Module, Outcome, Request, Vm};

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

/// ALLOW to web, by `to` if it is not empty, and a DENY that asks for everything else.
fn configuration(to: &str, deny: bool) -> String {
    let policy = |name: &str, spec: &str| {
        format!(
            r#"{{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
                "metadata": {{"name": "{name}", "namespace": "shop"}}, "spec": {spec}}}"#
        )
    };
    let to = if to.is_empty() { String::new() } else { format!(r#", "to": [{{"operation": {to}}}]"#) };
    let allow =
        format!(r#"{{"rules": [{{"from": [{{"source": {{"principals": ["cluster.local/ns/shop/sa/web"]}}}}]{to}}}]}}"#);
    let mut policies = vec![policy("allow-web", &allow)];
    if deny {
        let rest = r#"{"action": "DENY", "rules": [{"to": [{"operation": {"hosts": ["evil"], "ports": ["1"]}}]}]}"#;
        policies.push(policy("deny-rest", rest));
    }
    format!(r#"{{"resources": [{}]}}"#, policies.join(", "))
}

fn module() -> Result<Module> {
    filter::load("identity-authz")
}

fn get(path: &str) -> Request {
    Request::new("GET", "orders.shop", path)
}

fn status(outcome: &Outcome) -> Option<u32> {
    outcome.response.as_ref().map(|response| response.status)
}

#[test]
fn no_failing_host_call_lets_a_denied_request_through() -> Result<()> {
    let module = module()?;
    let configuration =
        configuration(r#"{"methods": ["GET"], "paths": ["/a"], "notHosts": ["x"], "notPorts": ["2"]}"#, true);
    let shop_web_at_b = || (Connection::mtls(1, WEB), get("/b"));
    let stranger = || (Connection::mtls(1, "spiffe://cluster.local/ns/shop/sa/stranger"), get("/a"));
    let mut tried = 0;
    for request in [&shop_web_at_b as &dyn Fn() -> _, &stranger] {
        let (mut vm, root) = Vm::configured(&module, &configuration)?;
        let (by, what) = request();
        let crossings = vm.request(root, by, what)?.crossings;
        ensure!(crossings.len() > 5, "the request makes {crossings:?} only");
        for fault in Fault::of_each(crossings) {
            let (mut vm, root) = Vm::configured(&module, &configuration)?;
            vm.fail(Some(fault.clone()));
            let (by, what) = request();
            let outcome = vm.request(root, by, what).with_context(|| fault.to_string())?;
            ensure!(!outcome.goes_on, "{fault}, and the request goes on");
            tried += 1;
        }
    }
    ensure!(tried >= 60, "{tried} failures were tried only");
    Ok(())
}

#[test]
fn a_failing_host_call_denies_what_needs_it_and_is_counted() -> Result<()> {
    let module = module()?;
    let configuration =
        configuration(r#"{"methods": ["GET"], "paths": ["/a"], "notHosts": ["x"], "notPorts": ["2"]}"#, false);
    for call in [
        "proxy_get_property connection.uri_san_peer_certificate",
        "proxy_get_property connection.peer_certificate_valid",
        "proxy_get_property connection.peer_certificate",
        "proxy_get_property destination.port",
        "proxy_get_header_map_pairs",
    ] {
        let (mut vm, root) = Vm::configured(&module, &configuration)?;
        ensure!(
            vm.request(root, Connection::mtls(1, WEB), get("/a"))?.goes_on,
            "{call}: the request is allowed without a failure"
        );
        vm.fail(Some(Fault { of: call.to_owned(), status: 10 }));
        let outcome = vm.request(root, Connection::mtls(2, WEB), get("/a"))?;
        ensure!(status(&outcome) == Some(403), "{call}: {outcome:?}");
        let reason = outcome.filter_state.get("wasm.sallyport.identity_authz.reason").context("no reason")?;
        let attribute = call.split(' ').nth(1).unwrap_or("request.headers");
        ensure!(reason.starts_with(&format!("the proxy did not tell {attribute}: InternalFailure: ")), "{reason}");
        vm.fail(None);
        vm.tick(root)?;
        let counters = vm.counters();
        ensure!(counters.get("sallyport.identity_authz.errors") == Some(&1), "{call}: {counters:?}");
        ensure!(vm.request(root, Connection::mtls(2, WEB), get("/a"))?.goes_on, "{call}: a failure is not remembered");
    }
    Ok(())
}

#[test]
fn a_failing_host_call_never_walks_past_a_deny() -> Result<()> {
    let module = module()?;
    let rows = [
        (
            r#"{"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/web"]}}]}"#,
            "proxy_get_property connection.uri_san",
        ),
        (r#"{"from": [{"source": {"namespaces": ["shop"]}}]}"#, "proxy_get_property connection.peer_certificate_valid"),
        (r#"{"to": [{"operation": {"methods": ["GET"]}}]}"#, "proxy_get_header_map_value :method"),
        (r#"{"to": [{"operation": {"paths": ["/admin/{**}"]}}]}"#, "proxy_get_header_map_value :path"),
        (r#"{"to": [{"operation": {"hosts": ["orders.shop"]}}]}"#, "proxy_get_header_map_value :authority"),
        (r#"{"to": [{"operation": {"ports": ["443"]}}]}"#, "proxy_get_property destination.port"),
        (r#"{"when": [{"key": "request.headers[x-role]", "values": ["guest"]}]}"#, "proxy_get_header_map_pairs"),
    ];
    for (rule, call) in rows {
        let configuration = format!(
            r#"{{"defaultAction": "ALLOW", "resources": [{{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
                "metadata": {{"name": "deny", "namespace": "shop"}}, "spec": {{"action": "DENY", "rules": [{rule}]}}}}]}}"#
        );
        let request = || get("/admin/x").with("x-role", b"guest");
        for fault in Fault::of_each([call]) {
            let (mut vm, root) = Vm::configured(&module, &configuration)?;
            ensure!(
                status(&vm.request(root, Connection::mtls(1, WEB), request())?) == Some(403),
                "{rule} does not deny"
            );
            vm.fail(Some(fault.clone()));
            let outcome = vm.request(root, Connection::mtls(2, WEB), request())?;
            ensure!(outcome.crossings.iter().any(|crossing| crossing.starts_with(call)), "{rule} does not make {call}");
            ensure!(status(&outcome) == Some(403), "{fault}: {outcome:?}");
        }
    }
    Ok(())
}

#[test]
fn what_cannot_be_told_does_not_change_the_answer() -> Result<()> {
    let module = module()?;
    for call in [
        "proxy_set_property",
        "proxy_log",
        "proxy_define_metric",
        "proxy_increment_metric",
        "proxy_get_property #",
        "proxy_set_property #",
        "proxy_get_property +",
        "proxy_set_property +",
        "proxy_get_property sallyport.marks",
        "proxy_set_property sallyport.marks",
        "proxy_call_foreign_function",
        "proxy_get_current_time_nanoseconds",
        "proxy_set_effective_context",
    ] {
        let mut vm = Vm::start(&module)?;
        vm.fail(Some(Fault { of: call.to_owned(), status: 10 }));
        let root = vm.configure(configuration("", false).as_bytes())??;
        ensure!(vm.request(root, Connection::mtls(1, WEB), get("/a"))?.goes_on, "{call}: web is let in");
        let outcome = vm.request(root, Connection::mtls(2, "spiffe://a/b"), get("/a"))?;
        ensure!(status(&outcome) == Some(403), "{call}: {outcome:?}");
        vm.tick(root)?;
    }
    Ok(())
}

#[test]
fn before_envoy_1_39_only_the_listener_can_vouch_for_a_certificate() -> Result<()> {
    let module = module()?;
    let old = |id: u64| Connection { validated: None, ..Connection::mtls(id, WEB) };
    let (mut vm, root) = Vm::configured(&module, &configuration("", false))?;
    let outcome = vm.request(root, old(1), get("/"))?;
    ensure!(status(&outcome) == Some(403), "{outcome:?}");
    let reason = outcome.filter_state.get("wasm.sallyport.identity_authz.reason").context("no reason")?;
    for setting in ["Envoy 1.39", "identity.validation: listener", "require_client_certificate", "validation_context"] {
        ensure!(reason.contains(setting), "{reason}");
    }
    let vouched = |text: String| text.replacen('{', r#"{"identity": {"validation": "listener"}, "#, 1);
    let (mut vm, root) = Vm::configured(&module, &vouched(configuration("", false)))?;
    ensure!(vm.request(root, old(1), get("/"))?.goes_on);
    let stranger = Connection { validated: None, ..Connection::mtls(2, "spiffe://cluster.local/ns/dev/sa/x") };
    ensure!(!vm.request(root, stranger, get("/"))?.goes_on);
    Ok(())
}

/// A certificate that was good when its connection was first seen is looked at again at each tick.
#[test]
fn a_certificate_that_ends_ends_what_was_decided_by_it() -> Result<()> {
    let module = module()?;
    for to in ["", r#"{"methods": ["GET"], "paths": ["/a"]}"#] {
        let (mut vm, root) = Vm::configured(&module, &configuration(to, false))?;
        let authority = testbed::Authority::new("authority")?;
        let certificate = |identity: testbed::Identity| Some(identity.certificate().to_owned());
        let names = [testbed::Name::Uri(WEB.to_owned())];
        let good = Connection { peer_certificate: certificate(authority.issue(&names)?), ..Connection::mtls(1, WEB) };
        let ended =
            Connection { peer_certificate: certificate(authority.issue_expired(&names)?), ..Connection::mtls(2, WEB) };
        for _ in 0..2 {
            ensure!(vm.request(root, good.clone(), get("/a"))?.goes_on, "{to}");
            ensure!(!vm.request(root, ended.clone(), get("/a"))?.goes_on, "{to}");
        }
        for _ in 0..2 {
            ensure!(vm.request(root, good.clone(), get("/a"))?.goes_on, "{to}");
        }
        vm.stop_clock(SystemTime::now().duration_since(UNIX_EPOCH)? + Duration::from_secs(2 * 60 * 60));
        vm.tick(root)?;
        for _ in 0..2 {
            let outcome = vm.request(root, good.clone(), get("/a"))?;
            ensure!(status(&outcome) == Some(403), "{to}: {outcome:?}");
        }
    }
    Ok(())
}

/// A crossing without what is another one in each VM: the names of the mark and of a connection's number.
fn unnumbered(crossing: &str) -> String {
    match crossing.split_once(['+', '#']) {
        Some((call, name)) if name.len() == 16 => crossing[..=call.len()].to_owned(),
        _ => crossing.to_owned(),
    }
}

#[test]
fn on_a_connection_seen_before_a_request_costs_few_crossings() -> Result<()> {
    let module = module()?;
    let rows: [(&str, &[&str]); 3] = [
        ("", &["proxy_get_property +"]),
        (r#"{"methods": ["GET"], "paths": ["/a"]}"#, &["proxy_get_property +", "proxy_get_header_map_pairs"]),
        (r#"{"paths": ["/a"], "notPaths": ["/b"]}"#, &["proxy_get_property +", "proxy_get_header_map_value :path"]),
    ];
    for (to, expected) in rows {
        let (mut vm, root) = Vm::configured(&module, &configuration(to, false))?;
        vm.request(root, Connection::mtls(7, WEB), get("/a"))?;
        let outcome = vm.request(root, Connection::mtls(7, WEB), get("/a"))?;
        ensure!(outcome.goes_on, "{to}: {outcome:?}");
        let crossings: Vec<_> = outcome.crossings.iter().map(|crossing| unnumbered(crossing)).collect();
        ensure!(crossings == expected, "{to}: {crossings:?}");
    }
    Ok(())
}

/// Counted in instructions of the module, which are the same on every machine.
#[test]
fn methods_and_paths_of_a_known_caller_are_compared_without_a_lookup() -> Result<()> {
    let module = filter::load_metered("identity-authz")?;
    let instructions = |to: &str| -> Result<u64> {
        let (mut vm, root) = Vm::configured(&module, &configuration(to, false))?;
        vm.request(root, Connection::mtls(7, WEB), get("/a"))?;
        let outcome = vm.request(root, Connection::mtls(7, WEB), get("/a"))?;
        ensure!(outcome.goes_on, "{to}: {outcome:?}");
        Ok(outcome.instructions)
    };
    let end = instructions(r#"{"methods": ["GET"], "paths": ["*/a"]}"#)?;
    for paths in ["/a", "/*"] {
        let beginning = instructions(&format!(r#"{{"methods": ["GET"], "paths": ["{paths}"]}}"#))?;
        ensure!(beginning * 10 < end * 7, "{beginning} instructions for {paths}, {end} for */a");
    }
    Ok(())
}

/// A rule for each of so many callers: a path of its own.
fn a_path_for_each(callers: u64) -> String {
    let rule = |number: u64| {
        format!(
            r#"{{"from": [{{"source": {{"principals": ["cluster.local/ns/shop/sa/caller-{number}"]}}}}],
                "to": [{{"operation": {{"methods": ["GET"], "paths": ["/{number}"]}}}}]}}"#
        )
    };
    let rules: Vec<_> = (0..callers).map(rule).collect();
    policy_of(&format!(r#"{{"rules": [{}]}}"#, rules.join(", ")))
}

#[test]
fn callers_that_take_turns_cost_few_crossings_and_get_what_is_theirs() -> Result<()> {
    let module = module()?;
    // As many as are told apart by marks, and more.
    for callers in [1, 2, 15, 40] {
        let (mut vm, root) = Vm::configured(&module, &a_path_for_each(callers))?;
        // Each has two connections; one more caller may do nothing.
        let by = |number: u64, connection: u64| {
            Connection::mtls(number * 2 + connection, &format!("spiffe://cluster.local/ns/shop/sa/caller-{number}"))
        };
        for connection in [0, 1] {
            for number in 0..=callers {
                vm.request(root, by(number, connection), get("/"))?;
            }
        }
        let mut turn = 1_u64;
        let (mut latest, mut in_a_row) = (callers + 1, 0);
        for step in 0..3_000_u64 {
            turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Some ask several times in a row, others by turns.
            let (number, of) = match step % 4 {
                0 => ((turn >> 33) % (callers + 1), (turn >> 40) % (callers + 1)),
                _ => (step / 7 % (callers + 1), step / 5 % (callers + 1)),
            };
            let outcome = vm.request(root, by(number, turn >> 50 & 1), get(&format!("/{of}")))?;
            let expected = number == of && number < callers;
            ensure!(outcome.goes_on == expected, "{number} of {callers} at /{of}: {outcome:?}");
            in_a_row = if number == latest { in_a_row + 1 } else { 1 };
            latest = number;
            // The first in a row may be asked for the mark of those before.
            let most = if in_a_row == 1 { 3 } else { 2 };
            ensure!(!expected || outcome.crossings.len() <= most, "{number} of {callers}: {:?}", outcome.crossings);
            let by_mark = outcome.crossings.iter().any(|crossing| unnumbered(crossing) == "proxy_get_property +");
            ensure!(!expected || callers > 15 || in_a_row < 3 || by_mark, "{number}: {:?}", outcome.crossings);
        }
    }
    Ok(())
}

#[test]
fn one_connections_identity_is_never_anothers() -> Result<()> {
    let (mut vm, root) = Vm::configured(&module()?, &configuration("", false))?;
    let is_web = |id: u64| id.is_multiple_of(3);
    let uri = |id| if is_web(id) { WEB.to_owned() } else { format!("spiffe://cluster.local/ns/shop/sa/other-{id}") };
    // More connections than the table holds, each seen several times, near and far.
    let mut turn = 1_u64;
    for step in 0..60_000_u64 {
        turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let id = match step % 3 {
            0 => step / 3,
            1 => step / 6,
            _ => (turn >> 33) % 20_000,
        };
        let outcome = vm.request(root, Connection::mtls(id, &uri(id)), get("/"))?;
        ensure!(outcome.goes_on == is_web(id), "connection {id} at step {step}: {outcome:?}");
    }
    Ok(())
}

#[test]
fn what_was_decided_of_one_connection_is_never_taken_for_another() -> Result<()> {
    let module = module()?;
    let not_admin = r#"{"notPaths": ["/admin"]}"#;
    // What a policy asks for beside the principal, and whether it then decides every request anew.
    for (to, by_request) in [("", false), (not_admin, true)] {
        let (mut vm, root) = Vm::configured(&module, &configuration(to, false))?;
        for id in 0..10_000_u64 {
            let web = id % 2 == 0;
            let by = || Connection::mtls(id, if web { WEB } else { "spiffe://cluster.local/ns/shop/sa/other" });
            for path in ["/", "/admin", "/"] {
                let expected = web && !(by_request && path == "/admin");
                let outcome = vm.request(root, by(), get(path))?;
                ensure!(outcome.goes_on == expected, "{to} connection {id}, {path}: {outcome:?}");
            }
        }
        vm.tick(root)?;
        let counted = |name: &str| vm.counters().get(&format!("sallyport.identity_authz.{name}")).copied();
        let allowed = if by_request { 10_000 } else { 15_000 };
        ensure!(counted("allowed") == Some(allowed), "{to}: {:?}", counted("allowed"));
        ensure!(counted("denied") == Some(30_000 - allowed), "{to}: {:?}", counted("denied"));
    }
    Ok(())
}

#[test]
fn only_what_a_connection_fixes_is_decided_once() -> Result<()> {
    let module = module()?;
    let policy = |name: &str, spec: &str| {
        format!(
            r#"{{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
                "metadata": {{"name": "{name}", "namespace": "shop"{}}}, "spec": {spec}}}"#,
            if name == "dry" { r#", "annotations": {"istio.io/dry-run": "true"}"# } else { "" }
        )
    };
    let web = r#"{"rules": [{"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/web"]}}]}]}"#;
    // A rule beside the one for web, and whether a second request is decided without asking for more than the connection.
    let header =
        r#"{"action": "DENY", "rules": [{"when": [{"key": "request.headers[x-role]", "values": ["guest"]}]}]}"#;
    let others = r#"{"action": "DENY", "rules": [{"from": [{"source": {"namespaces": ["dev"]}}]}]}"#;
    let port = r#"{"action": "DENY", "rules": [{"to": [{"operation": {"ports": ["1"]}}]}]}"#;
    let audit = r#"{"action": "AUDIT", "rules": [{"from": [{"source": {"namespaces": ["shop"]}}]}]}"#;
    let report = r#"{"action": "DENY", "rules": [{"from": [{"source": {"namespaces": ["shop"]}}]}]}"#;
    let rows = [
        (policy("deny", others), true, None),
        (policy("deny", header), false, None),
        (policy("deny", port), false, None),
        (policy("audit", audit), false, Some("policy.shop.audit.audited")),
        (policy("dry", report), false, Some("would_deny")),
    ];
    for (beside, once, counter) in rows {
        let resources = format!(r#"{{"resources": [{}, {beside}]}}"#, policy("allow-web", web));
        let (mut vm, root) = Vm::configured(&module, &resources)?;
        for _ in 0..2 {
            ensure!(vm.request(root, Connection::mtls(1, WEB), get("/"))?.goes_on, "{beside}");
        }
        let guest = vm.request(root, Connection::mtls(1, WEB), get("/").with("x-role", b"guest"))?;
        ensure!(guest.goes_on != beside.contains("x-role"), "{beside}: {guest:?}");
        let asked = guest.crossings.iter().all(|crossing| unnumbered(crossing) == "proxy_get_property +");
        ensure!(once == asked || counter.is_some(), "{beside}: {:?}", guest.crossings);
        vm.tick(root)?;
        if let Some(counter) = counter {
            let counted = vm.counters().get(&format!("sallyport.identity_authz.{counter}")).copied();
            ensure!(counted == Some(3), "{beside}: {counted:?}");
        }
    }
    Ok(())
}

#[test]
fn a_request_takes_few_instructions() -> Result<()> {
    let module = filter::load_metered("identity-authz")?;
    for (to, most) in [("", 400), (r#"{"methods": ["GET"], "paths": ["/a"]}"#, 4_500)] {
        let (mut vm, root) = Vm::configured(&module, &configuration(to, false))?;
        vm.request(root, Connection::mtls(7, WEB), get("/a"))?;
        let outcome = vm.request(root, Connection::mtls(7, WEB), get("/a"))?;
        println!("{} instructions for {to}", outcome.instructions);
        ensure!(outcome.instructions <= most, "{} instructions for {to}", outcome.instructions);
    }
    Ok(())
}

#[test]
fn a_connection_that_one_configuration_lets_in_is_not_let_in_by_another() -> Result<()> {
    let module = module()?;
    let of = |caller: &str| configuration("", false).replace("shop/sa/web", caller);
    let (mut vm, web) = Vm::configured(&module, &of("shop/sa/web"))?;
    // At a time that stands still the marks differ all the same.
    vm.stop_clock(Duration::from_secs(1));
    let other = vm.configure(of("shop/sa/other").as_bytes())??;
    let again = vm.configure(of("shop/sa/another").as_bytes())??;
    for _ in 0..3 {
        for (root, goes_on) in [(web, true), (other, false), (again, false)] {
            ensure!(vm.request(root, Connection::mtls(1, WEB), get("/"))?.goes_on == goes_on, "{root:?}");
        }
    }
    Ok(())
}

#[test]
fn a_proxy_that_says_yes_to_every_mark_is_not_believed() -> Result<()> {
    let module = module()?;
    for to in ["", r#"{"methods": ["GET"]}"#] {
        let (mut vm, root) = Vm::configured(&module, &configuration(to, false))?;
        vm.fail(Some(Fault { of: "proxy_get_property +".to_owned(), status: 0 }));
        for id in 1..=6 {
            let (by, expected) = match id % 3 {
                0 => ("spiffe://cluster.local/ns/shop/sa/stranger", Some(403)),
                _ => (WEB, None),
            };
            let outcome = vm.request(root, Connection::mtls(id, by), get("/a"))?;
            ensure!(status(&outcome) == expected, "{to} {by}: {outcome:?}");
        }
    }
    Ok(())
}

#[test]
fn a_connection_keeps_few_marks_however_often_the_configuration_changes() -> Result<()> {
    let module = module()?;
    let (mut vm, mut root) = Vm::configured(&module, &configuration("", false))?;
    let mut marked = 0;
    for _ in 0..40 {
        ensure!(vm.request(root, Connection::mtls(1, WEB), get("/"))?.goes_on);
        let again = vm.request(root, Connection::mtls(1, WEB), get("/"))?;
        ensure!(again.goes_on && again.crossings.len() <= 2, "{:?}", again.crossings);
        marked += u32::from(again.crossings.len() == 1);
        root = vm.update(root, configuration("", false).as_bytes())??;
    }
    ensure!(marked == 16, "{marked} marks");
    ensure!(!vm.request(root, Connection::mtls(2, "spiffe://a/b"), get("/"))?.goes_on);
    Ok(())
}

#[test]
fn a_connection_with_the_id_of_another_is_not_taken_for_it() -> Result<()> {
    let module = module()?;
    // Decided by the connection alone, and by the request.
    for to in ["", r#"{"paths": ["/"]}"#] {
        let (mut vm, root) = Vm::configured(&module, &configuration(to, false))?;
        for _ in 0..3 {
            ensure!(vm.request(root, Connection::mtls(1, WEB), get("/"))?.goes_on, "{to}");
            let other = vm.request(root, Connection::mtls(1, "spiffe://cluster.local/ns/shop/sa/other"), get("/"))?;
            ensure!(status(&other) == Some(403), "{to}: {other:?}");
        }
    }
    Ok(())
}

#[test]
fn requests_that_never_reach_the_filter_leave_no_memory_behind() -> Result<()> {
    let (mut vm, root) = Vm::configured(&module()?, &configuration("", false))?;
    vm.request(root, Connection::mtls(1, WEB), get("/"))?;
    let before = vm.memory();
    for _ in 0..200_000 {
        vm.unseen_request(root, Connection::mtls(1, WEB))?;
    }
    ensure!(vm.request(root, Connection::mtls(1, WEB), get("/"))?.goes_on);
    ensure!(vm.memory() == before, "{before} bytes before, {} after", vm.memory());
    Ok(())
}

#[test]
fn several_configurations_in_one_vm_keep_to_themselves() -> Result<()> {
    let module = module()?;
    let (mut vm, first) = Vm::configured(&module, &configuration("", false))?;
    let second = vm.configure(configuration(r#"{"paths": ["/only"]}"#, false).as_bytes())??;
    ensure!(vm.configure(b"{}")?.is_err(), "a bad configuration is refused");
    for _ in 0..2 {
        ensure!(vm.request(first, Connection::mtls(1, WEB), get("/x"))?.goes_on);
        ensure!(status(&vm.request(second, Connection::mtls(1, WEB), get("/x"))?) == Some(403));
        ensure!(vm.request(second, Connection::mtls(1, WEB), get("/only"))?.goes_on);
    }
    vm.delete(second)?;
    vm.tick(first)?;
    ensure!(vm.request(first, Connection::mtls(1, WEB), get("/x"))?.goes_on);
    let orphan = vm.request(second, Connection::mtls(1, WEB), get("/only"))?;
    ensure!(status(&orphan) == Some(503), "a stream of a plugin that is gone: {orphan:?}");
    Ok(())
}

#[test]
fn counters_are_flushed_by_the_timer_and_at_the_end() -> Result<()> {
    let (mut vm, root) = Vm::configured(&module()?, &configuration("", true))?;
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
    ensure!(allowed(&vm).is_none(), "a request is not worth a crossing for a counter");
    vm.tick(root)?;
    ensure!(allowed(&vm) == Some(1));
    vm.request(root, Connection::mtls(1, WEB), get("/"))?;
    let next = vm.configure(configuration("", true).as_bytes())??;
    vm.delete(root)?;
    vm.tick(next)?;
    ensure!(allowed(&vm) == Some(2), "what was counted before an update is not lost");
    vm.request(next, Connection::mtls(1, WEB), get("/"))?;
    vm.tick(next)?;
    ensure!(allowed(&vm) == Some(3), "{:?}", allowed(&vm));
    Ok(())
}

#[test]
fn connections_are_counted_once_by_what_they_prove() -> Result<()> {
    let (mut vm, root) = Vm::configured(&module()?, &configuration("", false))?;
    let forged = |id| Connection { validated: Some(false), ..Connection::mtls(id, WEB) };
    for _ in 0..3 {
        for by in [
            Connection::mtls(1, WEB),
            Connection::mtls(2, WEB),
            Connection::without_certificate(3),
            forged(4),
            Connection::mtls(5, "spiffe://A/b"),
        ] {
            vm.request(root, by, get("/"))?;
        }
    }
    vm.tick(root)?;
    let counters = vm.counters();
    let of = |name: &str| counters.get(&format!("sallyport.identity_authz.connection.{name}")).copied();
    ensure!((of("mtls"), of("plaintext")) == (Some(3), Some(2)), "{counters:?}");
    Ok(())
}

#[test]
fn denials_are_logged_ten_a_second() -> Result<()> {
    let (mut vm, root) = Vm::configured(&module()?, &configuration("", false))?;
    let denials =
        |vm: &Vm| vm.log().iter().filter(|line| line.message.starts_with("sallyport identity_authz: deny: ")).count();
    for _ in 0..25 {
        vm.request(root, Connection::mtls(1, "spiffe://a/b"), get("/"))?;
    }
    ensure!(denials(&vm) == 10, "{} lines", denials(&vm));
    vm.tick(root)?;
    let last = vm.log().last().context("no log")?;
    ensure!(last.message == "sallyport identity_authz: 15 more denials in the last second, not logged", "{last:?}");
    vm.request(root, Connection::mtls(1, "spiffe://a/b"), get("/"))?;
    ensure!(denials(&vm) == 11, "{} lines", denials(&vm));
    Ok(())
}

#[test]
fn what_was_loaded_is_logged() -> Result<()> {
    let (vm, _) = Vm::configured(&module()?, &configuration("", true))?;
    let line = vm.log().first().context("no log")?;
    ensure!(
        line.message == "sallyport identity_authz: loaded 2 resources, 2 apply here, 2 enforced, 0 only reported",
        "{line:?}"
    );
    ensure!(line.level == 2, "{line:?}");
    Ok(())
}

#[test]
fn neither_requests_nor_updates_leave_memory_behind() -> Result<()> {
    let module = module()?;
    let (mut vm, mut root) = Vm::configured(&module, &configuration("", true))?;
    let mut after_warm_up = None;
    for update in 0..300_u64 {
        root = vm.update(root, configuration("", true).as_bytes())??;
        for id in 0..50 {
            let uri = if id % 2 == 0 { WEB } else { "spiffe://a/b" };
            vm.request(root, Connection::mtls(update * 50 + id, uri), get("/"))?;
        }
        if update == 30 {
            after_warm_up = Some(vm.memory());
        }
    }
    let Some(before) = after_warm_up else { bail!("no measure") };
    ensure!(vm.memory() == before, "{before} bytes after 30 updates, {} after 300", vm.memory());
    Ok(())
}

/// One policy that decides alone.
fn policy_of(spec: &str) -> String {
    format!(
        r#"{{"defaultAction": "ALLOW", "resources": [{{"apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy", "metadata": {{"name": "p", "namespace": "shop"}}, "spec": {spec}}}]}}"#
    )
}

#[test]
fn without_the_direct_address_whatever_asks_for_it_is_denied() -> Result<()> {
    let module = module()?;
    for spec in [
        r#"{"rules": [{"from": [{"source": {"notIpBlocks": ["10.0.0.0/8"]}}]}]}"#,
        r#"{"action": "DENY", "rules": [{"when": [{"key": "source.ip", "values": ["10.0.0.0/8"]}]}]}"#,
    ] {
        let (mut vm, root) = Vm::configured(&module, &policy_of(spec))?;
        let mut told = Connection::mtls(1, WEB);
        told.filter_state.insert("sallyport.direct_remote_address".to_owned(), b"192.0.2.9".to_vec());
        ensure!(vm.request(root, told.clone(), get("/"))?.goes_on, "{spec}: it is denied with the address");
        let outcome = vm.request(root, Connection::mtls(2, WEB), get("/"))?;
        ensure!(status(&outcome) == Some(403), "{spec}: it is let in without the address");
        let reason = outcome.filter_state.get("wasm.sallyport.identity_authz.reason").cloned().unwrap_or_default();
        let expected = "the proxy did not tell filter_state.sallyport.direct_remote_address: it is not set: ";
        ensure!(reason.starts_with(expected), "{reason}");
        told.filter_state.insert("sallyport.direct_remote_address".to_owned(), b"nonsense".to_vec());
        ensure!(!vm.request(root, told, get("/"))?.goes_on, "{spec}: nonsense is taken for an address");
    }
    Ok(())
}

#[test]
fn metadata_that_cannot_be_read_denies_what_asks_for_it() -> Result<()> {
    let module = module()?;
    let spec = r#"{"action": "DENY", "rules": [{"from": [{"source": {"requestPrincipals": ["*/ann"]}}]}]}"#;
    let (mut vm, root) = Vm::configured(&module, &policy_of(spec))?;
    ensure!(vm.request(root, Connection::mtls(1, WEB), get("/"))?.goes_on, "no metadata is no token");
    let broken = Connection { metadata: vec![0x0a, 0xff], ..Connection::mtls(1, WEB) };
    ensure!(!vm.request(root, broken, get("/"))?.goes_on, "malformed metadata is let through");
    Ok(())
}

#[test]
fn a_time_of_the_week_is_looked_up_in_utc() -> Result<()> {
    // 2026-11-23 is a Monday.
    const MONDAY: u64 = 1_795_392_000;
    let module = module()?;
    let spec = r#"{"rules": [{"when": [{"key": "request.time", "values": ["Mon-Fri 09:00-17:00"]}]}]}"#;
    let (mut vm, root) = Vm::configured(&module, &policy_of(spec))?;
    for (hours, minutes, expected) in
        [(8, 59, false), (9, 0, true), (16, 59, true), (17, 0, false), (5 * 24 + 12, 0, false)]
    {
        vm.stop_clock(Duration::from_secs(MONDAY + (hours * 60 + minutes) * 60));
        let goes_on = vm.request(root, Connection::mtls(1, WEB), get("/"))?.goes_on;
        ensure!(goes_on == expected, "{hours}:{minutes:02} after Monday began: {goes_on}");
    }
    vm.fail(Some(Fault { of: "proxy_get_current_time_nanoseconds".to_owned(), status: 10 }));
    vm.stop_clock(Duration::from_secs(MONDAY + 12 * 3600));
    ensure!(!vm.request(root, Connection::mtls(1, WEB), get("/"))?.goes_on, "without a clock it is let through");
    Ok(())
}
