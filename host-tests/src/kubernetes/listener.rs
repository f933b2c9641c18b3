//! Parts of listeners that both products make in the same way.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

/// The name of the server's certificate in the folder of a run, without its ending.
pub const CERTIFICATE: &str = "workload";
/// The file with the authorities of clients in the folder of a run.
pub const TRUSTED: &str = "trusted.pem";

/// The cluster of the service.
pub(crate) const UPSTREAM: &str = "upstream";

const MANAGER: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// The socket of a listener with TLS. Where both products take certificates by a discovery service, here they are files.
pub(crate) fn tls(folder: &Path, validation: Option<Value>) -> Value {
    let mut context = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificates": [{
                "certificate_chain": {"filename": folder.join(format!("{CERTIFICATE}.pem"))},
                "private_key": {"filename": folder.join(format!("{CERTIFICATE}.key"))}
            }]
        }
    });
    if let Some(mut validation) = validation {
        merge(&mut validation, &json!({"trusted_ca": {"filename": folder.join(TRUSTED)}}));
        let asks = json!({
            "require_client_certificate": true, "common_tls_context": {"validation_context": validation}
        });
        merge(&mut context, &asks);
    }
    json!({"name": "envoy.transport_sockets.tls", "typed_config": context})
}

/// An HTTP connection manager with these filters, a router behind them, and one route. An access log tells the tests what
/// the filters decide.
pub(crate) fn manager(settings: &Value, mut filters: Vec<Value>, route: &Value) -> Value {
    filters.push(json!({"name": "envoy.filters.http.router", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
    }}));
    let state = |filter: &str| format!("%FILTER_STATE(wasm.sallyport.{filter}.reason:PLAIN)%");
    let mut manager = json!({
        "@type": MANAGER,
        "stat_prefix": "http",
        "http_filters": filters,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "access_log": [{"name": "envoy.access_loggers.stdout", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": {"json_format": {
                "status": "%RESPONSE_CODE%", "identity": state("identity_authz"), "egress": state("egress_allowlist")
            }}
        }}]
    });
    merge(&mut manager, settings);
    json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": manager})
}

/// A route of everything to the service.
pub(crate) fn to_the_service() -> Value {
    json!({"match": {"prefix": "/"}, "route": {"cluster": UPSTREAM}})
}

/// A whole file with a listener `ingress` of these filter chains.
pub(crate) fn bootstrap(chains: &[Value], upstream: SocketAddr) -> Value {
    let endpoint =
        json!({"address": {"socket_address": {"address": upstream.ip().to_string(), "port_value": upstream.port()}}});
    json!({
        "node": {"id": "test", "cluster": "test"},
        "static_resources": {
            "clusters": [{"name": UPSTREAM, "type": "STATIC", "load_assignment": {
                "cluster_name": UPSTREAM, "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]
            }}],
            "listeners": [{
                "name": "ingress",
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
                "listener_filters": [{"name": "envoy.filters.listener.tls_inspector", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
                }}],
                "filter_chains": chains
            }]
        }
    })
}

/// Merges `from` into `to`: objects key by key, lists one behind the other, anything else in the place of what is there, as
/// protobuf merges messages.
pub(crate) fn merge(to: &mut Value, from: &Value) {
    match (to, from) {
        (Value::Object(to), Value::Object(from)) => {
            for (key, value) in from {
                merge(to.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (Value::Array(to), Value::Array(from)) => to.extend(from.iter().cloned()),
        (to, from) => to.clone_from(from),
    }
}

/// A filter that validates tokens of this issuer with these keys, lets requests without a token pass, and keeps the payload
/// under `payload`.
pub(crate) fn jwt_authn(provider: &str, issuer: &str, payload: &str, keys: &str, spaces: &[&str]) -> Value {
    json!({"name": "envoy.filters.http.jwt_authn", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        "providers": {provider: {
            "issuer": issuer,
            "local_jwks": {"inline_string": keys},
            "payload_in_metadata": payload,
            "normalize_payload_in_metadata": {"space_delimited_claims": spaces},
            "forward": true
        }},
        "rules": [{"match": {"prefix": "/"}, "requires": {"requires_any": {"requirements": [
            {"provider_name": provider}, {"allow_missing": {}}
        ]}}}]
    }})
}
