//! The encoding in which a proxy hands over a header map.

use std::ops::Deref;
use std::slice;

use sallyport_policy::{HeaderValues, bytes_eq};

use crate::abi::Bytes;

/// All headers of a request: a count, the two lengths of each pair, then each name and value, each ended by a NUL.
pub(crate) struct HeaderMap<B = Bytes> {
    bytes: B,
    /// Where the lengths end and the texts begin.
    texts: usize,
}

/// A pair lies outside of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CutOff;

/// The bytes of a count or a length.
const NUMBER: usize = 4;

impl<B: Deref<Target = [u8]>> HeaderMap<B> {
    /// Takes the bytes of the encoding; `None` where they cannot hold as many pairs as they say, or hold none: every
    /// request has headers, and Envoy answers so where it has let go of them.
    pub(crate) fn new(bytes: B) -> Option<Self> {
        let (count, _) = bytes.split_first_chunk()?;
        let count = usize::try_from(u32::from_le_bytes(*count)).ok().filter(|count| *count > 0)?;
        let texts = count.checked_mul(2 * NUMBER)?.checked_add(NUMBER)?;
        (texts <= bytes.len()).then_some(Self { bytes, texts })
    }

    /// The first value of a header, if it is there; `name` is in lower case.
    pub(crate) fn first(&self, name: &str) -> Result<Option<&[u8]>, CutOff> {
        self.named(name)?.next()
    }

    /// The values of a header, in their order; `name` is in lower case.
    pub(crate) fn values(&self, name: &str) -> Result<HeaderValues<'_>, CutOff> {
        let mut values = HeaderValues::new();
        let mut named = self.named(name)?;
        while let Some(value) = named.next()? {
            values.push(value);
        }
        Ok(values)
    }

    #[inline(always)]
    fn named<'n>(&self, name: &'n str) -> Result<Named<'_, 'n>, CutOff> {
        let lengths = self.bytes.get(NUMBER..self.texts).ok_or(CutOff)?.as_chunks().0.iter();
        let at = u64::try_from(self.texts).map_err(|_| CutOff)?;
        Ok(Named { name: name.as_bytes(), bytes: &self.bytes, lengths, at })
    }
}

/// The headers of one name that are still to come.
struct Named<'m, 'n> {
    name: &'n [u8],
    bytes: &'m [u8],
    lengths: slice::Iter<'m, [u8; 2 * NUMBER]>,
    /// Where the next pair begins, in as many bits as no sum of lengths fills.
    at: u64,
}

impl<'m> Named<'m, '_> {
    #[inline(always)]
    fn next(&mut self) -> Result<Option<&'m [u8]>, CutOff> {
        while let Some([a, b, c, d, e, f, g, h]) = self.lengths.next() {
            let of_name = u64::from(u32::from_le_bytes([*a, *b, *c, *d]));
            let of_value = u64::from(u32::from_le_bytes([*e, *f, *g, *h]));
            let start = self.at;
            let value = start + of_name + 1;
            self.at = value + of_value + 1;
            // Most names are of another length, which is seen without them.
            if usize::try_from(of_name) == Ok(self.name.len()) && bytes_eq(self.text(start, of_name)?, self.name) {
                return self.text(value, of_value).map(Some);
            }
        }
        // What was passed over was not looked at, so it may lie outside.
        match usize::try_from(self.at) {
            Ok(end) if end <= self.bytes.len() => Ok(None),
            _ => Err(CutOff),
        }
    }

    #[inline(always)]
    fn text(&self, start: u64, length: u64) -> Result<&'m [u8], CutOff> {
        let (Ok(start), Ok(end)) = (usize::try_from(start), usize::try_from(start + length)) else {
            return Err(CutOff);
        };
        self.bytes.get(start..end).ok_or(CutOff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIRS: &[u8] = b"\x03\0\0\0\x01\0\0\0\x02\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0a\0xy\0a\0\0b\0\xff\0";

    const PSEUDO: [&str; 3] = [":method", ":authority", ":path"];

    fn values(bytes: &[u8], name: &str) -> Option<Vec<Vec<u8>>> {
        let map = HeaderMap::new(bytes.to_vec())?;
        map.values(name).ok().map(|values| values.iter().map(|value| value.to_vec()).collect())
    }

    #[test]
    fn repeated_empty_and_odd_values_are_kept() {
        let rows: [(&str, &[&[u8]]); 3] = [("a", &[b"xy", b""]), ("b", &[b"\xff"]), ("c", &[])];
        for (name, expected) in rows {
            let expected: Vec<_> = expected.iter().map(|value| value.to_vec()).collect();
            assert_eq!(values(PAIRS, name), Some(expected));
        }
        for none in [&b""[..], b"\0\0\0\0"] {
            assert_eq!(values(none, "a"), None);
        }
    }

    #[test]
    fn pseudo_headers_are_found_wherever_they_are_and_the_first_counts() {
        let encoded = |pairs: &[(&str, &str)]| {
            let number = |number: usize| u32::try_from(number).expect("a short text").to_le_bytes();
            let lengths = pairs.iter().flat_map(|(name, value)| [number(name.len()), number(value.len())]);
            let texts = pairs.iter().flat_map(|(name, value)| [name.as_bytes(), b"\0", value.as_bytes(), b"\0"]);
            let lengths: Vec<u8> = [number(pairs.len())].into_iter().chain(lengths).flatten().collect();
            [lengths, texts.collect::<Vec<_>>().concat()].concat()
        };
        let rows = [
            (
                vec![(":authority", "orders"), (":path", "/a"), (":method", "GET"), ("x", "y")],
                [Some("GET"), Some("orders"), Some("/a")],
            ),
            (vec![("x", "y"), (":path", "/a"), (":path", "/b"), (":method", "")], [Some(""), None, Some("/a")]),
            (vec![(":paths", "/a"), (":Path", "/b"), ("path", "/c")], [None; 3]),
            (
                vec![(":method", "GET"), (":path", "/a"), (":method", "PUT"), (":path", "/b")],
                [Some("GET"), None, Some("/a")],
            ),
        ];
        for (pairs, expected) in rows {
            let map = HeaderMap::new(encoded(&pairs)).expect("a map");
            let found = PSEUDO.map(|name| map.first(name));
            assert_eq!(found, expected.map(|value| Ok(value.map(str::as_bytes))), "{pairs:?}");
        }
        let whole = encoded(&[(":method", "GET"), (":path", "/a")]);
        for end in 0..whole.len() - 1 {
            let cut = HeaderMap::new(&whole[..end]);
            let found = |name| cut.as_ref().map_or(Err(CutOff), |map| map.first(name));
            assert_eq!(PSEUDO.map(found)[1..], [Err(CutOff), Err(CutOff)], "cut at {end}");
        }
    }

    #[test]
    fn a_map_that_is_cut_off_is_no_map() {
        for end in 1..PAIRS.len() - 1 {
            for name in ["a", "b", "c"] {
                assert_eq!(values(&PAIRS[..end], name), None, "{name} cut at {end}");
            }
        }
        assert!(HeaderMap::new(b"\xff\xff\xff\xff".to_vec()).is_none());
    }
}
