//! A filter that lets everything through, and ends its VM when a test asks for it.
//!
//! It traps at a request with the header `x-trap`; with the configuration `first bytes` at the first bytes of a
//! connection; with `one alone` when its VM loads a second configuration. Its callbacks are those of `identity-authz`.

use std::cell::Cell;
use std::process;

use sallyport_policy::ConfigErrors;
use sallyport_runtime::{Action, Bytes, BytesPlugin, Host, Plugin, ProxyHost, Side};

sallyport_runtime::filter!(TrapOnDemand, bytes);

thread_local! {
    static HAS_LOADED: Cell<bool> = const { Cell::new(false) };
}

struct TrapOnDemand {
    traps_at_first_bytes: bool,
}

impl Plugin for TrapOnDemand {
    const NAME: &'static str = "trap_on_demand";

    type Host = ProxyHost;

    type Stream = ();

    fn configure(_host: ProxyHost, configuration: Bytes) -> Result<Self, ConfigErrors> {
        if HAS_LOADED.replace(true) && *configuration == *b"one alone" {
            process::abort();
        }
        Ok(Self { traps_at_first_bytes: *configuration == *b"first bytes" })
    }

    fn on_request_headers(&self) -> Action {
        if !matches!(ProxyHost.single_header("x-trap"), Ok(None)) {
            process::abort();
        }
        Action::Continue
    }

    fn on_tick(&self) {}
}

impl BytesPlugin for TrapOnDemand {
    fn on_first_bytes(&self, _from: Side, _is_probe: bool) -> Action {
        if self.traps_at_first_bytes {
            process::abort();
        }
        Action::Continue
    }
}
