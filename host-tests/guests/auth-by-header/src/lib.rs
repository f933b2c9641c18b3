//! A filter by the crate `proxy-wasm` that allows a request with the configured token in `x-token`, denies others with
//! 403, and adds a header to every response.
//!
//! It reports decisions as the filters of this repository do, so that the suites can check them: filter state
//! `sallyport.auth_by_header.decision`, counters `allowed` and `denied`.

#![expect(missing_docs, reason = "the function that `proxy_wasm::main!` exports has no documentation")]

use std::rc::Rc;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel, MetricType, Status};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}}

/// The configured plugin.
#[derive(Default)]
struct Root(Rc<Settings>);

/// The configuration and the counters, which all requests share.
#[derive(Default)]
struct Settings {
    token: Vec<u8>,
    allowed: u32,
    denied: u32,
}

impl Settings {
    fn new(token: Vec<u8>) -> Result<Self, Status> {
        let counter =
            |name: &str| hostcalls::define_metric(MetricType::Counter, &format!("sallyport.auth_by_header.{name}"));
        Ok(Self { token, allowed: counter("allowed")?, denied: counter("denied")? })
    }
}

fn log_error(message: &str) {
    // There is no other place to report a failed log call to.
    let _ignored = hostcalls::log(LogLevel::Error, message);
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let token = self.get_plugin_configuration().unwrap_or_default();
        if token.is_empty() {
            log_error("sallyport auth-by-header: the configuration has 1 error:");
            log_error("it is empty, expected the token that x-token must have");
            return false;
        }
        match Settings::new(token) {
            Ok(settings) => self.0 = Rc::new(settings),
            Err(status) => {
                log_error(&format!("sallyport auth-by-header: a counter could not be defined: {status:?}"));
                return false;
            }
        }
        true
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Request(Rc::clone(&self.0))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// One request.
struct Request(Rc<Settings>);

impl Context for Request {}

impl HttpContext for Request {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        // The variant that returns a String panics on a value that is not UTF-8.
        let allowed = self.get_http_request_header_bytes("x-token").as_ref() == Some(&self.0.token);
        let counter = if allowed { self.0.allowed } else { self.0.denied };
        if let Err(status) = hostcalls::increment_metric(counter, 1) {
            log_error(&format!("a request was not counted: {status:?}"));
        }
        if allowed {
            return Action::Continue;
        }
        self.set_property(vec!["sallyport.auth_by_header.decision"], Some(b"deny"));
        self.send_http_response(403, vec![("content-type", "text/plain")], Some(b"x-token is not the token"));
        Action::Pause
    }

    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        self.add_http_response_header("x-checked-by", "auth-by-header");
        Action::Continue
    }
}
