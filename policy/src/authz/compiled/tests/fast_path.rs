//! The fast path allows what full evaluation would allow, and is taken where it is meant to be.

use fastrand::Rng;

use super::definition::{by_connection, linear};
use super::random::*;
use super::*;
use crate::test_support::random::pick;

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

/// Policies by their specs.
fn policies(specs: &[&str]) -> CompiledPolicy {
    let read = |(number, spec): (usize, &&str)| read(&format!("p{number}"), spec);
    compile(&specs.iter().enumerate().map(read).collect::<Vec<_>>())
}

/// Reports whether the fast path allows a request.
fn is_fast(policy: &CompiledPolicy, request: &mut FakeRequest) -> bool {
    let matches = policy.precompute_connection(request).expect("nothing fails");
    matches.fast_path(&policy.rules).admits(request)
}

/// An ALLOW policy of rules for the callers of the namespace `shop`, each with what it wants of the operation.
fn from_the_shop(operations: &[&str]) -> String {
    let rule = |operation: &&str| {
        format!("{{from: [{{source: {{namespaces: [shop]}}}}], to: [{{operation: {{{operation}}}}}]}}")
    };
    let rules: Vec<_> = operations.iter().map(rule).collect();
    format!("{{rules: [{}]}}", rules.join(", "))
}

#[test]
fn exact_methods_hosts_and_paths_take_the_fast_path() {
    let policy = policies(&[&from_the_shop(&[
        "methods: [GET, HEAD], paths: [/a, /b/c]",
        "methods: [POST], hosts: [orders], paths: [/a]",
        "hosts: [health]",
        r#"methods: ["P*"], hosts: ["pay*"], paths: ["/api/*", /x]"#,
    ])]);
    let asked = |method: &str, host: &str, path: &str| {
        let host = Some(host.as_bytes().to_vec());
        FakeRequest { host, ..FakeRequest::new(WEB).with_method(method).with_path(path) }
    };
    let rows = [
        (asked("GET", "x", "/a"), true),
        (asked("HEAD", "x", "/b/c"), true),
        (asked("GET", "x", "/a?b"), true),
        (asked("GET", "x", "/a#b"), true),
        (asked("GET", "x", "/a?"), true),
        (asked("GET", "x", "/b/c?/a"), true),
        (asked("GET", "x", "/ab"), false),
        (asked("GET", "x", "/a/"), false),
        (asked("GET", "x", "/b"), false),
        (asked("GET", "x", "/"), false),
        (asked("GET", "x", ""), false),
        (asked("GET", "x", "?/a"), false),
        (asked("get", "x", "/a"), false),
        (asked("GETS", "x", "/a"), false),
        (asked("POST", "x", "/a"), false),
        (asked("POST", "orders", "/a"), true),
        (asked("POST", "orders", "/b/c"), false),
        (asked("POST", "orders?", "/a"), false),
        (asked("PUT", "orders", "/a"), false),
        (asked("POST", "ORDERS", "/a"), true),
        (asked("PUT", "health", "/x"), true),
        (asked("PUT", "pay", "/api/"), true),
        (asked("PATCH", "pay.shop", "/api/orders?x/../y"), true),
        (asked("P", "payments", "/x"), true),
        (asked("POST", "pay", "/x/"), false),
        (asked("POST", "pay", "/api"), false),
        (asked("POST", "pay", "/api?/"), false),
        (asked("POST", "pay", "/apix/"), false),
        (asked("POST", "pa", "/api/"), false),
        (asked("GET", "pay", "/api/"), false),
        (FakeRequest { method: None, ..asked("GET", "x", "/a") }, false),
        (FakeRequest { path: None, ..asked("GET", "x", "/a") }, false),
        (FakeRequest { host: None, ..asked("POST", "orders", "/a") }, false),
        (FakeRequest { method: None, ..asked("GET", "health", "/a") }, true),
        (
            FakeRequest {
                peer: FakeRequest::new("spiffe://cluster.local/ns/dev/sa/web").peer,
                ..asked("GET", "x", "/a")
            },
            false,
        ),
        (FakeRequest { peer: FakeRequest::new("").peer, ..asked("GET", "health", "/a") }, false),
    ];
    for (mut request, expected) in rows {
        assert_eq!(is_fast(&policy, &mut request), expected, "{request:?}");
        let decision = policy.decide(&mut request);
        assert_eq!(decision == Decision::Allow, expected, "{request:?}");
    }
    for host in ["orders", "health"] {
        for failing in ["method", "host", "path"] {
            let mut request = FakeRequest { failing: vec![failing], ..asked("POST", host, "/a") };
            assert_eq!(is_fast(&policy, &mut request), (host, failing) == ("health", "path"), "{host}, {failing}");
        }
    }
}

/// Builds `count` rules that a caller can match, in leaves of four by their source.
fn of_callers(count: usize) -> Vec<String> {
    let principals =
        ["cluster.local/ns/shop/sa/web", "cluster.local/ns/shop/*", "cluster.local/*", "other/x", "other/y"];
    let rule = |number: usize| {
        let principal = principals[number / 4];
        let operation = format!(r#"{{methods: [GET, "M{number}"]}}"#);
        format!(r#"{{from: [{{source: {{principals: ["{principal}"]}}}}], to: [{{operation: {operation}}}]}}"#)
    };
    let rules: Vec<_> = (0..count).chain(12..20).map(rule).collect();
    vec![format!("{{rules: [{}]}}", rules.join(", "))]
}

#[test]
fn no_fast_path_where_rules_need_more() {
    let get = from_the_shop(&["methods: [GET]"]);
    let deny = |rule: &str| format!("{{action: DENY, rules: [{rule}]}}");
    let many = |count: usize, form: fn(usize) -> String| (0..count).map(form).collect::<Vec<_>>();
    let listed = |count| format!("paths: [{}]", many(count, |n| format!("\"/p{n}\"")).join(", "));
    let prefixes = |count| {
        let paths = many(count, |n| format!("\"/p{n}/*\"")).join(", ");
        let from = "[{source: {namespaces: [dev]}}]";
        format!("{{rules: [{{from: {from}, to: [{{operation: {{paths: [{paths}]}}}}]}}]}}")
    };
    let hosts = many(9, |n| format!(r#"hosts: [orders, "h{n}"]"#));
    let hosts: Vec<_> = hosts.iter().map(String::as_str).collect();
    let rows = [
        (vec![get.clone()], true),
        (vec![get.clone(), deny("{from: [{source: {namespaces: [dev]}}]}")], true),
        (vec![get.clone(), deny("{from: [{source: {notNamespaces: [shop]}}]}")], true),
        (vec![get.clone(), deny("{to: [{operation: {paths: [/never]}}]}")], false),
        (
            vec![get.clone(), deny("{from: [{source: {namespaces: [shop]}}], to: [{operation: {methods: [PUT]}}]}")],
            false,
        ),
        (vec![get.clone(), from_the_shop(&[r#"methods: [PUT], ports: ["1"]"#])], false),
        (vec![from_the_shop(&["notMethods: [PUT]"])], false),
        (vec![from_the_shop(&["methods: [GET], notPaths: [/never]"])], false),
        (vec![from_the_shop(&[r#"methods: ["G*"]"#])], true),
        (vec![from_the_shop(&[r#"methods: ["*T"]"#])], false),
        (vec![from_the_shop(&[r#"methods: ["*"]"#])], false),
        (vec![from_the_shop(&[r#"paths: [/api, "/*"]"#])], true),
        (vec![from_the_shop(&[r#"paths: ["/*"]"#]), prefixes(63)], true),
        (vec![from_the_shop(&[r#"paths: ["/*"]"#]), prefixes(64)], false),
        (vec![from_the_shop(&[r#"paths: [/, "/{*}/a"]"#])], false),
        (vec![from_the_shop(&[r#"paths: [/, "*"]"#])], false),
        (vec![from_the_shop(&[&format!("{}, {}", listed(3), "methods: [GET]")]), get.clone()], true),
        (vec![from_the_shop(&[&listed(5)]), get.clone()], false),
        (vec![from_the_shop(&hosts[..4])], true),
        (vec![from_the_shop(&hosts)], false),
        (of_callers(8), true),
        (of_callers(9), false),
    ];
    for (specs, expected) in rows {
        let specs: Vec<_> = specs.iter().map(String::as_str).collect();
        let policy = policies(&specs);
        assert_eq!(is_fast(&policy, &mut FakeRequest::new(WEB)), expected, "{specs:?}");
        assert_eq!(policy.decide(&mut FakeRequest::new(WEB)), Decision::Allow, "{specs:?}");
    }
}

#[test]
fn no_fast_path_past_a_denial_in_report_mode() {
    let deny = "{action: DENY, rules: [{to: [{operation: {methods: [GET]}}]}]}";
    let dry_run = AuthorizationPolicy { mode: EnforcementMode::Report, ..read("deny", deny) };
    let policy = compile(&[read("allow", &from_the_shop(&["methods: [GET]"])), dry_run]);
    let mut request = FakeRequest::new(WEB);
    let matches = policy.precompute_connection(&mut request).expect("nothing fails");
    let decision = policy.evaluate(Some(&matches), &mut request).decision;
    assert!(matches!(decision, Decision::WouldDeny(Denial::Matched(_))), "{decision:?}");
}

/// Rules of which many are simple, so that many requests take the fast path.
fn simple_policy(rng: &mut Rng, number: usize) -> AuthorizationPolicy {
    let action = pick(rng, &["ALLOW", "ALLOW", "ALLOW", "DENY"]);
    let rules: Vec<_> = (0..=rng.usize(..2))
        .map(|_| {
            let mut source = Vec::new();
            for (key, values, odds) in
                [("principals", &PRINCIPALS[..], 2), ("notNamespaces", &NAMESPACES, 2), ("ipBlocks", &ADDRESSES, 8)]
            {
                if rng.usize(..odds) == 0 {
                    source.push(format!("{key}: {}", list(rng, values)));
                }
            }
            let mut operation = Vec::new();
            for (key, values, odds) in [
                ("methods", &["GET", "POST", "P*"][..], 2),
                ("notMethods", &["GET"], 6),
                ("hosts", &["orders", "orders.shop"], 2),
                ("paths", &["/", "/api/orders", "/health", "/api/*"], 2),
            ] {
                if rng.usize(..odds) == 0 {
                    operation.push(format!("{key}: {}", list(rng, values)));
                }
            }
            let mut parts = Vec::new();
            if !source.is_empty() {
                parts.push(format!("from: [{{source: {{{}}}}}]", source.join(", ")));
            }
            if !operation.is_empty() {
                parts.push(format!("to: [{{operation: {{{}}}}}]", operation.join(", ")));
            }
            if rng.usize(..4) == 0 {
                let values = list(rng, &SERVER_NAMES);
                parts.push(format!("when: [{{key: connection.sni, values: {values}}}]"));
            }
            format!("{{{}}}", parts.join(", "))
        })
        .collect();
    read(&format!("p{number}"), &format!(r#"{{action: "{action}", rules: [{}]}}"#, rules.join(", ")))
}

#[test]
fn the_fast_path_agrees_with_linear_reading_and_with_full_evaluation() {
    let mut rng = Rng::with_seed(0xfee1_600d);
    let (mut fast, mut full_only, mut undecidable) = (0, 0, 0);
    for _ in 0..600 {
        let most = [1, 3, 8][rng.usize(..3)];
        let policies: Vec<_> = (0..=rng.usize(..most)).map(|number| simple_policy(&mut rng, number)).collect();
        let policy = compile(&policies);
        for _ in 0..40 {
            let mut request = random_request(&mut rng);
            let expected = linear(&policies, &mut request);
            assert_eq!(by_connection(&policy, &mut request), expected, "{request:?}");
            match is_fast(&policy, &mut request) {
                true => fast += 1,
                false if expected == "allowed" => full_only += 1,
                false => {}
            }
            let matches = policy.precompute_connection(&mut request).expect("nothing fails");
            let failing = pick(&mut rng, &["source", "method", "host", "path"]);
            let mut request = FakeRequest { failing: vec![failing], read: Vec::new(), ..request };
            let mut cached = request.clone();
            let decided = policy.evaluate(Some(&matches), &mut cached).decision;
            undecidable += usize::from(matches!(decided, Decision::Deny(Denial::Undecidable(_))));
            let full = policy.decide(&mut request);
            // The rule that the fast path allows by may not test the attribute that full evaluation stops at.
            let is_untested = decided == Decision::Allow && !cached.read.contains(&failing) && expected == "allowed";
            assert!(decided == full || is_untested, "{decided:?}, by full evaluation {full:?}: {request:?}");
        }
    }
    let met = [fast, full_only, undecidable];
    assert!(met.iter().all(|met| *met > 500), "the fast path, full evaluation alone, undecidable: {met:?}");
}
