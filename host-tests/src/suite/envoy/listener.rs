//! The listeners that cases are played on.

use std::path::Path;

use serde_json::{Value, json};
use testbed::TokenIssuer;

use super::KEYS;
use crate::suite::surroundings::{DIRECT_ADDRESS_KEY, JWT_FILTER, PAYLOAD, other_metadata};

/// Envoy begins the log lines of a plugin that is being configured with its VM's id.
pub(super) fn filter_configuration(filter: &str, vm_id: &str, configuration: &[u8]) -> Value {
    json!({
        "config": {
            "name": filter,
            "vm_config": {
                "vm_id": vm_id,
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": testbed::filter_path(filter)}}
            },
            "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": String::from_utf8_lossy(configuration)}
        }
    })
}

fn of_type(configuration: &Value, kind: &str) -> Value {
    let mut typed = configuration.clone();
    if let Value::Object(keys) = &mut typed {
        keys.insert("@type".to_owned(), json!(format!("type.googleapis.com/envoy.extensions.filters.{kind}")));
    }
    typed
}

fn access_log(counters: &str, log: &Path, about: &[(&str, &str)]) -> Value {
    let mut format: serde_json::Map<_, _> =
        about.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    for key in KEYS {
        format.insert(key.to_owned(), json!(format!("%FILTER_STATE(wasm.sallyport.{counters}.{key}:PLAIN)%")));
    }
    json!([{
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": log,
            "log_format": {"json_format": format}
        }
    }])
}

fn listener_filter(name: &str, kind: &str) -> Value {
    json!({"name": name, "typed_config": {"@type": format!("type.googleapis.com/envoy.extensions.filters.listener.{kind}")}})
}

/// Addresses by the PROXY protocol, and the server name of TLS.
fn listener_filters() -> Value {
    json!([
        listener_filter("envoy.filters.listener.proxy_protocol", "proxy_protocol.v3.ProxyProtocol"),
        listener_filter("envoy.filters.listener.tls_inspector", "tls_inspector.v3.TlsInspector")
    ])
}

/// The cluster that passing connections go to.
pub(super) const BEYOND: &str = "beyond";

/// A listener that sends back what it gets, and the cluster that leads to it.
pub(super) fn beyond(folder: &Path) -> (Value, Value) {
    let address = json!({"pipe": {"path": folder.join("beyond.socket")}});
    let listener = json!({
        "name": BEYOND,
        "address": address,
        "filter_chains": [{"filters": [{"name": "echo", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"
        }}]}]
    });
    let endpoint = json!({"endpoint": {"address": address}});
    let cluster = json!({
        "name": BEYOND,
        "type": "STATIC",
        "load_assignment": {"cluster_name": BEYOND, "endpoints": [{"lb_endpoints": [endpoint]}]}
    });
    (listener, cluster)
}

/// A listener whose connections pass through to the cluster beyond.
pub(super) fn passing_listener(name: &str, counters: &str, log: &Path, filter: &Value) -> Value {
    let proxy = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "passing",
        "cluster": BEYOND
    });
    json!({
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "listener_filters": listener_filters(),
        "access_log": access_log(counters, log, &[("case", "%DOWNSTREAM_REMOTE_ADDRESS%")]),
        "filter_chains": [{"filters": [
            {"name": "filter", "typed_config": of_type(filter, "network.wasm.v3.Wasm")},
            {"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}
        ]}]
    })
}

/// What identity-authz relies on other filters for: the address of the connection's other end, validated tokens, and
/// metadata.
fn filters_before(tokens: &TokenIssuer) -> Vec<Value> {
    let filter = |name: &str, kind: &str, configuration: Value| json!({"name": name, "typed_config": of_type(&configuration, kind)});
    let direct_address = json!({"on_request_headers": [{
        "object_key": DIRECT_ADDRESS_KEY,
        "factory_key": "envoy.string",
        "format_string": {"text_format_source": {"inline_string": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"}}
    }]});
    let provider = json!({
        "local_jwks": {"inline_string": tokens.key_set()},
        "payload_in_metadata": PAYLOAD,
        "forward": true
    });
    let validation = json!({
        "providers": {"trusted": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"requires_any": {"requirements": [
            {"provider_name": "trusted"}, {"allow_missing_or_failed": {}}
        ]}}}]
    });
    let metadata: Vec<Value> = other_metadata()
        .into_iter()
        .map(|(filter, values)| json!({"metadata_namespace": filter, "value": values}))
        .collect();
    vec![
        filter("direct_address", "http.set_filter_state.v3.Config", direct_address),
        filter(JWT_FILTER, "http.jwt_authn.v3.JwtAuthentication", validation),
        filter("metadata", "http.set_metadata.v3.Config", json!({"metadata": metadata})),
    ]
}

/// TLS and plaintext on one port, any client certificate or none, addresses by the PROXY protocol.
pub(super) fn listener(
    name: &str,
    counters: &str,
    folder: &Path,
    log: &Path,
    filter: &Value,
    tokens: &TokenIssuer,
) -> Value {
    let mut http_filters = filters_before(tokens);
    http_filters.push(json!({"name": "filter", "typed_config": of_type(filter, "http.wasm.v3.Wasm")}));
    http_filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
    }));
    let reached = json!({"status": 200, "body": {"inline_string": "reached"}});
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "suite",
        "http_protocol_options": {"allow_custom_methods": true},
        "http2_protocol_options": {"allow_connect": true},
        "upgrade_configs": [{"upgrade_type": "CONNECT"}, {"upgrade_type": "websocket"}],
        "access_log": access_log(
            counters,
            log,
            &[("case", "%REQ(X-CASE)%"), ("details", "%RESPONSE_CODE_DETAILS%"), ("status", "%RESPONSE_CODE%")]
        ),
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"connect_matcher": {}}, "direct_response": reached},
            {"match": {"prefix": ""}, "direct_response": reached}
        ]}]},
        "http_filters": http_filters
    });
    let filters = json!([{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]);
    let tls = json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "tls_certificates": [{
                    "certificate_chain": {"filename": folder.join("server.pem")},
                    "private_key": {"filename": folder.join("server.key")}
                }],
                "validation_context": {
                    "trusted_ca": {"filename": folder.join("trusted.pem")},
                    "trust_chain_verification": "ACCEPT_UNTRUSTED"
                }
            }
        }
    });
    json!({
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "listener_filters": listener_filters(),
        "filter_chains": [
            {"filter_chain_match": {"transport_protocol": "tls"}, "transport_socket": tls, "filters": filters},
            {"filter_chain_match": {"transport_protocol": "raw_buffer"}, "filters": filters}
        ]
    })
}
