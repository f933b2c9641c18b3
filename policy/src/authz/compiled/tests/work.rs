//! Number of rules that one request is checked against: a few, however many there are and whatever they list.

use fastrand::Rng;

use super::definition::{indexed, linear};
use super::random::*;
use super::*;
use crate::test_support::protobuf_writer::metadata;
use crate::test_support::random::pick;

/// Most rules that are checked one by one: those of one value of each field.
const LINEAR_SCAN_MAX: usize = 8;

/// Rules that differ in one thing, and requests that meet one of them, another, and none.
struct Shape {
    name: &'static str,
    action: &'static str,
    rule: fn(usize) -> String,
    /// Of so many rules.
    requests: fn(usize) -> Vec<FakeRequest>,
}

fn from(source: &str) -> String {
    format!("{{from: [{{source: {{{source}}}}}]}}")
}

fn to(operation: &str) -> String {
    format!("{{to: [{{operation: {{{operation}}}}}]}}")
}

fn from_to(source: &str, operation: &str) -> String {
    format!("{{from: [{{source: {{{source}}}}}], to: [{{operation: {{{operation}}}}}]}}")
}

fn when(key: &str, values: &str) -> String {
    format!(r#"{{when: [{{key: "{key}", {values}}}]}}"#)
}

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

fn workload(number: usize) -> FakeRequest {
    FakeRequest::new(&format!("spiffe://cluster.local/ns/n{number}/sa/web"))
}

fn paths(of: &[String]) -> Vec<FakeRequest> {
    of.iter().map(|path| FakeRequest::new(WEB).with_path(path)).collect()
}

/// The first, one from the middle, the last, and one that is not listed.
fn some(count: usize) -> [usize; 4] {
    [0, count / 2, count - 1, count]
}

fn with_header(value: &str) -> FakeRequest {
    FakeRequest { headers: vec![("x-role", value.as_bytes().to_vec())], ..FakeRequest::new(WEB) }
}

fn with_headers(values: [&str; 2]) -> FakeRequest {
    FakeRequest { headers: values.map(|value| ("x-role", value.as_bytes().to_vec())).to_vec(), ..FakeRequest::new(WEB) }
}

fn from_address(number: usize) -> FakeRequest {
    FakeRequest { source: format!("10.{}.{}.7", number / 256, number % 256).parse().ok(), ..FakeRequest::new(WEB) }
}

fn with_claim(group: &str) -> FakeRequest {
    let claims = format!(r#"{{"iss": "a", "sub": "b", "group": "{group}"}}"#);
    let metadata = metadata("envoy.filters.http.jwt_authn", "payload", &claims);
    FakeRequest { metadata, ..FakeRequest::new(WEB) }
}

const SHAPES: &[Shape] = &[
    Shape {
        name: "a principal each",
        action: "ALLOW",
        rule: |n| from(&format!(r#"principals: ["cluster.local/ns/n{n}/sa/web"]"#)),
        requests: |count| some(count).map(workload).to_vec(),
    },
    Shape {
        name: "a principal each, to deny",
        action: "DENY",
        rule: |n| from(&format!(r#"principals: ["cluster.local/ns/n{n}/sa/web"]"#)),
        requests: |count| some(count).map(workload).to_vec(),
    },
    Shape {
        name: "a prefix of a principal each",
        action: "ALLOW",
        rule: |n| from(&format!(r#"principals: ["cluster.local/ns/n{n}/*"]"#)),
        requests: |count| some(count).map(workload).to_vec(),
    },
    Shape {
        name: "a namespace each",
        action: "ALLOW",
        rule: |n| from(&format!(r#"namespaces: ["n{n}"]"#)),
        requests: |count| some(count).map(workload).to_vec(),
    },
    Shape {
        name: "a path each under one principal",
        action: "ALLOW",
        rule: |n| from_to("principals: [cluster.local/ns/shop/sa/web]", &format!(r#"paths: ["/p{n}"]"#)),
        requests: |count| {
            let mut requests = paths(&some(count).map(|n| format!("/p{n}")));
            requests.push(workload(1).with_path("/p1"));
            requests
        },
    },
    Shape {
        name: "a prefix of a path each",
        action: "DENY",
        rule: |n| to(&format!(r#"paths: ["/p{n}/*"], methods: [GET]"#)),
        requests: |count| paths(&some(count).map(|n| format!("/p{n}/x"))),
    },
    Shape {
        name: "an end of a path each",
        action: "ALLOW",
        rule: |n| to(&format!(r#"paths: ["*/p{n}"]"#)),
        requests: |count| paths(&some(count).map(|n| format!("/x/p{n}"))),
    },
    Shape {
        name: "a template each",
        action: "ALLOW",
        rule: |n| to(&format!(r#"paths: ["/{{*}}/p{n}"], methods: [GET]"#)),
        requests: |count| paths(&some(count).map(|n| format!("/x/p{n}"))),
    },
    Shape {
        name: "a grid of principals and paths",
        action: "ALLOW",
        rule: |n| {
            let principal = format!(r#"principals: ["cluster.local/ns/n{}/sa/web"]"#, n / 45);
            from_to(&principal, &format!(r#"paths: ["/p{}"]"#, n % 45))
        },
        requests: |count| some(count).map(|n| workload(n / 45).with_path(&format!("/p{}", n % 45))).to_vec(),
    },
    Shape {
        name: "half by namespace, half by path",
        action: "DENY",
        rule: |n| match n % 2 {
            0 => from(&format!(r#"namespaces: ["n{n}"]"#)),
            _ => to(&format!(r#"paths: ["/p{n}"]"#)),
        },
        requests: |count| some(count).map(|n| workload(n).with_path(&format!("/p{}", n + 1))).to_vec(),
    },
    Shape {
        name: "a network each",
        action: "ALLOW",
        rule: |n| from(&format!(r#"ipBlocks: ["10.{}.{}.0/24"]"#, n / 256, n % 256)),
        requests: |count| some(count).map(from_address).to_vec(),
    },
    Shape {
        name: "a header value each",
        action: "ALLOW",
        rule: |n| when("request.headers[x-role]", &format!(r#"values: ["r{n}"]"#)),
        requests: |count| {
            let mut requests = some(count).map(|n| with_header(&format!("r{n}"))).to_vec();
            requests.push(with_headers(["r1", "r2"]));
            requests
        },
    },
    Shape {
        name: "something within a header value each",
        action: "DENY",
        rule: |n| when("request.headers[x-role]", &format!(r#"values: ["*-r{n}-*"]"#)),
        requests: |count| some(count).map(|n| with_header(&format!("a-r{n}-z"))).to_vec(),
    },
    Shape {
        name: "a claim each",
        action: "ALLOW",
        rule: |n| when("request.auth.claims[group]", &format!(r#"values: ["g{n}"]"#)),
        requests: |count| some(count).map(|n| with_claim(&format!("g{n}"))).to_vec(),
    },
    Shape {
        name: "not one path each",
        action: "ALLOW",
        rule: |n| to(&format!(r#"notPaths: ["/p{n}"]"#)),
        requests: |count| paths(&some(count).map(|n| format!("/p{n}"))),
    },
    Shape {
        name: "not one path each, to deny",
        action: "DENY",
        rule: |n| to(&format!(r#"notPaths: ["/p{n}"]"#)),
        requests: |count| paths(&some(count).map(|n| format!("/p{n}"))),
    },
    Shape {
        name: "not one principal each, for another method",
        action: "ALLOW",
        rule: |n| from_to(&format!(r#"notPrincipals: ["cluster.local/ns/n{n}/sa/web"]"#), "methods: [PUT]"),
        requests: |count| some(count).map(workload).to_vec(),
    },
    Shape {
        name: "not one principal each, for another method, but for the first",
        action: "DENY",
        rule: |n| {
            let operation = if n == 0 { "notPaths: [/]" } else { "methods: [PUT]" };
            from_to(&format!(r#"notPrincipals: ["cluster.local/ns/n{n}/sa/web"]"#), operation)
        },
        requests: |count| some(count).map(workload).to_vec(),
    },
    Shape {
        name: "not the same namespace, and not one path each",
        action: "DENY",
        rule: |n| from_to("notNamespaces: [shop, other]", &format!(r#"notPaths: ["/p{n}", /all]"#)),
        requests: |count| {
            let mut requests = paths(&some(count).map(|n| format!("/p{n}")));
            requests.extend([
                workload(1).with_path("/all"),
                workload(1).with_path("/p1"),
                workload(1).with_path("/none"),
            ]);
            requests
        },
    },
    Shape {
        name: "not one network each, nor a common one",
        action: "ALLOW",
        rule: |n| from(&format!(r#"notIpBlocks: ["10.{}.{}.0/24", "10.200.0.0/16"]"#, n / 256, n % 256)),
        requests: |count| {
            let mut requests = some(count).map(from_address).to_vec();
            requests.push(from_address(200 * 256));
            requests
        },
    },
    Shape {
        name: "not one header value each, nor a common one",
        action: "ALLOW",
        rule: |n| when("request.headers[x-role]", &format!(r#"notValues: ["r{n}", none]"#)),
        requests: |count| {
            let mut requests = some(count).map(|n| with_header(&format!("r{n}"))).to_vec();
            requests.extend([with_header("none"), with_headers(["none", "r1"]), with_headers(["r0", "x"])]);
            requests
        },
    },
    Shape {
        name: "not one header value each, nor a common one, to deny",
        action: "DENY",
        rule: |n| when("request.headers[x-role]", &format!(r#"notValues: ["r{n}", none]"#)),
        requests: |count| {
            let mut requests = some(count).map(|n| with_header(&format!("r{n}"))).to_vec();
            requests.extend([with_header("none"), with_headers(["none", "r1"]), with_headers(["none", "none"])]);
            requests
        },
    },
    Shape {
        name: "all the same",
        action: "DENY",
        rule: |_| to("methods: [PUT], notPaths: [/a]"),
        requests: |_| {
            vec![
                FakeRequest::new(WEB),
                FakeRequest::new(WEB).with_method("PUT"),
                FakeRequest::new(WEB).with_method("PUT").with_path("/a"),
            ]
        },
    },
];

#[test]
fn however_many_rules_there_are_a_few_are_checked() {
    for shape in SHAPES {
        for (count, rules_a_policy) in [(40, 10), (1_000, 500), (1_000, 1)] {
            let rules: Vec<_> = (0..count).map(shape.rule).collect();
            let policies: Vec<_> = rules
                .chunks(rules_a_policy)
                .enumerate()
                .map(|(number, rules)| {
                    let spec = format!(r#"{{action: "{}", rules: [{}]}}"#, shape.action, rules.join(", "));
                    read(&format!("p{number}"), &spec)
                })
                .collect();
            let policy = compile(&policies);
            for mut request in (shape.requests)(count) {
                let asked = format!("{}, {count} rules in policies of {rules_a_policy}: {request:?}", shape.name);
                assert_eq!(indexed(&policy, &mut request), linear(&policies, &mut request), "{asked}");
                for index in [&policy.rules.deny.enforced, &policy.rules.allow.enforced] {
                    let checked =
                        index.checked_clauses(&policy.rules.sets, &mut policy.rules.lookups(None, &mut request));
                    assert!(
                        checked.is_ok_and(|checked| checked <= LINEAR_SCAN_MAX),
                        "{checked:?} rules are checked: {asked}"
                    );
                }
            }
        }
    }
}

#[test]
fn what_two_conditions_exclude_they_do_not_exclude_together() {
    let not = |values: &[&str]| {
        let conditions =
            values.iter().map(|value| format!(r#"{{key: "request.headers[x-role]", notValues: [{value}]}}"#));
        format!("{{when: [{}]}}", conditions.collect::<Vec<_>>().join(", "))
    };
    let mut rules = vec![not(&["a, b"]); 6];
    rules.insert(3, not(&["a", "b"]));
    let policies = [read("p", &format!("{{action: DENY, rules: [{}]}}", rules.join(", ")))];
    let mut request = with_headers(["a", "b"]);
    assert_eq!(linear(&policies, &mut request), "denied by ns[shop]-policy[p]-rule[3]");
    assert_eq!(indexed(&compile(&policies), &mut request), "denied by ns[shop]-policy[p]-rule[3]");
}

/// Rules that mostly exclude, of few values, so that they exclude the same and each other's.
fn excluding_policy(rng: &mut Rng, number: usize) -> AuthorizationPolicy {
    let action = pick(rng, &["ALLOW", "DENY"]);
    let rules: Vec<_> = (0..=rng.usize(..30))
        .map(|_| {
            let not_paths = list(rng, &["/", "/api/orders", "/api/*", "/health"]);
            let mut rule = match rng.usize(..4) {
                0 => vec![format!("to: [{{operation: {{notPaths: {not_paths}, methods: [GET]}}}}]")],
                1 => vec![format!("to: [{{operation: {{notPaths: {not_paths}, notMethods: [PUT]}}}}]")],
                2 => vec![format!("to: [{{operation: {{notPaths: {not_paths}}}}}]")],
                _ => vec![],
            };
            if rule.is_empty() || rng.usize(..2) == 0 {
                let not_namespaces = list(rng, &["shop", "pay", "a", "s*"]);
                rule.push(format!("from: [{{source: {{notNamespaces: {not_namespaces}}}}}]"));
            }
            if rng.usize(..2) == 0 {
                let conditions: Vec<_> = (0..=rng.usize(..2))
                    .map(|_| {
                        let values = list(rng, &["admin", "user", "guest", "ad*", "*er"]);
                        format!(r#"{{key: "request.headers[x-role]", notValues: {values}}}"#)
                    })
                    .collect();
                rule.push(format!("when: [{}]", conditions.join(", ")));
            }
            format!("{{{}}}", rule.join(", "))
        })
        .collect();
    read(&format!("p{number}"), &format!(r#"{{action: "{action}", rules: [{}]}}"#, rules.join(", ")))
}

#[test]
fn stretches_of_rules_that_exclude_agree_with_walking_them() {
    let mut rng = Rng::with_seed(0x0b57_ac1e);
    let mut answers = std::collections::HashMap::<String, usize>::new();
    for _ in 0..400 {
        let policies: Vec<_> = (0..=rng.usize(..3)).map(|number| excluding_policy(&mut rng, number)).collect();
        let policy = compile(&policies);
        for _ in 0..40 {
            let mut request = random_request(&mut rng);
            let expected = linear(&policies, &mut request);
            assert_eq!(indexed(&policy, &mut request), expected, "{request:?}");
            *answers.entry(expected).or_default() += 1;
        }
    }
    assert!(answers.len() > 20 && answers.values().filter(|met| **met > 100).count() > 3, "{answers:?}");
}

#[test]
fn a_principal_that_every_rule_shares_does_not_make_the_others_dear() {
    let rule = |number: usize| {
        format!(
            r#"{{from: [{{source: {{principals: ["cluster.local/ns/n{number}/sa/web", cluster.local/ns/ops/sa/admin]}}}}], to: [{{operation: {{paths: ["/api/*"]}}}}]}}"#
        )
    };
    let rules: Vec<_> = (0..500).map(rule).collect();
    let policy = compile(&[read("p", &format!("{{rules: [{}]}}", rules.join(", ")))]);
    let mut asked = FakeRequest::new("spiffe://cluster.local/ns/n7/sa/web").with_path("/other");
    let mut lookups = policy.rules.lookups(None, &mut asked);
    let checked = policy.rules.allow.enforced.checked_clauses(&policy.rules.sets, &mut lookups);
    assert_eq!(checked, Ok(1), "a principal of one rule meets more than that rule");
}

#[test]
fn lists_under_lists_do_not_multiply() {
    let mut rng = Rng::with_seed(0x0dd_ba11);
    let mut list = |name: &str, form: &dyn Fn(usize) -> String| {
        let values: Vec<_> =
            (0..300).filter(|_| rng.usize(..5) < 2).map(|number| format!("{:?}", form(number))).collect();
        format!("{name}: [{}]", values.join(", "))
    };
    let mut rule = || {
        let principals = list("principals", &|number| format!("cluster.local/ns/n{number}/sa/web"));
        let paths = list("paths", &|number| format!("/p{number}"));
        let hosts = list("hosts", &|number| format!("h{number}"));
        format!("{{from: [{{source: {{{principals}}}}}], to: [{{operation: {{{paths}, {hosts}}}}}]}}")
    };
    let rules: Vec<_> = (0..30).map(|_| rule()).collect();
    let policy = compile(&[read("p", &format!("{{rules: [{}]}}", rules.join(", ")))]);
    let entries = policy.rules.allow.enforced.leaf_entries();
    assert!(entries < 60_000, "30 rules with lists of 120 values make {entries} entries");
}
