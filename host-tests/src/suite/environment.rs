//! The environment of the filter in both hosts: the filter state and metadata that other filters leave for it.

use serde_json::{Map, Value, json};

/// The filter state with the direct peer's address.
pub(super) const DIRECT_ADDRESS_KEY: &str = "sallyport.direct_remote_address";

/// The direct peer's address: clients connect over loopback, whatever the PROXY protocol and headers say.
pub(super) const DIRECT_ADDRESS: &str = "127.0.0.1";

/// The filter state with the caller's identity, which the suites set from the header [`PEER_HEADER`].
pub(super) const PEER_KEY: &str = "io.istio.peer_principal";
pub(super) const PEER_HEADER: &str = "x-suite-peer";

/// The metadata namespace in which Envoy's JWT filter keeps the claims of validated tokens, and their key there.
pub(super) const JWT_FILTER: &str = "envoy.filters.http.jwt_authn";
pub(super) const JWT_PAYLOAD: &str = "payload";

/// Returns the metadata of every request, by filter.
pub(super) fn fixed_metadata() -> Map<String, Value> {
    let values = json!({"tier": "gold", "regions": ["eu", "us"], "weight": 1});
    [("envoy.filters.http.suite".to_owned(), values)].into_iter().collect()
}
