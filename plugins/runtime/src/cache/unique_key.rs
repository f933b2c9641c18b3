//! Names for filter state of connections, which nothing else on the same worker has.

use std::cell::Cell;

use crate::host;

thread_local! {
    /// How many names this VM has made.
    static MADE: Cell<u32> = const { Cell::new(0) };
}

/// A name in ASCII, of 17 letters: Envoy keeps such a one without allocating.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name([u8; 17]);

impl Name {
    /// A name that begins with `kind`; none where the proxy has no clock.
    pub(crate) fn new(kind: u8) -> Option<Self> {
        // The number tells names of this VM apart, the time those of another one on the same worker.
        let (time, number) = (host::time().ok()?, MADE.get());
        MADE.set(number.checked_add(1)?);
        Some(Self::of(kind, time.as_nanos(), number))
    }

    fn of(kind: u8, time: u128, number: u32) -> Self {
        let mut parts = time << 32 | u128::from(number);
        let mut letters = [kind; 17];
        for letter in letters.iter_mut().skip(1) {
            *letter = b'0' + u8::try_from(parts & 63).unwrap_or_default();
            parts >>= 6;
        }
        Self(letters)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_short_and_tell_every_time_and_number_apart() {
        const NOW: u128 = 1_795_392_000_123_456_789;
        let mut names = HashSet::new();
        for time in [NOW, NOW + 1, NOW + 1_000, NOW + (1 << 32), u128::from(u64::MAX)] {
            for number in [0, 1, 2, 63, 64, 1 << 31, u32::MAX] {
                let name = Name::of(b'+', time, number);
                assert_eq!(name.as_str().len(), 17, "{name:?}");
                assert_eq!(name.as_str().as_bytes(), name.as_bytes());
                assert!(name.as_bytes().iter().all(u8::is_ascii_graphic), "{name:?}");
                assert!(names.insert(name));
            }
        }
    }
}
