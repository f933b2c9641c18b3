//! Names for filter state of connections, which nothing else on the same worker has.

use std::cell::Cell;

use crate::host;

thread_local! {
    /// How many names this VM has made.
    static MADE: Cell<u32> = const { Cell::new(0) };
}

/// A name that begins with `kind`; none where the proxy has no clock.
pub(crate) fn new(kind: char) -> Option<String> {
    // The number tells names of this VM apart, the time those of another one on the same worker.
    let (time, number) = (host::time().ok()?, MADE.get());
    MADE.set(number.checked_add(1)?);
    Some(of(kind, time.as_nanos(), number))
}

/// Of 17 letters: Envoy keeps such a one without allocating.
fn of(kind: char, time: u128, number: u32) -> String {
    let parts = time << 32 | u128::from(number);
    let letter = |at: u32| char::from(b'0' + u8::try_from(parts >> (6 * at) & 63).unwrap_or_default());
    [kind].into_iter().chain((0..16).map(letter)).collect()
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
                let name = of('+', time, number);
                assert_eq!(name.len(), 17, "{name}");
                assert!(name.bytes().all(|byte| byte.is_ascii_graphic()), "{name}");
                assert!(names.insert(name));
            }
        }
    }
}
