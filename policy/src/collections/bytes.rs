//! Bytes compared and searched eight at a time: WebAssembly has no instruction for either, and what the compiler makes
//! of them in a small module goes one by one.

use std::cmp::Ordering;

/// Reports whether two byte strings are equal.
pub fn bytes_eq(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    // The last eight bytes are compared as one group, which can overlap the one before.
    if let ([.., a, b, c, d, e, f, g, h], [.., i, j, k, l, m, n, o, p]) = (one, other) {
        return eight([a, b, c, d, e, f, g, h]) == eight([i, j, k, l, m, n, o, p]) && same_eights(one, other);
    }
    if let ([a, b, c, d, ..], [e, f, g, h, ..]) = (one, other)
        && let ([.., i, j, k, l], [.., m, n, o, p]) = (one, other)
    {
        return four([a, b, c, d]) == four([e, f, g, h]) && four([i, j, k, l]) == four([m, n, o, p]);
    }
    match (one, other) {
        ([a, b, c], [d, e, f]) => a == d && b == e && c == f,
        ([a, b], [c, d]) => a == c && b == d,
        ([a], [b]) => a == b,
        _ => true,
    }
}

/// Reports whether all groups of eight are the same, but for what is left over.
fn same_eights(mut one: &[u8], mut other: &[u8]) -> bool {
    while let ([a, b, c, d, e, f, g, h, more @ ..], [i, j, k, l, m, n, o, p, other_more @ ..]) = (one, other) {
        if eight([a, b, c, d, e, f, g, h]) != eight([i, j, k, l, m, n, o, p]) {
            return false;
        }
        (one, other) = (more, other_more);
    }
    true
}

/// Compares bytes in lexicographic order, as slices do.
pub(crate) fn bytes_cmp(mut one: &[u8], mut other: &[u8]) -> Ordering {
    while let (Some((eight, rest)), Some((other_eight, other_rest))) =
        (one.split_first_chunk(), other.split_first_chunk())
    {
        let (eight, other_eight) = (u64::from_le_bytes(*eight), u64::from_le_bytes(*other_eight));
        if eight != other_eight {
            // In big-endian order the first byte that differs decides.
            return eight.swap_bytes().cmp(&other_eight.swap_bytes());
        }
        (one, other) = (rest, other_rest);
    }
    one.cmp(other)
}

/// The first eight bytes of a text as a number, with zeros behind a shorter one: in the order of these the texts are, but
/// for those that begin alike.
pub(crate) fn first_eight(text: &[u8]) -> u64 {
    if let Some(eight) = text.first_chunk() {
        return u64::from_be_bytes(*eight);
    }
    match (text.first_chunk(), text.last_chunk()) {
        (Some(first), Some(last)) => {
            let (first, last) = (u64::from(u32::from_be_bytes(*first)), u64::from(u32::from_be_bytes(*last)));
            // Bytes that are among the first four, too, are shifted onto those.
            first << 32 | last << (8 * (8 - text.len()))
        }
        _ => text.iter().rev().fold(0, |eight, byte| eight >> 8 | u64::from(*byte) << 56),
    }
}

#[inline(always)]
fn eight([a, b, c, d, e, f, g, h]: [&u8; 8]) -> u64 {
    u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h])
}

#[inline(always)]
fn four([a, b, c, d]: [&u8; 4]) -> u32 {
    u32::from_le_bytes([*a, *b, *c, *d])
}

/// Word with the lowest bit of each byte set.
const ONES: u64 = u64::from_le_bytes([1; 8]);

/// Returns a non-zero word if a byte of `eight` is zero: subtracting one sets a high bit that was clear.
const fn zeros(eight: u64) -> u64 {
    eight.wrapping_sub(ONES) & !eight & (ONES << 7)
}

/// Returns the index of the first occurrence of either byte.
pub(crate) fn memchr2(bytes: &[u8], one: u8, other: u8) -> Option<usize> {
    let (each_one, each_other) = (ONES * u64::from(one), ONES * u64::from(other));
    let within = |eight: &[u8; 8]| {
        let eight = u64::from_le_bytes(*eight);
        let bits = zeros(eight ^ each_one) | zeros(eight ^ each_other);
        // The lowest bit that is set is of the first byte; those above it need not be of any.
        (bits != 0).then(|| usize::try_from(bits.trailing_zeros() / 8).unwrap_or_default())
    };
    let Some(last) = bytes.last_chunk() else {
        return bytes.iter().position(|byte| *byte == one || *byte == other);
    };
    let mut at = 0;
    for eight in bytes.as_chunks().0 {
        if let Some(index) = within(eight) {
            return Some(at + index);
        }
        at += 8;
    }
    // What is left over is searched together with some that were searched before.
    within(last).map(|index| bytes.len() - 8 + index)
}

/// Returns a text in small letters, of ASCII alone.
pub(crate) fn to_lowercase(bytes: &[u8]) -> Vec<u8> {
    const HIGHEST: u64 = ONES << 7;
    let mut lower = bytes.to_vec();
    let (groups, rest) = lower.as_chunks_mut();
    for group in groups {
        let eight = u64::from_le_bytes(*group);
        let low = eight & !HIGHEST;
        let from_a = low + ONES * (0x80 - 0x41);
        let beyond_z = low + ONES * (0x80 - 0x5b);
        let capitals = from_a & !beyond_z & !eight & HIGHEST;
        *group = (eight | capitals >> 2).to_le_bytes();
    }
    rest.make_ascii_lowercase();
    lower
}

/// Reports whether `flags` sets the highest bit of a byte in any group of eight `bytes`. Shorter input is padded with
/// the letter `a`. Groups overlap by at least one byte, so that any two neighbours share a group.
#[inline(always)]
pub(crate) fn any_eight(bytes: &[u8], flags: impl Fn(u64) -> u64) -> bool {
    const HIGHEST: u64 = ONES << 7;
    let Some(last) = bytes.last_chunk() else {
        let fill = ONES * u64::from(b'a');
        return flags(bytes.iter().fold(fill, |eight, byte| eight << 8 | u64::from(*byte))) & HIGHEST != 0;
    };
    let mut rest = bytes;
    while let [a, b, c, d, e, f, g, h, _, ..] = rest {
        if flags(u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h])) & HIGHEST != 0 {
            return true;
        }
        rest = rest.get(7..).unwrap_or_default();
    }
    flags(u64::from_le_bytes(*last)) & HIGHEST != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

    #[test]
    fn agrees_with_a_comparison_one_by_one() {
        for length in 0..40 {
            let one: Vec<u8> = (0..length).collect();
            assert!(bytes_eq(&one, &one.clone()), "{length}");
            for at in 0..one.len() {
                for other in [0x80, 1] {
                    let mut changed = one.clone();
                    changed[at] ^= other;
                    assert!(!bytes_eq(&one, &changed), "{length}, another at {at}");
                }
                assert!(!bytes_eq(&one, &one[..at]), "{length} and {at}");
            }
        }
    }

    #[test]
    fn order_agrees_with_that_of_slices() {
        const BYTES: &[u8] = b"ab\x00\x7f\x80\xff";
        let mut rng = Rng::with_seed(7);
        for _ in 0..20_000 {
            let mut random =
                |most| -> Vec<u8> { (0..rng.usize(..most)).map(|_| BYTES[rng.usize(..BYTES.len())]).collect() };
            let (common, one, other) = (random(20), random(12), random(12));
            let (one, other) = ([&*common, &one].concat(), [&*common, &other].concat());
            assert_eq!(bytes_cmp(&one, &other), one.cmp(&other), "{one:?} and {other:?}");
        }
    }

    #[test]
    fn small_letters_are_those_of_each_byte() {
        let bytes: Vec<u8> = (0..=u8::MAX).chain(b'A'..=b'Z').collect();
        for start in 0..bytes.len() {
            assert_eq!(to_lowercase(&bytes[start..]), bytes[start..].to_ascii_lowercase(), "from {start}");
        }
    }

    #[test]
    fn agrees_with_a_search_one_by_one() {
        const FACES: &[u8] = b"ab?#\x22\x24\x3e\x40\x80\xa3\xbf\x00\xff";
        let mut rng = Rng::with_seed(7);
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..rng.usize(..40)).map(|_| FACES[rng.usize(..FACES.len())]).collect();
            let expected = bytes.iter().position(|byte| matches!(byte, b'?' | b'#'));
            assert_eq!(memchr2(&bytes, b'?', b'#'), expected, "{bytes:?}");
        }
    }
}
