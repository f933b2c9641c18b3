//! A mark on connections that the proxy keeps for as long as they last.

use std::cell::Cell;

use crate::host;

thread_local! {
    /// How many marks this VM has made.
    static MADE: Cell<u32> = const { Cell::new(0) };
}

/// The key under which each connection says how many marks it has.
const COUNT: &str = "sallyport.marks";

/// How many marks a connection gets at most. They stay with it while configurations come and go.
const MOST: u8 = 16;

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
        let name = name(time.as_nanos(), number);
        host::declare_for_connections(COUNT).ok()?;
        host::declare_for_connections(&name).ok()?;
        Some(Self { name })
    }

    /// Whether the connection of the current request has it. Where the proxy does not tell, it has not.
    pub fn is_set(&self) -> bool {
        matches!(host::property(&self.name), Ok(Some(_)))
    }

    /// Marks the connection of the current request, unless it has too many marks already. To be called when the
    /// connection is first seen.
    pub fn set(&self) {
        let Ok(count) = host::property(COUNT) else { return };
        let count = match count.as_deref() {
            None => 0,
            Some([count]) => *count,
            Some(_) => return,
        };
        if count < MOST && host::set_filter_state(COUNT, &[count + 1]).is_ok() {
            let _unmarked = host::set_filter_state(&self.name, b"");
        }
    }
}

/// A name of 17 letters: one that Envoy keeps without allocating.
fn name(time: u128, number: u32) -> String {
    let parts = time << 32 | u128::from(number);
    let letter = |at: u32| char::from(b'0' + u8::try_from(parts >> (6 * at) & 63).unwrap_or_default());
    ['+'].into_iter().chain((0..16).map(letter)).collect()
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
                let name = name(time, number);
                assert_eq!(name.len(), 17, "{name}");
                assert!(name.bytes().all(|byte| byte.is_ascii_graphic()), "{name}");
                assert!(names.insert(name));
            }
        }
    }
}
