//! How Envoy encodes attributes (`source/extensions/common/wasm/context.cc`, `serializeValue`).

/// A string or bytes: as they are.
pub(super) fn text(value: &str) -> Vec<u8> {
    value.as_bytes().to_vec()
}

/// An integer: 8 bytes, little-endian.
pub(super) fn integer(value: u64) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

/// A boolean: one byte.
pub(super) fn boolean(value: bool) -> Vec<u8> {
    vec![u8::from(value)]
}

/// A header map: a count, the two lengths of each pair, then each key and value, each ended by a NUL.
pub(super) fn pairs<'p>(pairs: impl ExactSizeIterator<Item = (&'p [u8], &'p [u8])> + Clone) -> Vec<u8> {
    let size = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = size(pairs.len()).to_vec();
    for (key, value) in pairs.clone() {
        bytes.extend(size(key.len()));
        bytes.extend(size(value.len()));
    }
    for (key, value) in pairs {
        bytes.extend([key, &[0], value, &[0]].concat());
    }
    bytes
}
