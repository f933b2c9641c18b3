//! Encoding of a header map.

mod by_name;

use std::cell::{Cell, OnceCell};
use std::ops::Deref;
use std::slice;

use by_name::ByName;

use sallyport_policy::{HeaderValues, bytes_eq};

use crate::abi::Bytes;

/// Headers of a request in the host's encoding: a count, the two lengths of each pair, then each name and value, each
/// followed by a NUL.
pub(crate) struct HeaderMap<B = Bytes> {
    bytes: B,
    /// Offset of the first name, after the lengths.
    names_start: usize,
    /// Number of names that were looked for.
    lookups: Cell<usize>,
    /// The pairs by name, once many names are looked for.
    by_name: OnceCell<ByName>,
}

/// A pair lies beyond the end of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Truncated;

/// Bytes of a count or a length.
const NUMBER_SIZE: usize = 4;

/// Most names that are looked for by going through all pairs.
const MAX_PASSES: usize = 16;

impl<B: Deref<Target = [u8]>> HeaderMap<B> {
    /// Takes the bytes of the encoding; `None` if they are too short for the number of pairs, or hold no pair: every
    /// request has headers, and Envoy returns an empty map once it has released them.
    pub(crate) fn new(bytes: B) -> Option<Self> {
        let (count, _) = bytes.split_first_chunk()?;
        let count = usize::try_from(u32::from_le_bytes(*count)).ok().filter(|count| *count > 0)?;
        let names_start = count.checked_mul(2 * NUMBER_SIZE)?.checked_add(NUMBER_SIZE)?;
        (names_start <= bytes.len()).then(|| Self {
            bytes,
            names_start,
            lookups: Cell::new(0),
            by_name: OnceCell::new(),
        })
    }

    /// First value of a header, `None` if it is absent; `name` is in lower case.
    pub(crate) fn first(&self, name: &str) -> Result<Option<&[u8]>, Truncated> {
        self.named(name)?.next()
    }

    /// Values of a header, in their order; `name` is in lower case.
    pub(crate) fn values(&self, name: &str) -> Result<HeaderValues<'_>, Truncated> {
        let lookups = self.lookups.get() + 1;
        self.lookups.set(lookups);
        if lookups > MAX_PASSES {
            return self.values_by_name(name.as_bytes());
        }
        let mut values = HeaderValues::new();
        let mut named = self.named(name)?;
        while let Some(value) = named.next()? {
            values.push(value);
        }
        Ok(values)
    }

    #[inline(never)]
    fn values_by_name(&self, name: &[u8]) -> Result<HeaderValues<'_>, Truncated> {
        let by_name = match self.by_name.get() {
            Some(known) => known,
            None => {
                let lengths = self.bytes.get(NUMBER_SIZE..self.names_start).ok_or(Truncated)?.as_chunks().0;
                let made = ByName::new(&self.bytes, lengths, self.names_start).ok_or(Truncated)?;
                self.by_name.get_or_init(|| made)
            }
        };
        Ok(by_name.values(&self.bytes, name))
    }

    #[inline(always)]
    fn named<'n>(&self, name: &'n str) -> Result<Named<'_, 'n>, Truncated> {
        let lengths = self.bytes.get(NUMBER_SIZE..self.names_start).ok_or(Truncated)?.as_chunks().0.iter();
        let at = u64::try_from(self.names_start).map_err(|_| Truncated)?;
        Ok(Named { name: name.as_bytes(), bytes: &self.bytes, lengths, at })
    }
}

/// Iterator over the values of one header.
struct Named<'m, 'n> {
    name: &'n [u8],
    bytes: &'m [u8],
    lengths: slice::Iter<'m, [u8; 2 * NUMBER_SIZE]>,
    /// Offset of the next pair, in 64 bits, which no sum of lengths overflows.
    at: u64,
}

impl<'m> Named<'m, '_> {
    #[inline(always)]
    fn next(&mut self) -> Result<Option<&'m [u8]>, Truncated> {
        while let Some([a, b, c, d, e, f, g, h]) = self.lengths.next() {
            let of_name = u64::from(u32::from_le_bytes([*a, *b, *c, *d]));
            let of_value = u64::from(u32::from_le_bytes([*e, *f, *g, *h]));
            let start = self.at;
            let value = start + of_name + 1;
            self.at = value + of_value + 1;
            // Most names differ in length, which takes no look at them.
            if usize::try_from(of_name) == Ok(self.name.len()) && bytes_eq(self.slice(start, of_name)?, self.name) {
                return self.slice(value, of_value).map(Some);
            }
        }
        // Pairs that were skipped were not read, so they may lie beyond the end.
        match usize::try_from(self.at) {
            Ok(end) if end <= self.bytes.len() => Ok(None),
            _ => Err(Truncated),
        }
    }

    #[inline(always)]
    fn slice(&self, start: u64, length: u64) -> Result<&'m [u8], Truncated> {
        let (Ok(start), Ok(end)) = (usize::try_from(start), usize::try_from(start + length)) else {
            return Err(Truncated);
        };
        self.bytes.get(start..end).ok_or(Truncated)
    }
}

#[cfg(test)]
mod tests;
