//! The host's state for one instance.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::imports::Shared;
use super::profile::Profile;
use super::stream::{ConnectionKey, Stream};

/// The values of `proxy_status_t` that this host returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Ok = 0,
    NotFound = 1,
    BadArgument = 2,
    SerializationFailure = 3,
    ParseFailure = 4,
    InvalidMemoryAccess = 6,
    Empty = 7,
    CasMismatch = 8,
    InternalFailure = 10,
    Unimplemented = 12,
}

/// A line that the module logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// `proxy_log_level_t`: 0 trace, 1 debug, 2 info, 3 warn, 4 error, 5 critical.
    pub level: u32,
    /// The text.
    pub message: String,
}

/// A host call of the module: the function and, where it names something, that name, as in
/// `proxy_get_property connection.id`.
pub type HostCall = String;

/// A failure of host calls that a test injects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InjectedFailure {
    /// The calls that fail: every [`HostCall`] that begins with this text.
    pub call: HostCall,
    /// The status that they return (`proxy_status_t`). Envoy returns 10 for a capability that is not granted.
    pub status: u32,
}

impl InjectedFailure {
    /// The statuses of failures: every one of the specification but NotFound, which is an answer, and some that no
    /// specification has.
    pub const STATUSES: [u32; 14] = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 99, 255, u32::MAX];

    /// Returns failures of each call, with each of the [`STATUSES`](Self::STATUSES).
    pub fn each_of(calls: impl IntoIterator<Item: Into<HostCall>>) -> impl Iterator<Item = Self> {
        let failures = |call: HostCall| Self::STATUSES.map(|status| Self { call: call.clone(), status });
        calls.into_iter().map(Into::into).flat_map(failures)
    }
}

/// Bytes that host calls return instead of those that they would, which a test injects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InjectedAnswer {
    /// The calls that return them: every [`HostCall`] that begins with this text, where it returns bytes.
    pub call: HostCall,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl InjectedAnswer {
    /// Returns answers of sizes that nothing has to each call: none, one byte, less and more than an integer has, and far
    /// too many.
    pub fn each_of(calls: impl IntoIterator<Item: Into<HostCall>>) -> impl Iterator<Item = Self> {
        let answers =
            |call: HostCall| [0, 1, 7, 9, 70_000].map(|size| Self { call: call.clone(), bytes: vec![0xff; size] });
        calls.into_iter().map(Into::into).flat_map(answers)
    }
}

impl fmt::Display for InjectedAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} returns {} bytes", self.call, self.bytes.len())
    }
}

impl fmt::Display for InjectedFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} returns {}", self.call, self.status)
    }
}

/// The state behind the imports of one instance.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) profile: Profile,
    pub(super) log: Vec<LogLine>,
    pub(super) configuration: Vec<u8>,
    /// True during `proxy_on_configure`, the only time at which the configuration can be read.
    pub(super) configuring: bool,
    /// In milliseconds; 0 means that the timer never fires.
    pub(super) tick_period: u32,
    pub(super) metrics: Vec<Metric>,
    pub(super) shared: Shared,
    /// The declared filter-state keys, each with its root context: Envoy rejects a second declaration in the same one.
    pub(super) declared: BTreeSet<(u32, String)>,
    /// The filter-state keys whose values live as long as the connection.
    pub(super) connection_scoped: BTreeSet<String>,
    /// The connection-scoped filter state. Two connections with the same `connection.id`, which HTTP/3 allows, are told
    /// apart by what the handshake fixes.
    pub(super) connection_state: BTreeMap<ConnectionKey, BTreeMap<String, Vec<u8>>>,
    pub(super) roots: BTreeSet<u32>,
    pub(super) streams: BTreeMap<u32, Stream>,
    /// The effective context: the one that host calls are about.
    pub(super) context: u32,
    pub(super) host_calls: Vec<HostCall>,
    pub(super) injected_failure: Option<InjectedFailure>,
    pub(super) injected_answer: Option<InjectedAnswer>,
    /// The bytes that the current host call has to return instead of its own.
    pub(super) answer: Option<Vec<u8>>,
    /// Stops the recording of host calls, so that a soak test does not pay for it.
    pub(super) unrecorded: bool,
    /// The time that the clock shows; `None` is the machine's own.
    pub(super) time: Option<Duration>,
    /// The attributes that the module has asked for, with a dot between their parts.
    pub(super) attributes: BTreeSet<String>,
}

impl State {
    pub(super) fn stream(&self) -> Option<&Stream> {
        self.streams.get(&self.context)
    }

    pub(super) fn stream_mut(&mut self) -> Option<&mut Stream> {
        self.streams.get_mut(&self.context)
    }

    /// Returns an attribute of the current stream. A single name that Envoy does not know is filter state that a module
    /// has set.
    pub(super) fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        let stream = self.stream()?;
        match self.profile {
            Profile::Envoy => {}
            Profile::NoAttributes | Profile::HeadersAlone => return None,
            Profile::TextAttributes => return stream.text_property(path),
        }
        let module_state = || {
            let [name] = path else { return None };
            let key = format!("wasm.{name}");
            let connection_state = self.connection_state.get(&stream.connection.key());
            stream.filter_state.get(&key).or_else(|| connection_state?.get(&key)).cloned()
        };
        stream.property(path).or_else(module_state)
    }

    /// Sets filter state of the current stream, or of its connection if the key was declared so. Returns false if there
    /// is no stream.
    pub(super) fn set_filter_state(&mut self, key: String, value: Vec<u8>) -> bool {
        let connection_scoped = self.connection_scoped.contains(&key);
        let Some(stream) = self.streams.get_mut(&self.context).filter(|_| self.profile.has_extensions()) else {
            return false;
        };
        let state = match connection_scoped {
            true => self.connection_state.entry(stream.connection.key()).or_default(),
            false => &mut stream.filter_state,
        };
        state.insert(key, value);
        true
    }

    /// Records a host call. Returns the status if it has to fail: the injected one, or Unimplemented.
    pub(super) fn record(&mut self, function: &str, subject: &[u8]) -> Option<u32> {
        if self.unrecorded {
            return None;
        }
        if !self.profile.implements(function) {
            return Some(Status::Unimplemented as u32);
        }
        let subject = String::from_utf8_lossy(subject).replace('\0', ".");
        let call = if subject.is_empty() { function.to_owned() } else { format!("{function} {subject}") };
        let failure = self.injected_failure.as_ref().filter(|failure| call.starts_with(&failure.call));
        let status = failure.map(|failure| failure.status);
        let answer = self.injected_answer.as_ref().filter(|answer| call.starts_with(&answer.call));
        self.answer = answer.map(|answer| answer.bytes.clone());
        self.host_calls.push(call);
        status
    }

    /// Returns the index of the metric with this name and kind, which it adds if there is none.
    pub(super) fn metric(&mut self, name: &str, kind: MetricKind) -> usize {
        if let Some(index) = self.metrics.iter().position(|known| known.name == name && known.kind == kind) {
            return index;
        }
        self.metrics.push(Metric { name: name.to_owned(), kind, value: 0 });
        self.metrics.len() - 1
    }
}

/// Metric that a module defined.
#[derive(Debug)]
pub(super) struct Metric {
    /// Name in full.
    pub(super) name: String,
    /// Kind that it was defined with.
    pub(super) kind: MetricKind,
    /// Value so far.
    pub(super) value: u64,
}

/// Kind of a metric (`proxy_metric_type_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetricKind {
    /// Goes up only.
    Counter,
    /// Is set to any value.
    Gauge,
    /// Counts values, which the host does not keep.
    Histogram,
}
