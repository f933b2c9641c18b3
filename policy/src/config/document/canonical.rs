//! An order of its own for the bytes of a configuration, so that equal configurations are equal bytes.

use sha2::{Digest, Sha256};

use crate::collections::bytes::bytes_cmp;
use crate::collections::sort::sort_by;
use crate::config::document::protobuf_struct::{Field, MAX_DEPTH, Message, pair};

/// Gives the content of a `google.protobuf.Struct` to `sink`, piece by piece, with the keys of each object in their order:
/// protobuf writes a map in an order that is another in each process. Returns `None` where the bytes are no Struct; what
/// `sink` got until then means nothing.
fn canonical_struct(bytes: &[u8], sink: &mut dyn FnMut(&[u8])) -> Option<()> {
    structure(bytes, MAX_DEPTH, sink)
}

/// Returns the first 32 bits of the SHA-256 of a configuration, the value of the gauge `loaded`. A Struct is hashed with its
/// keys in their order: each proxy hands the same one over in another.
pub fn fingerprint(configuration: &[u8]) -> u32 {
    let mut sorted = Sha256::new();
    let hash: [u8; 32] = match canonical_struct(configuration, &mut |piece| sorted.update(piece)) {
        Some(()) => sorted.finalize(),
        None => Sha256::digest(configuration),
    }
    .into();
    let [first, second, third, fourth, ..] = hash;
    u32::from_be_bytes([first, second, third, fourth])
}

/// Begins a piece with its length, so that no two contents give the same bytes.
fn begin(kind: u8, length: usize, sink: &mut dyn FnMut(&[u8])) {
    sink(&[kind]);
    sink(&u64::try_from(length).unwrap_or_default().to_le_bytes());
}

fn structure(bytes: &[u8], deepest: usize, sink: &mut dyn FnMut(&[u8])) -> Option<()> {
    let mut message = Message(bytes);
    let mut entries = Vec::new();
    while !message.is_empty() {
        let (1, Field::Bytes(entry)) = message.field()? else { return None };
        entries.push(pair(entry)?);
    }
    sort_by(&mut entries, |(one, _), (other, _)| bytes_cmp(one, other));
    begin(b'{', entries.len(), sink);
    for (key, content) in entries {
        begin(b':', key.len(), sink);
        sink(key);
        value(content, deepest.checked_sub(1)?, sink)?;
    }
    Some(())
}

fn value(bytes: &[u8], deepest: usize, sink: &mut dyn FnMut(&[u8])) -> Option<()> {
    match (bytes.is_empty(), Message(bytes).field()) {
        (false, Some((5, Field::Bytes(object)))) => structure(object, deepest, sink),
        (false, Some((6, Field::Bytes(list)))) => {
            let mut items = Message(list);
            begin(b'[', list.len(), sink);
            while !items.is_empty() {
                let (1, Field::Bytes(item)) = items.field()? else { return None };
                value(item, deepest.checked_sub(1)?, sink)?;
            }
            Some(())
        }
        (true, _) | (false, Some(_)) => {
            begin(b'=', bytes.len(), sink);
            sink(bytes);
            Some(())
        }
        (false, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::Value;
    use crate::test_support::protobuf_writer::structure as write;

    fn canonical(json: &str) -> Option<Vec<u8>> {
        let mut all = Vec::new();
        let bytes = write(&Value::of_json(json.as_bytes())?);
        canonical_struct(&bytes, &mut |piece| all.extend(piece)).map(|()| all)
    }

    #[test]
    fn the_order_of_keys_is_no_difference_and_anything_else_is() {
        let one = canonical(r#"{"a": {"x": [{"m": 1, "n": "t"}], "y": true}, "b": null}"#);
        assert!(one.is_some());
        assert_eq!(one, canonical(r#"{"b": null, "a": {"y": true, "x": [{"n": "t", "m": 1}]}}"#));
        for other in [
            r#"{"b": null, "a": {"y": true, "x": [{"n": "t", "m": 2}]}}"#,
            r#"{"b": null, "a": {"y": true, "x": [{"n": "t"}, {"m": 1}]}}"#,
            r#"{"b": null, "a": {"y": true, "x": [{"n": "tm", "": 1}]}}"#,
            r#"{"b": null, "a": {"y": true, "x": []}, "n": "t", "m": 1}"#,
            r#"{"a": {"x": [{"m": 1, "n": "t"}], "y": true}}"#,
        ] {
            assert_ne!(one, canonical(other), "{other}");
        }
        assert_ne!(canonical(r#"{"a": ["b", "c"]}"#), canonical(r#"{"a": ["c", "b"]}"#));
    }

    #[test]
    fn what_is_no_struct_is_told() {
        for text in [r#"{"a": 1}"#, "[]", "\n{}"] {
            assert_eq!(canonical_struct(text.as_bytes(), &mut |_| {}), None, "{text}");
        }
        let deep = format!("{}1{}", r#"{"a": "#.repeat(200), "}".repeat(200));
        assert_eq!(Value::of_json(deep.as_bytes()).and_then(|_| canonical(&deep)), None);
    }

    #[test]
    fn a_fingerprint_is_the_start_of_the_sha_256() {
        // printf abc | sha256sum; the first test vector of FIPS 180-4.
        assert_eq!(fingerprint(b"abc"), 0xba78_16bf);
        assert_eq!(fingerprint(b" "), 0x36a9_e7f1);
    }

    #[test]
    fn the_fingerprint_of_a_struct_does_not_depend_on_the_order_of_its_keys() {
        // Struct {a: "x", b: "y"}: entries of a map with the key in field 1 and in field 2 a value with a text in field 3.
        let (a, b) = (b"\x0a\x08\x0a\x01a\x12\x03\x1a\x01x", b"\x0a\x08\x0a\x01b\x12\x03\x1a\x01y");
        assert_eq!(fingerprint(&[*a, *b].concat()), fingerprint(&[*b, *a].concat()));
        assert_ne!(fingerprint(&[*a, *b].concat()), fingerprint(&[*a, *a].concat()));
    }
}
