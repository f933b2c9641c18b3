//! Counters that are added up in the module: one host call a second instead of one a request.

use std::cell::Cell;

use crate::host::Host;

/// Counter of the proxy's statistics.
///
/// If the proxy has no metrics it counts nothing: decisions matter more.
#[derive(Debug)]
pub struct Counter<H> {
    host: H,
    id: Option<u32>,
    pending: Cell<u32>,
}

impl<H: Host> Counter<H> {
    /// Defines `sallyport.<name>`. Names come from code and configuration, never from a request.
    pub fn new(host: H, name: &str) -> Self {
        Self { host, id: host.define_counter(&format!("sallyport.{name}")).ok(), pending: Cell::new(0) }
    }

    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `count`.
    pub fn add(&self, count: u32) {
        self.pending.set(self.pending.get().saturating_add(count));
    }

    /// Reports to the proxy what was added since the last flush. What the proxy refuses is reported at the next.
    pub fn flush(&self) {
        let pending = self.pending.take();
        if let Some(id) = self.id
            && pending > 0
            && self.host.increment_counter(id, i64::from(pending)).is_err()
        {
            self.pending.set(pending);
        }
    }
}

#[cfg(test)]
mod tests;
