//! Configurations with the policies that hostile requests are for.

use serde_json::{Value, json};

use super::{CLAIMS, PATTERNS, TEMPLATES};

/// A DENY policy of these rules.
pub(super) fn deny(rules: Value) -> Value {
    json!([policy("p", "DENY", &rules)])
}

pub(super) fn policy(name: &str, action: &str, rules: &Value) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"action": action, "rules": rules}
    })
}

/// Denies what matches one of [`PATTERNS`] patterns for a header, each in a rule of its own.
pub(super) fn header_rules(header: &str, pattern: &dyn Fn(usize) -> String) -> Value {
    let rules: Vec<_> = (0..PATTERNS / 2)
        .map(|rule| {
            let values = [pattern(2 * rule), pattern(2 * rule + 1)];
            json!({"when": [{"key": format!("request.headers[{header}]"), "values": values}]})
        })
        .collect();
    deny(json!(rules))
}

pub(super) fn headers(pattern: &dyn Fn(usize) -> String) -> Value {
    json!({"resources": header_rules("user-agent", pattern)})
}

pub(super) fn headers_of_identities(pattern: &dyn Fn(usize) -> String) -> Value {
    json!({"defaultAction": "ALLOW", "resources": header_rules("user-agent", pattern)})
}

pub(super) fn paths(path: &dyn Fn(usize) -> String) -> Value {
    let paths: Vec<_> = (0..PATTERNS).map(path).collect();
    json!({"defaultAction": "ALLOW", "resources": deny(json!([{"to": [{"operation": {"paths": paths}}]}]))})
}

pub(super) fn templates(template: &dyn Fn(usize) -> String) -> Value {
    let paths: Vec<_> = (0..TEMPLATES).map(template).collect();
    json!({"defaultAction": "ALLOW", "resources": deny(json!([{"to": [{"operation": {"paths": paths}}]}]))})
}

pub(super) fn claims() -> Value {
    let condition = |number| json!({"key": format!("request.auth.claims[c{number}]"), "values": ["*bad*", "x"]});
    let rules: Vec<_> = (0..CLAIMS).map(|number| json!({"when": [condition(number)]})).collect();
    json!({"defaultAction": "ALLOW", "resources": deny(json!(rules))})
}

pub(super) fn claim(name: &str) -> Value {
    let condition = json!({"key": format!("request.auth.claims[{name}]"), "values": ["*bad*", "x"]});
    json!({"defaultAction": "ALLOW", "resources": deny(json!([{"when": [condition]}]))})
}
