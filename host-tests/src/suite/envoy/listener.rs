//! Listeners for cases.

use std::path::Path;

use serde_json::{Value, json};
use testbed::TokenIssuer;

use super::STATE_KEYS;
use super::tunnel::TUNNEL_HEADER;
use crate::filter;
use crate::suite::environment::{
    CORP_HEADER, CORP_PROVIDER, DIRECT_ADDRESS_KEY, JWT_FAILED_STATUS, JWT_FILTER, JWT_PAYLOAD, MARK_HEADER, MARK_KEY,
    PEER_HEADER, PEER_KEY, fixed_metadata,
};
use crate::suite::observed::DYNAMIC_KEYS;

/// Returns the configuration of a Wasm filter. Envoy's log names the VM while the plugin is configured.
pub(crate) fn filter_configuration(filter: &str, vm_id: &str, configuration: &[u8]) -> Value {
    let configuration = testbed::string_value(&String::from_utf8_lossy(configuration));
    json!({"config": testbed::wasm_plugin(filter, vm_id, &filter::path(filter), &configuration)})
}

/// Adds the `@type` of a filter's configuration, as in `http.wasm.v3.Wasm`.
pub(crate) fn with_type(configuration: &Value, kind: &str) -> Value {
    let mut typed = configuration.clone();
    if let Value::Object(keys) = &mut typed {
        keys.insert("@type".to_owned(), json!(format!("type.googleapis.com/envoy.extensions.filters.{kind}")));
    }
    typed
}

fn access_log(counters: &str, log: &Path, fields: &[(&str, &str)]) -> Value {
    let mut format: serde_json::Map<_, _> =
        fields.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    for key in DYNAMIC_KEYS {
        format.insert(key.to_owned(), json!(format!("%FILTER_STATE({key}:PLAIN)%")));
    }
    for key in STATE_KEYS {
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

/// The PROXY protocol for addresses, and the TLS inspector for the SNI.
fn listener_filters() -> Value {
    json!([
        listener_filter("envoy.filters.listener.proxy_protocol", "proxy_protocol.v3.ProxyProtocol"),
        listener_filter("envoy.filters.listener.tls_inspector", "tls_inspector.v3.TlsInspector")
    ])
}

/// The cluster of connections whose TLS is not terminated.
pub(super) const PASSTHROUGH_UPSTREAM: &str = "passthrough";

/// The cluster of a service that waits for the client's bytes, and that of a service that speaks first.
pub(super) const ECHO: &str = "echo";
pub(super) const GREETER: &str = "greeter";

/// The cluster of the service at the end of every tunnel.
pub(super) const TUNNEL: &str = "tunnel";

/// The bytes of the service that speaks first.
pub(super) const GREETING: &str = "welcome\n";

/// Returns the listeners of the TCP services, and the clusters for them.
pub(super) fn services(folder: &Path) -> (Vec<Value>, Vec<Value>) {
    let echo = json!({"@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"});
    let greeter = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config",
        "response": {"inline_string": GREETING}
    });
    let service = |(name, filter): (&str, &Value)| {
        let address = json!({"pipe": {"path": folder.join(format!("{name}.socket"))}});
        let endpoint = json!({"endpoint": {"address": address}});
        let listener = json!({
            "name": name,
            "address": address,
            "filter_chains": [{"filters": [{"name": "service", "typed_config": filter}]}]
        });
        let cluster = json!({
            "name": name,
            "type": "STATIC",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}
        });
        (listener, cluster)
    };
    [(PASSTHROUGH_UPSTREAM, &echo), (ECHO, &echo), (TUNNEL, &echo), (GREETER, &greeter)]
        .into_iter()
        .map(service)
        .unzip()
}

/// Returns a listener that forwards connections to `cluster` after the network filter, over TLS or plaintext. Not both
/// on one port: to tell them apart, Envoy waits for the client's first bytes, which never come if the server speaks
/// first.
pub(super) fn tcp_listener(
    name: &str,
    counters: &str,
    folder: &Path,
    log: &Path,
    filter: &Value,
    cluster: &str,
    tls: bool,
) -> Value {
    let immediate = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "tcp",
        "cluster": cluster
    });
    // Connects to the service once the client's certificate is known.
    let mut after_handshake = immediate.clone();
    if let Value::Object(keys) = &mut after_handshake {
        keys.insert("upstream_connect_mode".to_owned(), json!("ON_DOWNSTREAM_TLS_HANDSHAKE"));
        keys.insert("max_early_data_bytes".to_owned(), json!(65536));
    }
    let filters = |proxy: &Value| {
        json!([
            direct_address_filter(),
            {"name": "filter", "typed_config": with_type(filter, "network.wasm.v3.Wasm")},
            {"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}
        ])
    };
    let (listener_filters, chain) = match tls {
        true => (
            listener_filters(),
            json!({"transport_socket": permissive_tls(folder), "filters": filters(&after_handshake)}),
        ),
        false => (
            json!([listener_filter("envoy.filters.listener.proxy_protocol", "proxy_protocol.v3.ProxyProtocol")]),
            json!({"filters": filters(&immediate)}),
        ),
    };
    json!({
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "listener_filters": listener_filters,
        "access_log": access_log(counters, log, &[("case", "%DOWNSTREAM_REMOTE_ADDRESS%")]),
        "filter_chains": [chain]
    })
}

/// Sets the filter state with the direct peer's address.
pub(crate) fn direct_address_state() -> Value {
    json!({
        "object_key": DIRECT_ADDRESS_KEY,
        "factory_key": "envoy.string",
        "format_string": {"text_format_source": {"inline_string": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"}}
    })
}

/// Returns the network filter that sets it.
fn direct_address_filter() -> Value {
    let configuration = json!({"on_new_connection": [direct_address_state()]});
    json!({
        "name": "direct_address",
        "typed_config": with_type(&configuration, "network.set_filter_state.v3.Config")
    })
}

/// Returns a listener that forwards connections without terminating their TLS.
pub(super) fn passthrough_listener(name: &str, counters: &str, log: &Path, filter: &Value) -> Value {
    let mut proxy = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "passthrough",
        "cluster": PASSTHROUGH_UPSTREAM
    });
    // `identity-authz` decides at the client's first bytes.
    if counters == "identity_authz"
        && let Value::Object(keys) = &mut proxy
    {
        keys.insert("upstream_connect_mode".to_owned(), json!("ON_DOWNSTREAM_DATA"));
        keys.insert("max_early_data_bytes".to_owned(), json!(65536));
    }
    json!({
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "listener_filters": listener_filters(),
        "access_log": access_log(counters, log, &[("case", "%DOWNSTREAM_REMOTE_ADDRESS%")]),
        "filter_chains": [{"filters": [
            direct_address_filter(),
            {"name": "filter", "typed_config": with_type(filter, "network.wasm.v3.Wasm")},
            {"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}
        ]}]
    })
}

/// Returns the filters that `identity-authz` relies on: they set the direct peer's address, the claims of validated
/// tokens, a mark of CUSTOM, and metadata.
pub(crate) fn preceding_filters(tokens: &TokenIssuer) -> Vec<Value> {
    let filter = |name: &str, kind: &str, configuration: Value| json!({"name": name, "typed_config": with_type(&configuration, kind)});
    let from_header = |key: &str, header: &str| {
        json!({
            "object_key": key,
            "factory_key": "envoy.string",
            "format_string": {
                "text_format_source": {"inline_string": format!("%REQ({header})%")},
                "omit_empty_values": true
            },
            "skip_if_empty": true
        })
    };
    let states = [direct_address_state(), from_header(PEER_KEY, PEER_HEADER), from_header(MARK_KEY, MARK_HEADER)];
    let filter_state = json!({"on_request_headers": states});
    let provider = |payload_key: &str, header: &str, prefix: &str| {
        json!({
            "local_jwks": {"inline_string": tokens.key_set()},
            "from_headers": [{"name": header, "value_prefix": prefix}],
            "payload_in_metadata": payload_key,
            "failed_status_in_metadata": JWT_FAILED_STATUS,
            "forward": true
        })
    };
    let validation = json!({
        "providers": {
            "trusted": provider(JWT_PAYLOAD, "authorization", "Bearer "),
            CORP_PROVIDER: provider(CORP_PROVIDER, CORP_HEADER, "")
        },
        "rules": [{"match": {"prefix": "/"}, "requires": {"requires_any": {"requirements": [
            {"provider_name": "trusted"}, {"provider_name": CORP_PROVIDER}, {"allow_missing_or_failed": {}}
        ]}}}]
    });
    let metadata: Vec<Value> = fixed_metadata()
        .into_iter()
        .map(|(filter, values)| json!({"metadata_namespace": filter, "value": values}))
        .collect();
    vec![
        filter("filter_state", "http.set_filter_state.v3.Config", filter_state),
        filter(JWT_FILTER, "http.jwt_authn.v3.JwtAuthentication", validation),
        filter("metadata", "http.set_metadata.v3.Config", json!({"metadata": metadata})),
    ]
}

/// Returns a listener with an HTTP filter chain whose route answers `reached`.
pub(super) fn listener(
    name: &str,
    counters: &str,
    folder: &Path,
    log: &Path,
    filter: &Value,
    tokens: &TokenIssuer,
) -> Value {
    let mut http_filters = preceding_filters(tokens);
    http_filters.push(json!({"name": "filter", "typed_config": with_type(filter, "http.wasm.v3.Wasm")}));
    http_filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
    }));
    let reached = json!({"status": 200, "body": {"inline_string": "reached"}});
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "suite",
        "forward_client_cert_details": "ALWAYS_FORWARD_ONLY",
        "http_protocol_options": {"allow_custom_methods": true, "accept_http_10": true},
        "http2_protocol_options": {"allow_connect": true},
        "upgrade_configs": [{"upgrade_type": "CONNECT"}, {"upgrade_type": "websocket"}],
        "access_log": access_log(
            counters,
            log,
            &[("case", "%REQ(X-CASE)%"), ("details", "%RESPONSE_CODE_DETAILS%"), ("status", "%RESPONSE_CODE%")]
        ),
        // Not every Envoy that has this listener has the service for tunnels.
        "route_config": {"validate_clusters": false, "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {
                "match": {"connect_matcher": {}, "headers": [{"name": TUNNEL_HEADER, "present_match": true}]},
                "route": {
                    "cluster": TUNNEL,
                    "upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}]
                }
            },
            {"match": {"connect_matcher": {}}, "direct_response": reached},
            {"match": {"prefix": ""}, "direct_response": reached}
        ]}]},
        "http_filters": http_filters
    });
    any_client_listener(
        name,
        folder,
        &json!([{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]),
    )
}

/// Returns a listener that accepts plaintext and TLS on one port, with any client certificate or none, and addresses by
/// the PROXY protocol.
pub(crate) fn any_client_listener(name: &str, folder: &Path, filters: &Value) -> Value {
    let tls = permissive_tls(folder);
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

/// Returns a TLS socket that accepts any client certificate or none.
fn permissive_tls(folder: &Path) -> Value {
    json!({
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
    })
}
