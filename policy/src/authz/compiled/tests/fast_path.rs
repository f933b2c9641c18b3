//! The short way in lets in whom the long way would, and is taken where it is meant to be.

use super::*;

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

/// Policies by their specs.
fn policies(specs: &[&str]) -> CompiledPolicy {
    let read = |(number, spec): (usize, &&str)| read(&format!("p{number}"), spec);
    compile(&specs.iter().enumerate().map(read).collect::<Vec<_>>())
}

/// Whether a request takes the short way.
fn let_in(policy: &CompiledPolicy, request: &mut Asked) -> bool {
    let matches = policy.precompute_connection(request).expect("nothing fails");
    matches.fast_path(&policy.rules).admits(request)
}

/// An ALLOW policy of rules for the callers of the namespace `shop`, each with what it wants of the operation.
fn from_the_shop(operations: &[&str]) -> String {
    let rule = |operation: &&str| {
        format!(r#"{{"from": [{{"source": {{"namespaces": ["shop"]}}}}], "to": [{{"operation": {{{operation}}}}}]}}"#)
    };
    let rules: Vec<_> = operations.iter().map(rule).collect();
    format!(r#"{{"rules": [{}]}}"#, rules.join(", "))
}

#[test]
fn exact_methods_hosts_and_paths_are_a_way_in() {
    let policy = policies(&[&from_the_shop(&[
        r#""methods": ["GET", "HEAD"], "paths": ["/a", "/b/c"]"#,
        r#""methods": ["POST"], "hosts": ["orders"], "paths": ["/a"]"#,
        r#""hosts": ["health"]"#,
        r#""methods": ["P*"], "hosts": ["pay*"], "paths": ["/api/*", "/x"]"#,
    ])]);
    let asked = |method: &str, host: &str, path: &str| {
        let host = Some(host.as_bytes().to_vec());
        Asked { host, ..Asked::by(WEB).method(method).path(path) }
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
        (Asked { method: None, ..asked("GET", "x", "/a") }, false),
        (Asked { path: None, ..asked("GET", "x", "/a") }, false),
        (Asked { host: None, ..asked("POST", "orders", "/a") }, false),
        (Asked { method: None, ..asked("GET", "health", "/a") }, true),
        (Asked { peer: Asked::by("spiffe://cluster.local/ns/dev/sa/web").peer, ..asked("GET", "x", "/a") }, false),
        (Asked { peer: Asked::by("").peer, ..asked("GET", "health", "/a") }, false),
    ];
    for (mut request, expected) in rows {
        assert_eq!(let_in(&policy, &mut request), expected, "{request:?}");
        let decision = policy.decide(&mut request);
        assert_eq!(decision == Decision::Allow, expected, "{request:?}");
    }
    for host in ["orders", "health"] {
        for failing in ["method", "host", "path"] {
            let mut request = Asked { failing: Some(failing), ..asked("POST", host, "/a") };
            assert_eq!(let_in(&policy, &mut request), (host, failing) == ("health", "path"), "{host}, {failing}");
        }
    }
}

/// So many rules that a caller can match, in leaves of four by what they want of the caller.
fn of_callers(count: usize) -> Vec<String> {
    let principals =
        ["cluster.local/ns/shop/sa/web", "cluster.local/ns/shop/*", "cluster.local/*", "other/x", "other/y"];
    let rule = |number: usize| {
        let principal = principals[number / 4];
        let operation = format!(r#"{{"methods": ["GET", "M{number}"]}}"#);
        format!(
            r#"{{"from": [{{"source": {{"principals": ["{principal}"]}}}}], "to": [{{"operation": {operation}}}]}}"#
        )
    };
    let rules: Vec<_> = (0..count).chain(12..20).map(rule).collect();
    vec![format!(r#"{{"rules": [{}]}}"#, rules.join(", "))]
}

#[test]
fn there_is_none_where_more_is_asked_for() {
    let get = from_the_shop(&[r#""methods": ["GET"]"#]);
    let deny = |rule: &str| format!(r#"{{"action": "DENY", "rules": [{rule}]}}"#);
    let many = |count: usize, form: fn(usize) -> String| (0..count).map(form).collect::<Vec<_>>();
    let listed = |count| format!(r#""paths": [{}]"#, many(count, |n| format!("\"/p{n}\"")).join(", "));
    let prefixes = |count| {
        let paths = many(count, |n| format!("\"/p{n}/*\"")).join(", ");
        let from = r#"[{"source": {"namespaces": ["dev"]}}]"#;
        format!(r#"{{"rules": [{{"from": {from}, "to": [{{"operation": {{"paths": [{paths}]}}}}]}}]}}"#)
    };
    let hosts = many(9, |n| format!(r#""hosts": ["orders", "h{n}"]"#));
    let hosts: Vec<_> = hosts.iter().map(String::as_str).collect();
    let rows = [
        (vec![get.clone()], true),
        (vec![get.clone(), deny(r#"{"from": [{"source": {"namespaces": ["dev"]}}]}"#)], true),
        (vec![get.clone(), deny(r#"{"from": [{"source": {"notNamespaces": ["shop"]}}]}"#)], true),
        (vec![get.clone(), deny(r#"{"to": [{"operation": {"paths": ["/never"]}}]}"#)], false),
        (
            vec![
                get.clone(),
                deny(
                    r#"{"from": [{"source": {"namespaces": ["shop"]}}], "to": [{"operation": {"methods": ["PUT"]}}]}"#,
                ),
            ],
            false,
        ),
        (vec![get.clone(), from_the_shop(&[r#""methods": ["PUT"], "ports": ["1"]"#])], false),
        (vec![from_the_shop(&[r#""notMethods": ["PUT"]"#])], false),
        (vec![from_the_shop(&[r#""methods": ["GET"], "notPaths": ["/never"]"#])], false),
        (vec![from_the_shop(&[r#""methods": ["G*"]"#])], true),
        (vec![from_the_shop(&[r#""methods": ["*T"]"#])], false),
        (vec![from_the_shop(&[r#""methods": ["*"]"#])], false),
        (vec![from_the_shop(&[r#""paths": ["/api", "/*"]"#])], true),
        (vec![from_the_shop(&[r#""paths": ["/*"]"#]), prefixes(63)], true),
        (vec![from_the_shop(&[r#""paths": ["/*"]"#]), prefixes(64)], false),
        (vec![from_the_shop(&[r#""paths": ["/", "/{*}/a"]"#])], false),
        (vec![from_the_shop(&[r#""paths": ["/", "*"]"#])], false),
        (vec![from_the_shop(&[&format!("{}, {}", listed(3), r#""methods": ["GET"]"#)]), get.clone()], true),
        (vec![from_the_shop(&[&listed(5)]), get.clone()], false),
        (vec![from_the_shop(&hosts[..4])], true),
        (vec![from_the_shop(&hosts)], false),
        (of_callers(8), true),
        (of_callers(9), false),
    ];
    for (specs, expected) in rows {
        let specs: Vec<_> = specs.iter().map(String::as_str).collect();
        let policy = policies(&specs);
        assert_eq!(let_in(&policy, &mut Asked::by(WEB)), expected, "{specs:?}");
        assert_eq!(policy.decide(&mut Asked::by(WEB)), Decision::Allow, "{specs:?}");
    }
}

#[test]
fn there_is_none_past_a_denial_that_is_only_reported() {
    let deny = r#"{"action": "DENY", "rules": [{"to": [{"operation": {"methods": ["GET"]}}]}]}"#;
    let dry_run = AuthorizationPolicy { mode: EnforcementMode::Report, ..read("deny", deny) };
    let policy = compile(&[read("allow", &from_the_shop(&[r#""methods": ["GET"]"#])), dry_run]);
    let mut request = Asked::by(WEB);
    let matches = policy.precompute_connection(&mut request).expect("nothing fails");
    let decision = policy.evaluate(Some(&matches), &mut request).decision;
    assert!(matches!(decision, Decision::WouldDeny(Denial::Matched(_))), "{decision:?}");
}

/// Rules of which many are simple, so that many requests take the short way.
fn simple_policy(dice: &mut Dice, number: usize) -> AuthorizationPolicy {
    let action = dice.pick(&["ALLOW", "ALLOW", "ALLOW", "DENY"]);
    let rules: Vec<_> = (0..=dice.below(2))
        .map(|_| {
            let mut source = Vec::new();
            for (key, values, odds) in
                [("principals", &PRINCIPALS[..], 2), ("notNamespaces", &NAMESPACES, 2), ("ipBlocks", &ADDRESSES, 8)]
            {
                if dice.below(odds) == 0 {
                    source.push(format!("\"{key}\": {}", list(dice, values)));
                }
            }
            let mut operation = Vec::new();
            for (key, values, odds) in [
                ("methods", &["GET", "POST", "P*"][..], 2),
                ("notMethods", &["GET"], 6),
                ("hosts", &["orders", "orders.shop"], 2),
                ("paths", &["/", "/api/orders", "/health", "/api/*"], 2),
            ] {
                if dice.below(odds) == 0 {
                    operation.push(format!("\"{key}\": {}", list(dice, values)));
                }
            }
            let mut parts = Vec::new();
            if !source.is_empty() {
                parts.push(format!(r#""from": [{{"source": {{{}}}}}]"#, source.join(", ")));
            }
            if !operation.is_empty() {
                parts.push(format!(r#""to": [{{"operation": {{{}}}}}]"#, operation.join(", ")));
            }
            if dice.below(4) == 0 {
                let values = list(dice, &SERVER_NAMES);
                parts.push(format!(r#""when": [{{"key": "connection.sni", "values": {values}}}]"#));
            }
            format!("{{{}}}", parts.join(", "))
        })
        .collect();
    read(&format!("p{number}"), &format!(r#"{{"action": "{action}", "rules": [{}]}}"#, rules.join(", ")))
}

#[test]
fn both_ways_agree_with_walking_every_rule_and_on_what_cannot_be_told() {
    let mut dice = Dice(0xfee1_600d);
    let (mut short, mut long, mut unsupported) = (0, 0, 0);
    for _ in 0..600 {
        let most = [1, 3, 8][dice.below(3)];
        let policies: Vec<_> = (0..=dice.below(most)).map(|number| simple_policy(&mut dice, number)).collect();
        let policy = compile(&policies);
        for _ in 0..40 {
            let mut request = random_request(&mut dice);
            let expected = linear(&policies, &mut request);
            assert_eq!(by_connection(&policy, &mut request), expected, "{request:?}");
            match let_in(&policy, &mut request) {
                true => short += 1,
                false if expected == "allowed" => long += 1,
                false => {}
            }
            let matches = policy.precompute_connection(&mut request).expect("nothing fails");
            request.failing = Some(dice.pick(&["source", "method", "host", "path"]));
            let decided = policy.evaluate(Some(&matches), &mut request.clone()).decision;
            unsupported += usize::from(matches!(decided, Decision::Deny(Denial::Undecidable(_))));
            assert_eq!(decided, policy.decide(&mut request), "{request:?}");
        }
    }
    let met = [short, long, unsupported];
    assert!(met.iter().all(|met| *met > 500), "the short way, the long one, undecidable: {met:?}");
}
