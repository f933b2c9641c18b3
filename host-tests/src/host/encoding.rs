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

/// The pairs of a header map, or `None` where the bytes are no such encoding.
pub(super) fn read_pairs(bytes: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let number = |at: usize| -> Option<usize> {
        let (number, _) = bytes.get(at..)?.split_first_chunk()?;
        usize::try_from(u32::from_le_bytes(*number)).ok()
    };
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let count = number(0)?;
    let mut at = 4 + count * 8;
    let mut text = |length: usize| {
        let text = bytes.get(at..at + length)?.to_vec();
        at += length + 1;
        (bytes.get(at - 1) == Some(&0)).then_some(text)
    };
    (0..count).map(|pair| Some((text(number(4 + pair * 8)?)?, text(number(8 + pair * 8)?)?))).collect()
}

/// The key of a `DeclarePropertyArguments`, and whether what is set under it lasts as long as the connection; `None`
/// where the bytes are no such message with these two fields in their order.
pub(super) fn read_declaration(bytes: &[u8]) -> Option<(String, bool)> {
    const NAME: u8 = 0x0a;
    const SPAN: u8 = 0x28;
    const CONNECTION: u8 = 2;
    let [NAME, length, rest @ ..] = bytes else { return None };
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let [SPAN, span] = rest else { return None };
    Some((String::from_utf8(name.to_vec()).ok()?, *span == CONNECTION))
}
