//! Requests that are expensive by several values, by the readings of one, or by what few bytes match.

use serde_json::{Value, json};
use testbed::TokenIssuer;

use super::policies::{claims, deny, header_rules, policy};
use super::{Claims, HostileRequest, MAX_COMPARED, PATTERNS, TEMPLATES, payload, set, user_agent};
use crate::wasm_host::Request;

/// Labels of a host below `x.com`.
const LABELS: usize = 13;

/// Headers that a policy names.
const NAMES: usize = 1_000;

/// A pattern whose first literal is a run of `a`, which another begins with.
fn nested(number: usize) -> String {
    format!("*{}*x{number}x*", "a".repeat(number % 250 + 3))
}

/// Denies what matches a list of an operation.
fn operation(key: &str, pattern: &dyn Fn(usize) -> String) -> Value {
    let values: Vec<_> = (0..PATTERNS).map(pattern).collect();
    json!({"defaultAction": "ALLOW", "resources": deny(json!([{"to": [{"operation": {key: values}}]}]))})
}

/// Hosts with a star or an `a` in each label.
fn masks() -> impl Iterator<Item = String> {
    (1..1_usize << LABELS).map(|number| {
        let labels = (0..LABELS).map(|label| if number >> label & 1 == 1 { "*." } else { "a." });
        format!("a.{}x.com", labels.collect::<String>())
    })
}

fn masked_host(_: usize) -> (Request, Claims) {
    (Request::new("GET", &format!("{}x.com", "a.".repeat(LABELS + 1)), "/"), Claims::new())
}

/// A path in every reading, and a user agent that takes many steps.
fn path_and_agent(bytes: usize) -> (Request, Claims) {
    let path_bytes = bytes.min(MAX_COMPARED);
    let path: String = "/".chars().chain("a%2F..;x//b;y%5C.%2F".chars().cycle()).take(path_bytes).collect();
    let agent = format!("sqlmap{}", "a".repeat(bytes - path_bytes));
    (Request::new("GET", "orders.shop", &path).with("user-agent", agent.as_bytes()), Claims::new())
}

fn listed_paths() -> Vec<String> {
    (0..PATTERNS).map(|number| format!("/health{number}/*")).collect()
}

pub(super) const HOSTILE_REQUESTS: &[HostileRequest] = &[
    HostileRequest {
        name: "user agents that exemptions are compared with one by one",
        filter: "baseline-deny",
        configuration: || {
            let surroundings = (2..PATTERNS).map(|number| format!("*[{}]?[{}]foo*", set(number), set(number / 30)));
            let exempt: Vec<_> = ["sqlmap*".to_owned(), "zzz*".to_owned()].into_iter().chain(surroundings).collect();
            json!({"presets": ["scanners"], "exempt": {"userAgents": exempt}})
        },
        request: |bytes| user_agent(bytes, "sqlmap,zzzfoo,zzzfoo,zzzfoo,", ""),
        limit: 13_800_000,
    },
    HostileRequest {
        name: "user agents that exemptions are compared with one by one, as many as are compared",
        filter: "baseline-deny",
        configuration: || {
            let nested = (2..PATTERNS).map(nested);
            let exempt: Vec<_> = ["sqlmap*".to_owned(), "zzz*".to_owned()].into_iter().chain(nested).collect();
            json!({"presets": ["scanners"], "exempt": {"userAgents": exempt}})
        },
        request: |bytes| user_agent(bytes, "sqlmap,zzzaaaaaaaaaaaa,", ""),
        limit: 12_300_000,
    },
    HostileRequest {
        name: "a host that all wildcards match",
        filter: "egress-allowlist",
        configuration: || json!({"rules": [{"name": "r", "hosts": masks().collect::<Vec<_>>()}]}),
        request: masked_host,
        limit: 2_000_000,
    },
    HostileRequest {
        name: "a host that the wildcards of all rules match",
        filter: "egress-allowlist",
        configuration: || {
            let rules: Vec<_> = masks()
                .enumerate()
                .map(|(number, host)| {
                    let principal = format!("cluster.local/ns/a/sa/b{number}");
                    json!({"name": format!("r{number}"), "hosts": [host], "from": [{"source": {"principals": [principal]}}]})
                })
                .collect();
            json!({"rules": rules})
        },
        request: masked_host,
        limit: 7_800_000,
    },
    HostileRequest {
        name: "a host in every reading",
        filter: "identity-authz",
        configuration: || operation("hosts", &nested),
        request: |bytes| (Request::new("GET", &format!("{}.:80", "a".repeat(bytes)), "/"), Claims::new()),
        limit: 17_500_000,
    },
    HostileRequest {
        name: "a method in every reading",
        filter: "identity-authz",
        configuration: || operation("methods", &nested),
        request: |bytes| (Request::new(&"a".repeat(bytes), "orders.shop", "/"), Claims::new()),
        limit: 4_500_000,
    },
    HostileRequest {
        name: "headers by the thousand, each compared",
        filter: "identity-authz",
        configuration: || {
            let values = |number| json!([nested(2 * number), nested(2 * number + 1)]);
            let condition = |number| json!({"key": format!("request.headers[h{number}]"), "values": values(number)});
            let rules: Vec<_> = (0..NAMES / 2)
                .map(|number| json!({"when": [condition(2 * number), condition(2 * number + 1)]}))
                .collect();
            json!({"defaultAction": "ALLOW", "resources": deny(json!(rules))})
        },
        request: |bytes| {
            let request = Request::new("GET", "orders.shop", "/");
            let add = |request: Request, number| request.with(&format!("h{number}"), b"aaaaaaaaaa");
            ((0..bytes / 30).fold(request, add), Claims::new())
        },
        limit: 7_300_000,
    },
    HostileRequest {
        name: "a path in every reading that no template allows",
        filter: "identity-authz",
        configuration: || {
            let paths: Vec<_> =
                (0..TEMPLATES).map(|number| format!("{}/{{*}}/x{number}", "/a".repeat(number % 90))).collect();
            json!({"resources": [policy("p", "ALLOW", &json!([{"to": [{"operation": {"paths": paths}}]}]))]})
        },
        request: |bytes| super::path(bytes.min(MAX_COMPARED), "a/a%2Fa;x/"),
        limit: 7_000_000,
    },
    HostileRequest {
        name: "a path in every reading and a long header",
        filter: "identity-authz",
        configuration: || {
            let paths: Vec<_> = (0..PATTERNS).map(|number| format!("/admin{number}/*")).collect();
            let mut resources = header_rules("user-agent", &nested);
            if let Value::Array(resources) = &mut resources {
                resources.push(policy("paths", "DENY", &json!([{"to": [{"operation": {"paths": paths}}]}])));
            }
            json!({"defaultAction": "ALLOW", "resources": resources})
        },
        request: path_and_agent,
        limit: 21_100_000,
    },
    HostileRequest {
        name: "a path in every reading and a long header, by baseline-deny's exemptions",
        filter: "baseline-deny",
        configuration: || {
            let agents: Vec<_> = (0..PATTERNS).map(nested).collect();
            json!({
                "presets": ["scanners"],
                "resources": header_rules("user-agent", &nested),
                "exempt": {"paths": listed_paths(), "userAgents": agents}
            })
        },
        request: path_and_agent,
        limit: 19_400_000,
    },
    HostileRequest {
        name: "claims against a payload in a header",
        filter: "identity-authz",
        configuration: || {
            let mut configuration = claims();
            if let Value::Object(keys) = &mut configuration {
                keys.insert("identity".to_owned(), json!({"jwt": {"header": "x-jwt"}}));
            }
            configuration
        },
        request: |bytes| {
            let claims: Claims =
                (0..(payload(bytes) / 11).min(3_072)).map(|number| (format!("c{number}"), json!(1))).collect();
            let token = TokenIssuer::new("issuer").token(&json!(claims));
            let payload = token.split('.').nth(1).unwrap_or_default();
            (Request::new("GET", "orders.shop", "/").with("x-jwt", payload.as_bytes()), Claims::new())
        },
        limit: 20_000_000,
    },
];
