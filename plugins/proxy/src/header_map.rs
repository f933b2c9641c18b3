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
    /// Takes the bytes of the encoding; `None` where a pair lies outside them.
    pub(crate) fn new(bytes: B) -> Option<Self> {
        let count = if bytes.is_empty() { 0 } else { number(&bytes, 0)? };
        // The lengths alone need this many bytes: a count beyond them is not worth counting to.
        if count > bytes.len() / 8 {
            return None;
        }
        let map = Self { bytes, count };
        let whole = map.pairs().filter(Option::is_some).count();
        (whole == count).then_some(map)
    }

    /// The values of a header, in their order; `name` is in lower case.
    pub(crate) fn values(&self, name: &str) -> HeaderValues<'_> {
        self.pairs().flatten().filter(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value).collect()
    }

    /// The first value of a header; `name` is in lower case.
    pub(crate) fn first(&self, name: &str) -> Option<&[u8]> {
        self.pairs().flatten().find(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value)
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

    #[test]
    fn repeated_empty_and_odd_values_are_kept() {
        let map = HeaderMap::new(PAIRS.to_vec()).expect("a map");
        assert_eq!(map.values("a").to_vec(), [&b"xy"[..], b""]);
        assert_eq!(map.values("b").to_vec(), [&b"\xff"[..]]);
        assert!(map.values("c").is_empty());
        assert_eq!((map.first("a"), map.first("c")), (Some(&b"xy"[..]), None));
        assert!(HeaderMap::new(Vec::new()).expect("an empty map").values("a").is_empty());
    }

    #[test]
    fn a_map_that_is_cut_off_is_no_map() {
        for end in 1..PAIRS.len() - 1 {
            assert!(HeaderMap::new(PAIRS[..end].to_vec()).is_none(), "cut at {end}");
        }
        assert!(HeaderMap::new(b"\xff\xff\xff\xff".to_vec()).is_none());
    }
}
