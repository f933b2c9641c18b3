//! All that the host side of one instance holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::stream::{Handshake, Stream};

/// `proxy_status_t`, as far as this host answers with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Ok = 0,
    NotFound = 1,
    BadArgument = 2,
    InvalidMemoryAccess = 6,
    InternalFailure = 10,
    Unimplemented = 12,
}

/// A line that the module has logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// `proxy_log_level_t`: 0 trace, 1 debug, 2 info, 3 warn, 4 error, 5 critical.
    pub level: u32,
    /// The text.
    pub message: String,
}

/// A host call that the module makes, with what it asks for: `proxy_get_property connection.id`.
pub type Crossing = String;

/// Makes host calls fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The calls that fail: those whose [`Crossing`] begins with this.
    pub of: Crossing,
    /// What they answer (`proxy_status_t`); 10 is what Envoy answers for a capability that is not granted.
    pub status: u32,
}

impl Fault {
    /// Each of these calls failing with BadArgument, InternalFailure, Unimplemented, and a status that nobody knows.
    pub fn of_each(calls: impl IntoIterator<Item: Into<Crossing>>) -> impl Iterator<Item = Self> {
        let failing = |call: Crossing| [2, 10, 12, 99].map(|status| Self { of: call.clone(), status });
        calls.into_iter().map(Into::into).flat_map(failing)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answers {}", self.of, self.status)
    }
}

/// The state behind the imports of one instance.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) log: Vec<LogLine>,
    pub(super) configuration: Vec<u8>,
    /// What is being configured, if anything is.
    pub(super) configuring: bool,
    pub(super) tick_period: u32,
    pub(super) metrics: Vec<(String, u64)>,
    /// The keys that were declared, each with its root context, which Envoy lets declare it once.
    pub(super) declared: BTreeSet<(u32, String)>,
    /// The keys of filter state that lasts as long as the connection.
    pub(super) of_connections: BTreeSet<String>,
    /// Filter state that the module has set on connections. Two with the same `connection.id`, as HTTP/3 can have them,
    /// are told apart by what a handshake fixes.
    pub(super) on_connections: BTreeMap<Handshake, BTreeMap<String, Vec<u8>>>,
    pub(super) roots: BTreeSet<u32>,
    pub(super) streams: BTreeMap<u32, Stream>,
    /// The context that the current callback is about.
    pub(super) current: u32,
    pub(super) crossings: Vec<Crossing>,
    pub(super) fault: Option<Fault>,
    /// Whether crossings are not written down, for a soak.
    pub(super) quiet: bool,
    /// What the clock shows; none is the machine's own.
    pub(super) time: Option<Duration>,
}

impl State {
    pub(super) fn stream(&self) -> Option<&Stream> {
        self.streams.get(&self.current)
    }

    pub(super) fn stream_mut(&mut self) -> Option<&mut Stream> {
        self.streams.get_mut(&self.current)
    }

    /// An attribute of the current stream. A word that Envoy does not know is filter state that a module has set.
    pub(super) fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        let stream = self.stream()?;
        let known = || {
            let [word] = path else { return None };
            let key = format!("wasm.{word}");
            let on_connection = self.on_connections.get(&stream.connection.handshake());
            stream.filter_state.get(&key).or_else(|| on_connection?.get(&key)).cloned()
        };
        stream.property(path).or_else(known)
    }

    /// Sets filter state of the current stream, or of its connection where that was declared; false where there is no
    /// stream.
    pub(super) fn set_filter_state(&mut self, key: String, value: Vec<u8>) -> bool {
        let of_connection = self.of_connections.contains(&key);
        let Some(stream) = self.streams.get_mut(&self.current) else { return false };
        let state = match of_connection {
            true => self.on_connections.entry(stream.connection.handshake()).or_default(),
            false => &mut stream.filter_state,
        };
        state.insert(key, value);
        true
    }

    /// Counts a crossing; the status to answer where it is to fail.
    pub(super) fn cross(&mut self, call: &str, what: &[u8]) -> Option<u32> {
        if self.quiet {
            return None;
        }
        let what = String::from_utf8_lossy(what).replace('\0', ".");
        let crossing = if what.is_empty() { call.to_owned() } else { format!("{call} {what}") };
        let failing = self.fault.as_ref().filter(|fault| crossing.starts_with(&fault.of)).map(|fault| fault.status);
        self.crossings.push(crossing);
        failing
    }

    /// The number of a metric; the same name gives the same number.
    pub(super) fn metric(&mut self, name: &str) -> usize {
        if let Some(known) = self.metrics.iter().position(|(known, _)| known == name) {
            return known;
        }
        self.metrics.push((name.to_owned(), 0));
        self.metrics.len() - 1
    }
}
