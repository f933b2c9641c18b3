//! The pairs of a header map by name, for requests of which many headers are asked for.

use sallyport_policy::{HeaderValues, bytes_eq};

/// Lists of pairs; names share one by their hash.
const LISTS: usize = 1 << 10;

/// The pairs in lists, each in the order of the map.
pub(super) struct ByName {
    /// One more than the position of the first pair of each list, zero if it is empty.
    first: Box<[u32]>,
    pairs: Vec<Pair>,
}

struct Pair {
    name: usize,
    value: usize,
    end: usize,
    /// As in `first`, the pair after it in its list.
    next: u32,
}

impl ByName {
    /// Takes the bytes of the map, the two lengths of each pair and the offset of the first name. None if a pair lies
    /// beyond the end.
    pub(super) fn new(bytes: &[u8], lengths: &[[u8; 8]], names: usize) -> Option<Self> {
        let mut pairs = Vec::with_capacity(lengths.len());
        let mut at = names;
        for [a, b, c, d, e, f, g, h] in lengths {
            let of_name = usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).ok()?;
            let of_value = usize::try_from(u32::from_le_bytes([*e, *f, *g, *h])).ok()?;
            let value = at.checked_add(of_name).and_then(|end| end.checked_add(1))?;
            let end = value.checked_add(of_value).filter(|end| *end < bytes.len())?;
            pairs.push(Pair { name: at, value, end, next: 0 });
            at = end + 1;
        }
        let mut first = vec![0; LISTS].into_boxed_slice();
        let mut number = u32::try_from(pairs.len()).ok()?;
        for pair in pairs.iter_mut().rev() {
            let list = first.get_mut(list(pair.name(bytes)))?;
            pair.next = std::mem::replace(list, number);
            number -= 1;
        }
        Some(Self { first, pairs })
    }

    /// Values of a header, in their order.
    pub(super) fn values<'m>(&self, bytes: &'m [u8], name: &[u8]) -> HeaderValues<'m> {
        let mut values = HeaderValues::new();
        let mut at = self.first.get(list(name)).copied().unwrap_or_default();
        while let Some(pair) = self.pair(at) {
            if bytes_eq(pair.name(bytes), name) {
                values.push(bytes.get(pair.value..pair.end).unwrap_or_default());
            }
            at = pair.next;
        }
        values
    }

    fn pair(&self, number: u32) -> Option<&Pair> {
        self.pairs.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }
}

impl Pair {
    fn name<'m>(&self, bytes: &'m [u8]) -> &'m [u8] {
        bytes.get(self.name..self.value - 1).unwrap_or_default()
    }
}

/// The list of a name (FNV-1a).
fn list(name: &[u8]) -> usize {
    let hash = name.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    usize::try_from(hash ^ hash >> 16).unwrap_or_default() % LISTS
}
