//! Proxies other than Envoy, by what they lack.

/// A proxy that runs a module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Envoy.
    #[default]
    Envoy,
    /// A proxy with the functions of the ABI, without Envoy's attributes and foreign functions: it answers NotFound.
    NoAttributes,
    /// A proxy that answers Unimplemented to whatever is not about headers, responses, the configuration and the log.
    HeadersAlone,
    /// A proxy that has some of the attributes, as text, as Kong's ngx_wasm_module has.
    TextAttributes,
}

/// The functions of [`Profile::HeadersAlone`].
const HEADERS_ALONE: [&str; 6] = [
    "proxy_get_buffer_bytes",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_pairs",
    "proxy_get_header_map_value",
    "proxy_log",
    "proxy_send_local_response",
];

impl Profile {
    /// Returns whether the proxy implements a function of the ABI.
    pub(super) fn implements(self, function: &str) -> bool {
        self != Self::HeadersAlone || HEADERS_ALONE.contains(&function)
    }

    /// Returns whether the proxy keeps what a module sets, and has Envoy's foreign functions.
    pub(super) fn has_extensions(self) -> bool {
        self == Self::Envoy
    }
}
