//! The listener of one set of policies.

use std::path::Path;

use serde_json::{Value, json};
use testbed::TokenIssuer;

use crate::oracle::translate::Translation;
use crate::suite::envoy::listener::{direct_address_state, door, filter_configuration, filters_before, of_type};

/// The headers of an answer that tell the verdicts.
pub(super) const DENY: &str = "x-deny";
pub(super) const DENY_ID: &str = "x-deny-id";
pub(super) const ALLOW: &str = "x-allow";
pub(super) const ALLOW_ID: &str = "x-allow-id";
pub(super) const HINT: &str = "x-hint";
pub(super) const DETAILS: &str = "x-details";
pub(super) const AUDIT: &str = "x-audit";

/// What Envoy writes into them. The names before `shadow_engine_result` are the prefixes of [`shadow`].
const TOLD: [(&str, &str); 7] = [
    (DENY, "%DYNAMIC_METADATA(envoy.filters.http.rbac:deny_shadow_engine_result)%"),
    (DENY_ID, "%DYNAMIC_METADATA(envoy.filters.http.rbac:deny_shadow_effective_policy_id)%"),
    (ALLOW, "%DYNAMIC_METADATA(envoy.filters.http.rbac:allow_shadow_engine_result)%"),
    (ALLOW_ID, "%DYNAMIC_METADATA(envoy.filters.http.rbac:allow_shadow_effective_policy_id)%"),
    (HINT, "%DYNAMIC_METADATA(envoy.common:access_log_hint)%"),
    (DETAILS, "%RESPONSE_CODE_DETAILS%"),
    (AUDIT, "%FILTER_STATE(wasm.sallyport.identity_authz.audit:PLAIN)%"),
];

/// A filter whose enforced rules decide without carrying it out.
fn shadow(action: &str, rules: Option<&Value>) -> Option<Value> {
    let configuration = json!({"shadow_rules": rules?, "shadow_rules_stat_prefix": format!("{action}_")});
    Some(filter(action, "http.rbac.v3.RBAC", &configuration))
}

fn filter(name: &str, kind: &str, configuration: &Value) -> Value {
    json!({"name": name, "typed_config": of_type(configuration, kind)})
}

/// The filters of one set, Envoy's own first and alone where there is no configuration for the other. AUDIT denies nothing, so its rules are Envoy's real ones.
pub(super) fn listener(
    name: &str,
    folder: &Path,
    translation: &Translation,
    configuration: Option<&[u8]>,
    tokens: &TokenIssuer,
) -> Value {
    let mut filters = filters_before(tokens);
    let audit = translation.audit.enforced.as_ref();
    filters.extend(audit.map(|rules| filter("audit", "http.rbac.v3.RBAC", &json!({"rules": rules}))));
    filters.extend(shadow("deny", translation.deny.enforced.as_ref()));
    filters.extend(shadow("allow", translation.allow.enforced.as_ref()));
    let module = configuration.map(|bytes| filter_configuration("identity-authz", "identity_authz", bytes));
    filters.extend(module.map(|module| filter("identity_authz", "http.wasm.v3.Wasm", &module)));
    filters.push(filter("envoy.filters.http.router", "http.router.v3.Router", &json!({})));
    let told: Vec<_> = TOLD.iter().map(|(key, value)| json!({"header": {"key": key, "value": value}})).collect();
    let any_status = json!({"status_code_filter": {"comparison": {
        "op": "GE", "value": {"default_value": 0, "runtime_key": "oracle.status"}
    }}});
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "oracle",
        "http_protocol_options": {"allow_custom_methods": true},
        // Both what passes and what is turned away is answered by Envoy itself.
        "local_reply_config": {"mappers": [{"filter": any_status, "headers_to_add": told}]},
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": ""}, "direct_response": {"status": 200}}
        ]}]},
        "http_filters": filters
    });
    door(name, folder, &json!([{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]))
}

/// The network filter `identity-authz`.
pub(super) fn module(configuration: Option<&[u8]>) -> Vec<Value> {
    let module = configuration.map(|bytes| filter_configuration("identity-authz", "identity_authz", bytes));
    module.iter().map(|module| filter("identity_authz", "network.wasm.v3.Wasm", module)).collect()
}

/// Envoy's own network filters, which decide for real.
pub(super) fn own(translation: &Translation) -> Vec<Value> {
    let rules = [&translation.deny, &translation.allow].into_iter().filter_map(|rules| rules.enforced.as_ref());
    rules
        .map(|rules| filter("rbac", "network.rbac.v3.RBAC", &json!({"rules": rules, "stat_prefix": "oracle"})))
        .collect()
}

/// A listener that sends back what `filters` let pass.
pub(super) fn bytes_listener(name: &str, folder: &Path, filters: &[Value]) -> Value {
    let state = json!({"on_new_connection": [direct_address_state()]});
    let first = filter("direct_address", "network.set_filter_state.v3.Config", &state);
    let last = filter("echo", "network.echo.v3.Echo", &json!({}));
    let filters: Vec<_> = [&first].into_iter().chain(filters).chain([&last]).collect();
    door(name, folder, &json!(filters))
}
