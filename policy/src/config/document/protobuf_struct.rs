//! `google.protobuf.Struct` in its wire form, which is how Envoy hands over a configuration that is given as a Struct,
//! and dynamic metadata (seen on 1.40; `google/protobuf/struct.proto`).

use crate::config::document::read_mode::ReadMode;
use crate::config::value::Value;

/// Maximum nesting depth of values, as in serde_json.
pub(super) const MAX_DEPTH: usize = 128;

/// Wire types of the protobuf encoding.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH: u64 = 2;

/// Tag of a text, field 3 of a value.
const TEXT_TAG: u8 = 3 << 3 | 2;

/// Tags of the key and of the content of a map entry, fields 1 and 2.
const KEY_TAG: u8 = 1 << 3 | 2;
const CONTENT_TAG: u8 = 2 << 3 | 2;

/// Reads a Struct, or `None` where the bytes are not one. An unknown field is no Struct of today.
pub(crate) fn read_struct(bytes: &[u8], reading: ReadMode<'_>) -> Option<Value> {
    structure(bytes, MAX_DEPTH, reading)
}

/// Finds a value in `Metadata { map<string, Struct> filter_metadata = 1; map<string, Any> typed_filter_metadata = 2; }`
/// (`envoy/config/core/v3/base.proto`). Returns `None` if the bytes are not that message, `Some(None)` if it lacks
/// the value. Values of other filters are skipped without decoding.
pub(crate) fn find_metadata(bytes: &[u8], filter: &str, key: &str) -> Option<Option<Value>> {
    let structures = entries(bytes, 1, filter)?;
    // The last of repeated entries counts.
    let Some(structure) = structures.last() else { return Some(None) };
    match entries(structure, 1, key)?.last() {
        Some(found) => value(found, MAX_DEPTH, ReadMode::whole()).map(Some),
        None => Some(None),
    }
}

/// The Struct of a filter in the same message, in its wire form: `Some(None)` where there is none.
pub(crate) fn find_filter_metadata<'b>(bytes: &'b [u8], filter: &str) -> Option<Option<&'b [u8]>> {
    entries(bytes, 1, filter).map(|found| found.last().copied())
}

/// Reads a value, or `None` where the bytes are not one.
pub(super) fn read_value(bytes: &[u8]) -> Option<Value> {
    value(bytes, MAX_DEPTH, ReadMode::whole())
}

/// The values of the entries of a map, field `number` of a message, that are under `key`.
fn entries<'b>(bytes: &'b [u8], number: u64, key: &str) -> Option<Vec<&'b [u8]>> {
    let mut message = Message(bytes);
    let mut found = Vec::new();
    while !message.is_empty() {
        let Field::Bytes(entry) = (match message.field()? {
            (field, content) if field == number => content,
            _ => continue,
        }) else {
            return None;
        };
        let (name, content) = pair(entry)?;
        if name == key.as_bytes() {
            found.push(content);
        }
    }
    Some(found)
}

/// A cursor over one message.
pub(super) struct Message<'b>(pub(super) &'b [u8]);

/// Field of a message: its number and its content.
pub(super) enum Field<'b> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'b [u8]),
}

impl<'b> Message<'b> {
    #[inline(always)]
    fn varint(&mut self) -> Option<u64> {
        // Most are tags and lengths of one byte.
        match self.0 {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.0 = rest;
                Some(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    #[inline(never)]
    fn long_varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// Reads the next field. Returns `None` where the bytes are none.
    pub(super) fn field(&mut self) -> Option<(u64, Field<'b>)> {
        let tag = self.varint()?;
        let field = match tag & 7 {
            VARINT => Field::Varint(self.varint()?),
            FIXED_64 => {
                let (bytes, rest) = self.0.split_first_chunk()?;
                self.0 = rest;
                Field::Fixed64(*bytes)
            }
            LENGTH => {
                let length = usize::try_from(self.varint()?).ok()?;
                let (bytes, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                Field::Bytes(bytes)
            }
            _ => return None,
        };
        Some((tag >> 3, field))
    }

    /// Reads the content of a field 1 that is short, as most entries and items are; `None` for another field.
    pub(super) fn short_first(&mut self) -> Option<&'b [u8]> {
        let [KEY_TAG, length @ 0..0x80, rest @ ..] = self.0 else { return None };
        let (content, rest) = rest.split_at_checked(usize::from(*length))?;
        self.0 = rest;
        Some(content)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Returns the key and the value of a map entry, each empty if absent. `None` if one is repeated.
pub(super) fn pair(entry: &[u8]) -> Option<(&[u8], &[u8])> {
    // As serializers write a short one.
    if let [KEY_TAG, length @ 0..0x80, rest @ ..] = entry
        && let Some((key, [CONTENT_TAG, length @ 0..0x80, content @ ..])) = rest.split_at_checked(usize::from(*length))
        && content.len() == usize::from(*length)
    {
        return Some((key, content));
    }
    let mut entry = Message(entry);
    let (mut key, mut content) = (None, None);
    while !entry.is_empty() {
        let before = match entry.field()? {
            (1, Field::Bytes(bytes)) => key.replace(bytes),
            (2, Field::Bytes(bytes)) => content.replace(bytes),
            _ => return None,
        };
        if before.is_some() {
            return None;
        }
    }
    Some((key.unwrap_or_default(), content.unwrap_or_default()))
}

/// `Struct { map<string, Value> fields = 1; }`
fn structure(bytes: &[u8], deepest: usize, mut reading: ReadMode<'_>) -> Option<Value> {
    let mut message = Message(bytes);
    let mut entries = Vec::new();
    while !message.is_empty() {
        let (1, Field::Bytes(entry)) = message.field()? else { return None };
        let (key, content) = pair(entry)?;
        let key = str::from_utf8(key).ok()?;
        let document = value(content, deepest.checked_sub(1)?, reading.of_key(key))?;
        if reading.retain {
            entries.push((key.to_owned(), document));
        }
    }
    Some(Value::Object(entries))
}

/// The bytes of a value that is a short text, as most are.
pub(super) fn short_text(value: &[u8]) -> Option<&[u8]> {
    match value {
        [TEXT_TAG, length @ 0..0x80, text @ ..] if text.len() == usize::from(*length) => Some(text),
        _ => None,
    }
}

/// `Value { oneof kind { NullValue 1; double 2; string 3; bool 4; Struct 5; ListValue 6; } }`
///
/// Returns `None` if there is more than one kind, which protobuf would merge and no serializer writes.
fn value(bytes: &[u8], deepest: usize, reading: ReadMode<'_>) -> Option<Value> {
    if let Some(text) = short_text(bytes) {
        return Some(reading.text(str::from_utf8(text).ok()?));
    }
    let mut message = Message(bytes);
    if message.is_empty() {
        return Some(Value::Null);
    }
    let kind = message.field()?;
    if !message.is_empty() {
        return None;
    }
    Some(match kind {
        (1, Field::Varint(_)) => Value::Null,
        (2, Field::Fixed64(bytes)) => Value::from_f64(f64::from_le_bytes(bytes)),
        (3, Field::Bytes(bytes)) => reading.text(str::from_utf8(bytes).ok()?),
        (4, Field::Varint(bool)) => Value::Bool(bool != 0),
        (5, Field::Bytes(bytes)) => structure(bytes, deepest.checked_sub(1)?, reading)?,
        (6, Field::Bytes(bytes)) => list(bytes, deepest.checked_sub(1)?, reading)?,
        _ => return None,
    })
}

/// `ListValue { repeated Value values = 1; }`
fn list(bytes: &[u8], deepest: usize, reading: ReadMode<'_>) -> Option<Value> {
    let mut message = Message(bytes);
    let mut items = Vec::new();
    for index in 0.. {
        if message.is_empty() {
            break;
        }
        let (1, Field::Bytes(item)) = message.field()? else { return None };
        let position = reading.position_of(index);
        let item = value(item, deepest.checked_sub(1)?, reading.of_item(&position))?;
        reading.put_item(&position, item, &mut items);
    }
    Some(Value::List(items))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::protobuf_writer::{entry, field};

    #[test]
    fn every_kind_of_value_is_read() {
        let list = field(6, &[field(1, &field(3, b"x")), field(1, &[4 << 3, 1])].concat());
        let bytes = [
            entry("text", &field(3, b"GET")),
            entry("number", &[&[2 << 3 | 1][..], &403_f64.to_le_bytes()].concat()),
            entry("null", &[1 << 3, 0]),
            entry("list", &list),
            entry("object", &field(5, &entry("a", &field(5, b"")))),
        ]
        .concat();
        let expected =
            Value::parse(br#"{"text": "GET", "number": 403, "null": null, "list": ["x", true], "object": {"a": {}}}"#);
        let read_struct = |bytes: &[u8]| read_struct(bytes, ReadMode::whole());
        assert_eq!(read_struct(&bytes), expected.ok());
        for end in 1..bytes.len() {
            // A message that is cut off never reads as the whole.
            assert_ne!(read_struct(&bytes[..end]), read_struct(&bytes), "cut at {end}");
        }
    }

    #[test]
    fn what_protobuf_would_put_together_is_no_struct() {
        let list = |text: &[u8]| field(6, &field(1, &field(3, text)));
        let (text, broken) = (field(3, b"report"), field(3, b"\xff"));
        let values = [
            [list(b"a"), list(b"b")].concat(),
            [vec![7 << 3, 0], text.clone()].concat(),
            [vec![3 << 3, 0], text.clone()].concat(),
            [broken.clone(), text.clone()].concat(),
            [text.clone(), vec![1 << 3, 0]].concat(),
        ];
        let entries = [
            [field(1, b"mode"), field(2, &broken), field(2, &text)].concat(),
            [field(1, b"\xff"), field(1, b"mode"), field(2, &text)].concat(),
            [field(1, b"mode"), field(2, b""), text.clone()].concat(),
        ];
        let entries = entries.map(|content| field(1, &content));
        for bytes in values.map(|value| entry("mode", &value)).into_iter().chain(entries) {
            assert_eq!(read_struct(&bytes, ReadMode::whole()), None, "{}", bytes.escape_ascii());
            assert_eq!(find_metadata(&entry("jwt", &bytes), "jwt", "mode"), None, "{}", bytes.escape_ascii());
        }
        for empty in [field(1, &field(1, b"mode")), entry("mode", b"")] {
            assert_eq!(read_struct(&empty, ReadMode::whole()), Value::of_json(br#"{"mode": null}"#));
        }
    }

    #[test]
    fn one_value_of_metadata_is_found() {
        let payload = entry("sub", &field(3, b"ann"));
        let of_jwt = entry("payload", &field(5, &payload));
        let metadata = |filters: &[(&str, &[u8])]| {
            filters.iter().flat_map(|(name, structure)| entry(name, structure)).collect::<Vec<u8>>()
        };
        let typed = field(2, b"passed over");
        let bytes = [metadata(&[("other", &of_jwt), ("jwt", &of_jwt)]), typed].concat();
        let expected = Value::of_json(br#"{"sub": "ann"}"#);
        assert_eq!(find_metadata(&bytes, "jwt", "payload"), Some(expected));
        assert_eq!(find_metadata(&bytes, "jwt", "else"), Some(None));
        assert_eq!(find_metadata(&bytes, "absent", "payload"), Some(None));
        assert_eq!(find_metadata(b"", "jwt", "payload"), Some(None));
        for end in 1..bytes.len() {
            let cut = find_metadata(&bytes[..end], "jwt", "payload");
            assert!(matches!(cut, None | Some(None)) || end >= bytes.len() - typed_length(), "cut at {end}: {cut:?}");
        }
    }

    fn typed_length() -> usize {
        field(2, b"passed over").len()
    }

    #[test]
    fn nesting_has_an_end() {
        let nested = |depth: usize| (0..depth).fold(field(3, b"x"), |inner, _| field(6, &field(1, &inner)));
        assert!(value(&nested(60), MAX_DEPTH, ReadMode::whole()).is_some());
        assert_eq!(value(&nested(1000), MAX_DEPTH, ReadMode::whole()), None);
    }
}
