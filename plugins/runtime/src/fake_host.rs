//! Host for unit tests: state that a test sets and reads, and failures by the name of a call.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::abi::Bytes;
use crate::abi::status::Status;
use crate::host::{Host, HostError, Level};

/// Start of 2030, in seconds since the Unix epoch.
pub(crate) const START_OF_2030: u64 = 21_915 * 24 * 60 * 60;

const FAILURE: HostError = HostError(Status(10));

/// Proxy with any number of connections, one of which is current.
#[derive(Debug, Default)]
pub(crate) struct FakeHost {
    /// Index of the current connection.
    pub(crate) current: Cell<usize>,
    /// Attributes of the connections by path, their filter states among them.
    connections: RefCell<BTreeMap<usize, BTreeMap<String, Vec<u8>>>>,
    /// Filter states of the current stream.
    pub(crate) filter_states: RefCell<BTreeMap<String, String>>,
    /// Headers of the current request.
    pub(crate) headers: RefCell<Vec<(&'static str, Vec<u8>)>>,
    /// Keys that last as long as a connection.
    declared: RefCell<BTreeSet<String>>,
    /// Calls whose name and argument begin with this fail.
    pub(crate) failing: Cell<Option<&'static str>>,
    /// Calls since they were last taken, each as its name and argument.
    calls: RefCell<Vec<String>>,
    /// True if every connection seems to have every tag.
    pub(crate) reports_all_tags: Cell<bool>,
    pub(crate) configuration: RefCell<Vec<u8>>,
    pub(crate) contexts: RefCell<BTreeSet<u32>>,
    pub(crate) counters: RefCell<Vec<(String, i64)>>,
    pub(crate) gauges: RefCell<BTreeMap<String, u32>>,
    pub(crate) log: RefCell<Vec<(Level, String)>>,
    pub(crate) replies: RefCell<Vec<(u32, String, String)>>,
    pub(crate) closed: Cell<usize>,
    pub(crate) seconds: Cell<u64>,
    pub(crate) memory_pages: Cell<usize>,
}

impl FakeHost {
    /// Makes a host that lasts as long as the test binary, for plugins, which own their host.
    pub(crate) fn leaked() -> &'static Self {
        Box::leak(Box::default())
    }

    /// Makes `connection` the current one, with a validated certificate of `uri`.
    pub(crate) fn mtls(&self, connection: usize, uri: &str) {
        self.current.set(connection);
        self.set("connection\0mtls", &[1]);
        self.set("connection\0peer_certificate_valid", &[1]);
        self.set("connection\0uri_san_peer_certificate", uri.as_bytes());
    }

    /// Gives the current connection a certificate that ends at the start of 2030.
    pub(crate) fn set_certificate(&self) {
        let mut params = rcgen::CertificateParams::default();
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        self.set("connection\0peer_certificate", certificate.pem().as_bytes());
    }

    /// Sets an attribute of the current connection.
    pub(crate) fn set(&self, path: &str, value: &[u8]) {
        let mut connections = self.connections.borrow_mut();
        connections.entry(self.current.get()).or_default().insert(path.to_owned(), value.to_vec());
    }

    /// Attributes of the current connection that the module has set.
    pub(crate) fn kept(&self) -> usize {
        let declared = self.declared.borrow();
        let connections = self.connections.borrow();
        connections.get(&self.current.get()).map_or(0, |all| all.keys().filter(|key| declared.contains(*key)).count())
    }

    /// Number of keys that last as long as a connection.
    pub(crate) fn declared_keys(&self) -> usize {
        self.declared.borrow().len()
    }

    /// Calls since this was last asked for.
    pub(crate) fn take_calls(&self) -> Vec<String> {
        self.calls.take()
    }

    /// Value of `sallyport.<name>`.
    pub(crate) fn counter(&self, name: &str) -> Option<i64> {
        let full = format!("sallyport.{name}");
        self.counters.borrow().iter().find(|(name, _)| *name == full).map(|(_, value)| *value)
    }

    fn call(&self, name: &str, argument: &str) -> Result<(), HostError> {
        let call = format!("{name} {}", argument.replace('\0', "."));
        let fails = self.failing.get().is_some_and(|failing| call.starts_with(failing));
        self.calls.borrow_mut().push(call);
        if fails { Err(FAILURE) } else { Ok(()) }
    }

    fn attribute(&self, path: &str) -> Option<Vec<u8>> {
        let connections = self.connections.borrow();
        let set = connections.get(&self.current.get()).and_then(|attributes| attributes.get(path).cloned());
        // Envoy says of every connection whether the client presented a certificate.
        set.or_else(|| (path == "connection\0mtls").then(|| vec![0]))
    }
}

impl Host for &FakeHost {
    fn log(self, level: Level, message: &str) {
        self.log.borrow_mut().push((level, message.to_owned()));
    }

    fn set_tick_period(self, _milliseconds: u32) -> Result<(), HostError> {
        self.call("set_tick_period", "")
    }

    fn current_time(self) -> Result<Duration, HostError> {
        self.call("current_time", "")?;
        Ok(Duration::from_secs(self.seconds.get()))
    }

    fn configuration(self, _size: usize) -> Result<Bytes, HostError> {
        self.call("configuration", "")?;
        Ok(self.configuration.borrow().clone().into())
    }

    fn request_body(self, _start: usize, _most: usize) -> Result<Bytes, HostError> {
        Err(FAILURE)
    }

    fn single_header(self, name: &'static str) -> Result<Option<Bytes>, HostError> {
        self.call("single_header", name)?;
        let headers = self.headers.borrow();
        Ok(headers.iter().find(|(other, _)| *other == name).map(|(_, value)| value.clone().into()))
    }

    fn request_headers(self) -> Result<Bytes, HostError> {
        self.call("request_headers", "")?;
        let headers = self.headers.borrow();
        let number = |number: usize| u32::try_from(number).expect("a short text").to_le_bytes();
        let mut bytes = number(headers.len()).to_vec();
        for (name, value) in headers.iter() {
            bytes.extend([number(name.len()), number(value.len())].concat());
        }
        for (name, value) in headers.iter() {
            bytes.extend([name.as_bytes(), b"\0", value, b"\0"].concat());
        }
        Ok(bytes.into())
    }

    fn property(self, path: &str) -> Result<Option<Bytes>, HostError> {
        self.call("property", path)?;
        Ok(self.attribute(path).map(Bytes::from))
    }

    fn has_property(self, path: &[u8]) -> bool {
        let path = str::from_utf8(path).expect("a path in ASCII");
        let reported = self.reports_all_tags.get() || self.attribute(path).is_some();
        self.call("has_property", path).is_ok() && reported
    }

    fn set_filter_state(self, key: &str, value: &[u8]) -> Result<(), HostError> {
        self.call("set_filter_state", key)?;
        match self.declared.borrow().contains(key) {
            true => self.set(key, value),
            false => {
                let text = String::from_utf8(value.to_vec()).expect("a text");
                self.filter_states.borrow_mut().insert(key.to_owned(), text);
            }
        }
        Ok(())
    }

    fn set_envoy_filter_state(self, key: &str, value: &str) -> Result<(), HostError> {
        self.call("set_envoy_filter_state", key)?;
        self.filter_states.borrow_mut().insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    fn declare_for_connections(self, key: &str) -> Result<(), HostError> {
        self.call("declare_for_connections", key)?;
        self.declared.borrow_mut().insert(key.to_owned());
        Ok(())
    }

    fn reply_denied(self, status: u32, details: &str, body: &str) -> Result<(), HostError> {
        self.call("reply_denied", details)?;
        self.replies.borrow_mut().push((status, details.to_owned(), body.to_owned()));
        Ok(())
    }

    fn close_downstream(self) -> Result<(), HostError> {
        self.call("close_downstream", "")?;
        self.closed.set(self.closed.get() + 1);
        Ok(())
    }

    fn context_exists(self, context: u32) -> bool {
        self.contexts.borrow().contains(&context)
    }

    fn set_effective_context(self, context: u32) {
        let _ok = self.call("set_effective_context", &context.to_string());
    }

    fn define_counter(self, name: &str) -> Result<u32, HostError> {
        self.call("define_counter", name)?;
        let mut counters = self.counters.borrow_mut();
        let index = counters.iter().position(|(other, _)| other == name).unwrap_or_else(|| {
            counters.push((name.to_owned(), 0));
            counters.len() - 1
        });
        Ok(u32::try_from(index).expect("few counters"))
    }

    fn increment_counter(self, id: u32, by: i64) -> Result<(), HostError> {
        self.call("increment_counter", &id.to_string())?;
        self.counters.borrow_mut()[usize::try_from(id).expect("a 64-bit machine")].1 += by;
        Ok(())
    }

    fn set_gauge(self, name: &str, value: u32) -> Result<(), HostError> {
        self.call("set_gauge", name)?;
        self.gauges.borrow_mut().insert(name.to_owned(), value);
        Ok(())
    }

    fn memory_pages(self) -> usize {
        self.memory_pages.get()
    }
}
