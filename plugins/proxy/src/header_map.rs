//! The encoding in which a proxy hands over a header map.

use std::ops::Deref;

use sallyport_policy::HeaderValues;

use crate::abi::Bytes;

/// All headers of a request: a count, the two lengths of each pair, then each name and value, each ended by a NUL.
pub(crate) struct HeaderMap<B = Bytes> {
    bytes: B,
    count: usize,
}

impl<B: Deref<Target = [u8]>> HeaderMap<B> {
    /// Takes the bytes of the encoding; `None` where they cannot hold as many pairs as they say, or hold none: every
    /// request has headers, and Envoy answers so where it has let go of them.
    pub(crate) fn new(bytes: B) -> Option<Self> {
        let count = number(&bytes, 0)?;
        // The lengths alone need this many bytes: a count beyond them is not worth counting to.
        (count > 0 && count <= bytes.len() / 8).then_some(Self { bytes, count })
    }

    /// The values of a header, in their order; `name` is in lower case. `None` where a pair lies outside the bytes.
    pub(crate) fn values(&self, name: &str) -> Option<HeaderValues<'_>> {
        let mut values = HeaderValues::new();
        for pair in self.pairs() {
            let (key, value) = pair?;
            if key == name.as_bytes() {
                values.push(value);
            }
        }
        Some(values)
    }

    /// The first value of a header, if it is there; `name` is in lower case. `None` where a pair up to it lies outside the
    /// bytes.
    pub(crate) fn first(&self, name: &str) -> Option<Option<&[u8]>> {
        for pair in self.pairs() {
            let (key, value) = pair?;
            if key == name.as_bytes() {
                return Some(Some(value));
            }
        }
        Some(None)
    }

    fn pairs(&self) -> impl Iterator<Item = Option<(&[u8], &[u8])>> {
        let mut at = self.count.saturating_mul(8).saturating_add(4);
        (0..self.count).map(move |pair| {
            let lengths = pair * 8 + 4;
            let name = self.text(&mut at, number(&self.bytes, lengths)?)?;
            let value = self.text(&mut at, number(&self.bytes, lengths + 4)?)?;
            Some((name, value))
        })
    }

    fn text(&self, at: &mut usize, length: usize) -> Option<&[u8]> {
        let end = at.checked_add(length)?;
        let text = self.bytes.get(*at..end)?;
        *at = end.checked_add(1)?;
        Some(text)
    }
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let (number, _) = bytes.get(at..)?.split_first_chunk()?;
    usize::try_from(u32::from_le_bytes(*number)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIRS: &[u8] = b"\x03\0\0\0\x01\0\0\0\x02\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0a\0xy\0a\0\0b\0\xff\0";

    fn values(bytes: &[u8], name: &str) -> Option<Vec<Vec<u8>>> {
        let map = HeaderMap::new(bytes.to_vec())?;
        map.values(name).map(|values| values.iter().map(|value| value.to_vec()).collect())
    }

    fn first(bytes: &[u8], name: &str) -> Option<Option<Vec<u8>>> {
        let map = HeaderMap::new(bytes.to_vec())?;
        map.first(name).map(|value| value.map(<[u8]>::to_vec))
    }

    #[test]
    fn repeated_empty_and_odd_values_are_kept() {
        let rows: [(&str, &[&[u8]]); 3] = [("a", &[b"xy", b""]), ("b", &[b"\xff"]), ("c", &[])];
        for (name, expected) in rows {
            let expected: Vec<_> = expected.iter().map(|value| value.to_vec()).collect();
            assert_eq!(first(PAIRS, name), Some(expected.first().cloned()));
            assert_eq!(values(PAIRS, name), Some(expected));
        }
        for none in [&b""[..], b"\0\0\0\0"] {
            assert_eq!(values(none, "a"), None);
        }
    }

    #[test]
    fn a_map_that_is_cut_off_is_no_map() {
        for end in 1..PAIRS.len() - 1 {
            for name in ["a", "b", "c"] {
                assert_eq!(values(&PAIRS[..end], name), None, "{name} cut at {end}");
            }
            assert_eq!(first(&PAIRS[..end], "c"), None, "cut at {end}");
        }
        assert!(HeaderMap::new(b"\xff\xff\xff\xff".to_vec()).is_none());
    }
}
