//! The environment of the filter in both hosts: the filter state and metadata that other filters leave for it.

use serde_json::{Map, Value, json};

/// The filter state with the direct peer's address.
pub(super) const DIRECT_ADDRESS_KEY: &str = "sallyport.direct_remote_address";

/// The direct peer's address: clients connect over loopback, whatever the PROXY protocol and headers say.
pub(super) const DIRECT_ADDRESS: &str = "127.0.0.1";

/// The filter state with the caller's identity, which the suites set from the header [`PEER_HEADER`].
pub(super) const PEER_KEY: &str = "io.istio.peer_principal";
pub(super) const PEER_HEADER: &str = "x-suite-peer";

/// The filter state with the mark of an instance with `stage: custom`, which the suites set from the header
/// [`MARK_HEADER`].
pub(super) const MARK_KEY: &str = "wasm.sallyport.identity_authz.custom";
pub(super) const MARK_HEADER: &str = "x-suite-mark";

/// The metadata namespace in which Envoy's JWT filter keeps the claims of validated tokens, and their key there.
pub(super) const JWT_FILTER: &str = "envoy.filters.http.jwt_authn";
pub(super) const JWT_PAYLOAD: &str = "payload";

/// A second provider of the JWT filter, which keeps claims under its name as Envoy Gateway configures it, and the header
/// of its tokens.
pub(super) const CORP_PROVIDER: &str = "corp";
pub(super) const CORP_HEADER: &str = "x-corp-token";

/// The key under which the JWT filter says why it did not validate a token.
pub(super) const JWT_FAILED_STATUS: &str = "failed_status";

/// Returns the metadata of every request, by filter.
pub(super) fn fixed_metadata() -> Map<String, Value> {
    let values = json!({"tier": "gold", "regions": ["eu", "us"], "weight": 1});
    [("envoy.filters.http.suite".to_owned(), values)].into_iter().collect()
}
