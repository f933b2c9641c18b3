//! Counters that are added up in the module: a crossing a second instead of one a request.

use std::cell::Cell;

use crate::host;

/// A counter of the proxy's statistics.
///
/// Where the proxy has no metrics it counts nothing: that a request is decided matters more.
#[derive(Debug)]
pub struct Counter {
    id: Option<u32>,
    pending: Cell<u32>,
}

impl Counter {
    /// Defines `sallyport.<name>`. Names come from code and configuration, never from a request.
    pub fn new(name: &str) -> Self {
        Self { id: host::define_counter(&format!("sallyport.{name}")).ok(), pending: Cell::new(0) }
    }

    /// Counts one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Counts so many.
    pub(crate) fn add(&self, count: u32) {
        self.pending.set(self.pending.get().saturating_add(count));
    }

    /// Tells the proxy what was counted since the last time.
    pub fn flush(&self) {
        let pending = self.pending.take();
        if let Some(id) = self.id
            && pending > 0
            && host::increment_counter(id, i64::from(pending)).is_err()
        {
            self.pending.set(pending);
        }
    }
}
