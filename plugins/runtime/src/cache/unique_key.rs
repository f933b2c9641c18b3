//! Filter-state keys that nothing else on the same worker uses.

use std::cell::Cell;

use crate::host::Host;

thread_local! {
    /// Keys that this VM has made.
    static COUNT: Cell<u32> = const { Cell::new(0) };
}

/// Key of 17 ASCII characters: Envoy stores one of this length without allocating.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct UniqueKey([u8; 17]);

impl UniqueKey {
    /// Makes a key that begins with `kind`, `None` if the host has no clock.
    pub(crate) fn new(host: impl Host, kind: u8) -> Option<Self> {
        // The count differs from key to key of this VM, the time from those of other VMs on the same worker.
        let (time, count) = (host.current_time().ok()?, COUNT.get());
        COUNT.set(count.checked_add(1)?);
        Some(Self::encode(kind, time.as_nanos(), count))
    }

    fn encode(kind: u8, time: u128, count: u32) -> Self {
        let mut bits = time << 32 | u128::from(count);
        let mut characters = [kind; 17];
        for character in characters.iter_mut().skip(1) {
            *character = b'0' + u8::try_from(bits & 63).unwrap_or_default();
            bits >>= 6;
        }
        Self(characters)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
