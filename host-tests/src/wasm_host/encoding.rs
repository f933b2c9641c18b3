//! Envoy's encodings of attributes and header maps (`source/extensions/common/wasm/context.cc`, `serializeValue`).

/// Encodes a string: its bytes as they are.
pub(super) fn string(value: &str) -> Vec<u8> {
    value.as_bytes().to_vec()
}

/// Encodes an integer: 8 bytes, little-endian.
pub(super) fn integer(value: u64) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

/// Encodes a boolean: one byte.
pub(super) fn boolean(value: bool) -> Vec<u8> {
    vec![u8::from(value)]
}

/// Encodes a header map: a count, the two lengths of each pair, then each key and value, each ended by a NUL.
pub(super) fn header_map<'p>(pairs: impl ExactSizeIterator<Item = (&'p [u8], &'p [u8])> + Clone) -> Vec<u8> {
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

/// Decodes a header map. Returns `None` if the bytes are not one.
pub(super) fn read_header_map(bytes: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let size = |offset: usize| -> Option<usize> {
        let (size, _) = bytes.get(offset..)?.split_first_chunk()?;
        usize::try_from(u32::from_le_bytes(*size)).ok()
    };
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let count = size(0)?;
    let mut offset = 4 + count * 8;
    let mut string = |length: usize| {
        let string = bytes.get(offset..offset + length)?.to_vec();
        offset += length + 1;
        (bytes.get(offset - 1) == Some(&0)).then_some(string)
    };
    (0..count).map(|pair| Some((string(size(4 + pair * 8)?)?, string(size(8 + pair * 8)?)?))).collect()
}

/// Decodes a `SetEnvoyFilterStateArguments` message: the key and the value. Returns `None` if the bytes are not such a
/// message with exactly these two fields, in this order, each shorter than 128 bytes.
pub(super) fn read_set_envoy_filter_state(bytes: &[u8]) -> Option<(String, Vec<u8>)> {
    const PATH: u8 = 0x0a;
    const VALUE: u8 = 0x12;
    let [PATH, length, rest @ ..] = bytes else { return None };
    let (path, rest) = rest.split_at_checked(usize::from(*length).min(0x80))?;
    let [VALUE, length, value @ ..] = rest else { return None };
    (value.len() == usize::from(*length) && value.len() < 0x80).then_some(())?;
    Some((String::from_utf8(path.to_vec()).ok()?, value.to_vec()))
}

/// Decodes a `DeclarePropertyArguments` message: the key, and whether its value lives as long as the connection.
/// Returns `None` if the bytes are not such a message with exactly these two fields, in this order.
pub(super) fn read_declare_property(bytes: &[u8]) -> Option<(String, bool)> {
    const NAME: u8 = 0x0a;
    const SPAN: u8 = 0x28;
    const DOWNSTREAM_CONNECTION: u8 = 2;
    let [NAME, length, rest @ ..] = bytes else { return None };
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let [SPAN, span] = rest else { return None };
    Some((String::from_utf8(name.to_vec()).ok()?, *span == DOWNSTREAM_CONNECTION))
}
