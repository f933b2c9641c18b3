//! A mark on connections that the proxy keeps for as long as they last.

use std::cell::Cell;

use crate::host;

thread_local! {
    /// How many marks this VM has made.
    static MADE: Cell<u32> = const { Cell::new(0) };
}

/// Tells connections that were marked from those that were not, by one crossing that brings no bytes back: it costs a
/// third of asking for `connection.id`.
///
/// The mark is a filter state of the connection, under a name that no other configuration has, so neither another filter
/// nor another configuration of this one takes it for its own. Clients cannot reach it.
#[derive(Debug)]
pub struct ConnectionMark {
    name: String,
}

impl ConnectionMark {
    /// A mark that no connection has so far; none where the proxy cannot keep one.
    pub fn new() -> Option<Self> {
        // The number tells marks of this VM apart, the time those of another one on the same worker.
        let (time, number) = (host::time().ok()?, MADE.get());
        MADE.set(number.checked_add(1)?);
        let name = format!("sallyport.{:x}{number:08x}", time.as_nanos());
        host::declare_for_connections(&name).ok()?;
        Some(Self { name })
    }

    /// Whether the connection of the current request has it. Where the proxy does not tell, it has not.
    pub fn is_set(&self) -> bool {
        matches!(host::property(&self.name), Ok(Some(_)))
    }

    /// Marks the connection of the current request. One that cannot be marked is asked about again.
    pub fn set(&self) {
        let _unmarked = host::set_filter_state(&self.name, "");
    }
}
