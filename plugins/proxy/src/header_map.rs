//! The encoding in which a proxy hands over a header map.

use std::ops::{Deref, Range};

use sallyport_policy::{HeaderValues, same_bytes};

use crate::abi::Bytes;

/// All headers of a request: a count, the two lengths of each pair, then each name and value, each ended by a NUL.
pub(crate) struct HeaderMap<B = Bytes> {
    bytes: B,
    /// Where the lengths end and the texts begin.
    texts: usize,
    /// The first value of each pseudo-header.
    pseudo: [Option<Range<usize>>; 3],
}

/// A header that says what a request is for (RFC 9113, section 8.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PseudoHeader {
    Method,
    Authority,
    Path,
}

impl PseudoHeader {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Method => ":method",
            Self::Authority => ":authority",
            Self::Path => ":path",
        }
    }

    /// Byte by byte, which takes fewer steps for so short names than any call.
    #[inline(always)]
    fn named(name: &[u8]) -> Option<Self> {
        match name {
            [b':', b'm', b'e', b't', b'h', b'o', b'd'] => Some(Self::Method),
            [b':', b'a', b'u', b't', b'h', b'o', b'r', b'i', b't', b'y'] => Some(Self::Authority),
            [b':', b'p', b'a', b't', b'h'] => Some(Self::Path),
            _ => None,
        }
    }
}

/// The bytes of a count or a length.
const NUMBER: usize = 4;

impl<B: Deref<Target = [u8]>> HeaderMap<B> {
    /// Takes the bytes of the encoding; `None` where they cannot hold as many pairs as they say, or hold none: every
    /// request has headers, and Envoy answers so where it has let go of them. `None` as well where a pair lies outside
    /// of them before all pseudo-headers are found, which come first.
    pub(crate) fn new(bytes: B) -> Option<Self> {
        let (count, _) = bytes.split_first_chunk()?;
        let count = usize::try_from(u32::from_le_bytes(*count)).ok().filter(|count| *count > 0)?;
        let texts = count.checked_mul(2 * NUMBER)?.checked_add(NUMBER)?;
        if texts > bytes.len() {
            return None;
        }
        let pseudo = find_pseudo(&bytes, texts)?;
        Some(Self { bytes, texts, pseudo })
    }

    /// The first value of a pseudo-header, if it is there.
    pub(crate) fn pseudo(&self, header: PseudoHeader) -> Option<&[u8]> {
        let [method, authority, path] = &self.pseudo;
        let value = match header {
            PseudoHeader::Method => method,
            PseudoHeader::Authority => authority,
            PseudoHeader::Path => path,
        };
        value.clone().and_then(|value| self.bytes.get(value))
    }

    /// The values of a header, in their order; `name` is in lower case. `None` where a pair lies outside the bytes.
    pub(crate) fn values(&self, name: &str) -> Option<HeaderValues<'_>> {
        let mut values = HeaderValues::new();
        let mut at = self.texts;
        for lengths in lengths(&self.bytes, self.texts)? {
            let pair = next(&self.bytes, lengths, &mut at)?;
            if same_bytes(pair.name, name.as_bytes()) {
                values.push(self.bytes.get(pair.value)?);
            }
        }
        Some(values)
    }
}

/// The two lengths of each pair, where the texts begin at `texts`.
fn lengths(bytes: &[u8], texts: usize) -> Option<&[[u8; 2 * NUMBER]]> {
    Some(bytes.get(NUMBER..texts)?.as_chunks().0)
}

fn find_pseudo(bytes: &[u8], texts: usize) -> Option<[Option<Range<usize>>; 3]> {
    let [mut method, mut authority, mut path] = [None, None, None];
    let mut at = texts;
    for lengths in lengths(bytes, texts)? {
        let Pair { name, value } = next(bytes, lengths, &mut at)?;
        let slot = match PseudoHeader::named(name) {
            Some(PseudoHeader::Method) => &mut method,
            Some(PseudoHeader::Authority) => &mut authority,
            Some(PseudoHeader::Path) => &mut path,
            None => continue,
        };
        if slot.is_none() {
            *slot = Some(value);
        }
        if method.is_some() && authority.is_some() && path.is_some() {
            break;
        }
    }
    Some([method, authority, path])
}

/// A name, and where its value is.
struct Pair<'b> {
    name: &'b [u8],
    value: Range<usize>,
}

/// The pair that has these lengths and begins `at` a place, which moves behind it; `None` where it is outside the bytes.
#[inline(always)]
fn next<'b>(bytes: &'b [u8], lengths: &[u8; 2 * NUMBER], at: &mut usize) -> Option<Pair<'b>> {
    let [a, b, c, d, e, f, g, h] = *lengths;
    let name = bytes.get(*at..)?.get(..usize::try_from(u32::from_le_bytes([a, b, c, d])).ok()?)?;
    let start = at.checked_add(name.len())?.checked_add(1)?;
    let end = start.checked_add(usize::try_from(u32::from_le_bytes([e, f, g, h])).ok()?)?;
    *at = end.checked_add(1)?;
    (end <= bytes.len()).then_some(Pair { name, value: start..end })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIRS: &[u8] = b"\x03\0\0\0\x01\0\0\0\x02\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0a\0xy\0a\0\0b\0\xff\0";

    fn values(bytes: &[u8], name: &str) -> Option<Vec<Vec<u8>>> {
        let map = HeaderMap::new(bytes.to_vec())?;
        map.values(name).map(|values| values.iter().map(|value| value.to_vec()).collect())
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
            let headers = [PseudoHeader::Method, PseudoHeader::Authority, PseudoHeader::Path];
            let found = headers.map(|header| map.pseudo(header));
            assert_eq!(found, expected.map(|value| value.map(str::as_bytes)), "{pairs:?}");
        }
        let whole = encoded(&[(":method", "GET"), (":path", "/a")]);
        for end in 0..whole.len() - 1 {
            assert!(HeaderMap::new(&whole[..end]).is_none(), "cut at {end}");
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
