//! Readings of a method: unchanged, and in upper case, because many servers treat `delete` as `DELETE`.

/// Number of the reading in capitals.
pub(crate) const CAPITALS: u8 = 0;

/// Reports whether a method has one reading: it has no lower-case letters.
pub(crate) fn is_plain(method: &[u8]) -> bool {
    !method.iter().any(u8::is_ascii_lowercase)
}

/// Returns the readings of a method, except the original one.
pub(crate) fn readings(method: &[u8]) -> Vec<(u8, Vec<u8>)> {
    match is_plain(method) {
        true => Vec::new(),
        false => vec![(CAPITALS, method.to_ascii_uppercase())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_with_small_letters_can_be_read_in_capitals() {
        assert_eq!(readings(b"GET"), []);
        assert_eq!(readings(b"M-SEARCH"), []);
        assert_eq!(readings(b"Delete"), [(CAPITALS, b"DELETE".to_vec())]);
    }
}
