//! Listeners for one set of policies.

use std::path::Path;

use serde_json::{Value, json};
use testbed::TokenIssuer;

use crate::rbac_oracle::translate::Translation;
use crate::suite::envoy::listener::{
    any_client_listener, direct_address_state, filter_configuration, preceding_filters, with_type,
};

/// The response headers that carry the verdicts.
pub(super) const DENY: &str = "x-deny";
pub(super) const DENY_ID: &str = "x-deny-id";
pub(super) const ALLOW: &str = "x-allow";
pub(super) const ALLOW_ID: &str = "x-allow-id";
pub(super) const HINT: &str = "x-hint";
pub(super) const DETAILS: &str = "x-details";
pub(super) const AUDIT: &str = "x-audit";

/// The values of these headers. The prefixes before `shadow_` are those that [`shadow_rbac`] sets.
const VERDICT_HEADERS: [(&str, &str); 7] = [
    (DENY, "%DYNAMIC_METADATA(envoy.filters.http.rbac:deny_shadow_engine_result)%"),
    (DENY_ID, "%DYNAMIC_METADATA(envoy.filters.http.rbac:deny_shadow_effective_policy_id)%"),
    (ALLOW, "%DYNAMIC_METADATA(envoy.filters.http.rbac:allow_shadow_engine_result)%"),
    (ALLOW_ID, "%DYNAMIC_METADATA(envoy.filters.http.rbac:allow_shadow_effective_policy_id)%"),
    (HINT, "%DYNAMIC_METADATA(envoy.common:access_log_hint)%"),
    (DETAILS, "%RESPONSE_CODE_DETAILS%"),
    (AUDIT, "%FILTER_STATE(wasm.sallyport.identity_authz.audit:PLAIN)%"),
];

/// Returns an RBAC filter that decides by these rules without effect.
fn shadow_rbac(action: &str, rules: Option<&Value>) -> Option<Value> {
    let configuration = json!({"shadow_rules": rules?, "shadow_rules_stat_prefix": format!("{action}_")});
    Some(filter(action, "http.rbac.v3.RBAC", &configuration))
}

fn filter(name: &str, kind: &str, configuration: &Value) -> Value {
    json!({"name": name, "typed_config": with_type(configuration, kind)})
}

/// Returns a listener with Envoy's RBAC filters and, if it has a configuration, `identity-authz` after them. AUDIT
/// denies nothing, so its rules are enforced ones.
pub(super) fn listener(
    name: &str,
    folder: &Path,
    translation: &Translation,
    configuration: Option<&[u8]>,
    tokens: &TokenIssuer,
) -> Value {
    let mut filters = preceding_filters(tokens);
    let audit = translation.audit.enforced.as_ref();
    filters.extend(audit.map(|rules| filter("audit", "http.rbac.v3.RBAC", &json!({"rules": rules}))));
    filters.extend(shadow_rbac("deny", translation.deny.enforced.as_ref()));
    filters.extend(shadow_rbac("allow", translation.allow.enforced.as_ref()));
    let wasm = configuration.map(|bytes| filter_configuration("identity-authz", "identity_authz", bytes));
    filters.extend(wasm.map(|wasm| filter("identity_authz", "http.wasm.v3.Wasm", &wasm)));
    filters.push(filter("envoy.filters.http.router", "http.router.v3.Router", &json!({})));
    let headers: Vec<_> =
        VERDICT_HEADERS.iter().map(|(key, value)| json!({"header": {"key": key, "value": value}})).collect();
    let any_status = json!({"status_code_filter": {"comparison": {
        "op": "GE", "value": {"default_value": 0, "runtime_key": "oracle.status"}
    }}});
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "oracle",
        "http_protocol_options": {"allow_custom_methods": true},
        // Envoy itself answers both allowed and denied requests.
        "local_reply_config": {"mappers": [{"filter": any_status, "headers_to_add": headers}]},
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": ""}, "direct_response": {"status": 200}}
        ]}]},
        "http_filters": filters
    });
    any_client_listener(
        name,
        folder,
        &json!([{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]),
    )
}

/// Returns `identity-authz` as a network filter, none without a configuration.
pub(super) fn wasm_network_filter(configuration: Option<&[u8]>) -> Vec<Value> {
    let wasm = configuration.map(|bytes| filter_configuration("identity-authz", "identity_authz", bytes));
    wasm.iter().map(|wasm| filter("identity_authz", "network.wasm.v3.Wasm", wasm)).collect()
}

/// Returns Envoy's RBAC network filters, with enforced rules.
pub(super) fn rbac_network_filters(translation: &Translation) -> Vec<Value> {
    let rules = [&translation.deny, &translation.allow].into_iter().filter_map(|rules| rules.enforced.as_ref());
    rules
        .map(|rules| filter("rbac", "network.rbac.v3.RBAC", &json!({"rules": rules, "stat_prefix": "oracle"})))
        .collect()
}

/// Returns a listener that echoes the bytes that `filters` let through.
pub(super) fn tcp_listener(name: &str, folder: &Path, filters: &[Value]) -> Value {
    let state = json!({"on_new_connection": [direct_address_state()]});
    let first = filter("direct_address", "network.set_filter_state.v3.Config", &state);
    let last = filter("echo", "network.echo.v3.Echo", &json!({}));
    let filters: Vec<_> = [&first].into_iter().chain(filters).chain([&last]).collect();
    any_client_listener(name, folder, &json!(filters))
}
