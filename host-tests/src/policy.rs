//! Configurations and policies for tests, written as YAML.

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Reads a plugin configuration from YAML and returns the JSON that a proxy hands to the filter.
pub fn configuration(yaml: &str) -> Result<String> {
    Ok(testbed::read_yaml(yaml).with_context(|| format!("in the configuration:\n{yaml}"))?.to_string())
}

/// Returns an AuthorizationPolicy of the namespace `shop` with this name; `spec` is YAML.
pub fn authorization_policy(name: &str, spec: &str) -> Result<Value> {
    let spec = testbed::read_yaml(spec).with_context(|| format!("in the spec:\n{spec}"))?;
    Ok(json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": spec
    }))
}

/// Returns the configuration of `identity-authz` with one policy, `shop/p`, that lets in whatever it does not deny;
/// `spec` is YAML and may use `remoteIpBlocks`.
pub fn single_policy(spec: &str) -> Result<String> {
    let resources = [authorization_policy("p", spec)?];
    Ok(json!({"remoteAddress": "trusted", "defaultAction": "ALLOW", "resources": resources}).to_string())
}

/// Returns an ALLOW policy, `shop/allow-web`, for the principal `cluster.local/ns/shop/sa/web`. `operation` is YAML, as
/// in `{methods: [GET]}`; empty for any operation.
pub fn allow_web(operation: &str) -> Result<Value> {
    let to = if operation.is_empty() { String::new() } else { format!("to: [{{operation: {operation}}}]") };
    let from = "from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]";
    authorization_policy("allow-web", &format!("rules:\n- {from}\n  {to}"))
}

/// Returns the configuration of `identity-authz` with [`allow_web`] alone.
pub fn only_allow_web(operation: &str) -> Result<String> {
    Ok(json!({"resources": [allow_web(operation)?]}).to_string())
}
