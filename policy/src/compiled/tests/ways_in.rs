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
    let matches = policy.connection_matches(request).expect("nothing fails");
    matches.ways_in.let_in(request)
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
        (asked("PUT", "health", "/x"), true),
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
    // Letters of a host do not matter, and the long way knows.
    let mut shouted = asked("POST", "ORDERS", "/a");
    assert!(!let_in(&policy, &mut shouted));
    assert_eq!(by_connection(&policy, &mut shouted), "allowed");
    for failing in ["method", "host", "path"] {
        let mut request = Asked { failing: Some(failing), ..asked("POST", "orders", "/a") };
        assert!(!let_in(&policy, &mut request), "{failing}");
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
        (vec![from_the_shop(&[r#""methods": ["G*"]"#])], false),
        (vec![from_the_shop(&[r#""methods": ["*"]"#])], false),
        (vec![from_the_shop(&[r#""paths": ["/", "/api/*"]"#])], false),
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
    let dry_run = AuthorizationPolicy { dry_run: true, ..read("deny", deny) };
    let policy = compile(&[read("allow", &from_the_shop(&[r#""methods": ["GET"]"#])), dry_run]);
    let mut request = Asked::by(WEB);
    let matches = policy.connection_matches(&mut request).expect("nothing fails");
    let decision = policy.decide_on(Some(&matches), &mut request);
    assert!(matches!(decision, Decision::WouldDeny(Denial::Matched(_))), "{decision:?}");
}

/// Rules of which many are simple, so that many requests take the short way.
fn simple_policy(dice: &mut Dice, number: usize) -> AuthorizationPolicy {
    let action = dice.pick(&["ALLOW", "ALLOW", "ALLOW", "DENY"]);
    let rules: Vec<_> = (0..=dice.below(2))
        .map(|_| {
            let (key, values) = [("principals", &PRINCIPALS[..]), ("notNamespaces", &NAMESPACES)][dice.below(2)];
            let source = format!(r#""from": [{{"source": {{"{key}": {}}}}}]"#, list(dice, values));
            let mut operation = Vec::new();
            for (key, values) in [
                ("methods", &["GET", "POST", "P*"][..]),
                ("notMethods", &["GET"]),
                ("hosts", &["orders", "orders.shop"]),
                ("paths", &["/", "/api/orders", "/health", "/api/*"]),
            ] {
                if dice.below(2) == 0 {
                    operation.push(format!("\"{key}\": {}", list(dice, values)));
                }
            }
            match operation.is_empty() {
                true => format!("{{{source}}}"),
                false => format!(r#"{{{source}, "to": [{{"operation": {{{}}}}}]}}"#, operation.join(", ")),
            }
        })
        .collect();
    read(&format!("p{number}"), &format!(r#"{{"action": "{action}", "rules": [{}]}}"#, rules.join(", ")))
}

#[test]
fn both_ways_agree_with_walking_every_rule() {
    let mut dice = Dice(0xfee1_600d);
    let (mut short, mut long) = (0, 0);
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
        }
    }
    assert!(short > 500 && long > 500, "{short} took the short way, {long} the long one");
}
