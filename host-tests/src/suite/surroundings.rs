//! What surrounds the filter in both hosts: the names and values that other filters leave for it.

use serde_json::{Map, Value, json};

/// The filter state by which Envoy tells the address of a connection's other end.
pub(super) const DIRECT_ADDRESS_KEY: &str = "sallyport.direct_remote_address";

/// That address: clients connect over loopback, whatever the PROXY protocol and headers say of them.
pub(super) const DIRECT_ADDRESS: &str = "127.0.0.1";

/// The filter state that tells who asks, in the suites set from a header so that cases can say.
pub(super) const PEER_KEY: &str = "io.istio.peer_principal";
pub(super) const PEER_HEADER: &str = "x-suite-peer";

/// Where Envoy's JWT filter keeps the claims of a token that it has validated.
pub(super) const JWT_FILTER: &str = "envoy.filters.http.jwt_authn";

/// The key of the claims there.
pub(super) const PAYLOAD: &str = "payload";

/// The key and the header of tokens of another provider, which is named after it as Envoy Gateway does.
pub(super) const CORP: &str = "corp";
pub(super) const CORP_HEADER: &str = "x-corp-token";

/// The key of why a token was not validated.
pub(super) const FAILED_STATUS: &str = "failed_status";

/// The metadata that is there whatever a client sends, by filter.
pub(super) fn other_metadata() -> Map<String, Value> {
    let values = json!({"tier": "gold", "regions": ["eu", "us"], "weight": 1});
    [("envoy.filters.http.suite".to_owned(), values)].into_iter().collect()
}
