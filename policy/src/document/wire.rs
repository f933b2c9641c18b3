//! `google.protobuf.Struct` in its wire form, which is how Envoy hands over a configuration that is given as a Struct
//! (seen on 1.40; `google/protobuf/struct.proto`).

use super::Document;

/// How deep values may be nested, as serde_json has it.
const DEEPEST: usize = 128;

/// Wire types of the protobuf encoding.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH: u64 = 2;

/// Reads a Struct, or `None` where the bytes are not one. An unknown field is no Struct of today.
pub(super) fn read_struct(bytes: &[u8]) -> Option<Document> {
    structure(bytes, DEEPEST)
}

/// A cursor over one message.
struct Message<'b>(&'b [u8]);

/// One field of a message: its number and its content.
enum Field<'b> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'b [u8]),
}

impl<'b> Message<'b> {
    fn varint(&mut self) -> Option<u64> {
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

    fn field(&mut self) -> Option<(u64, Field<'b>)> {
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

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `Struct { map<string, Value> fields = 1; }`
fn structure(bytes: &[u8], deepest: usize) -> Option<Document> {
    let mut message = Message(bytes);
    let mut entries = Vec::new();
    while !message.is_empty() {
        let (1, Field::Bytes(entry)) = message.field()? else { return None };
        let mut entry = Message(entry);
        let (mut key, mut document) = (String::new(), Document::Null);
        while !entry.is_empty() {
            match entry.field()? {
                (1, Field::Bytes(bytes)) => key = text(bytes)?,
                (2, Field::Bytes(bytes)) => document = value(bytes, deepest.checked_sub(1)?)?,
                _ => return None,
            }
        }
        entries.push((key, document));
    }
    Some(Document::Object(entries))
}

/// `Value { oneof kind { NullValue 1; double 2; string 3; bool 4; Struct 5; ListValue 6; } }`
fn value(bytes: &[u8], deepest: usize) -> Option<Document> {
    let mut message = Message(bytes);
    let mut document = Document::Null;
    while !message.is_empty() {
        document = match message.field()? {
            (1, Field::Varint(_)) => Document::Null,
            (2, Field::Fixed64(bytes)) => Document::from_double(f64::from_le_bytes(bytes)),
            (3, Field::Bytes(bytes)) => Document::Text(text(bytes)?),
            (4, Field::Varint(truth)) => Document::Bool(truth != 0),
            (5, Field::Bytes(bytes)) => structure(bytes, deepest.checked_sub(1)?)?,
            (6, Field::Bytes(bytes)) => list(bytes, deepest.checked_sub(1)?)?,
            _ => return None,
        };
    }
    Some(document)
}

/// `ListValue { repeated Value values = 1; }`
fn list(bytes: &[u8], deepest: usize) -> Option<Document> {
    let mut message = Message(bytes);
    let mut items = Vec::new();
    while !message.is_empty() {
        let (1, Field::Bytes(item)) = message.field()? else { return None };
        items.push(value(item, deepest.checked_sub(1)?)?);
    }
    Some(Document::List(items))
}

fn text(bytes: &[u8]) -> Option<String> {
    str::from_utf8(bytes).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).expect("a short test");
        [&[number << 3 | 2, length], content].concat()
    }

    fn entry(key: &str, value: &[u8]) -> Vec<u8> {
        field(1, &[field(1, key.as_bytes()), field(2, value)].concat())
    }

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
        let expected = Document::parse(
            br#"{"text": "GET", "number": 403, "null": null, "list": ["x", true], "object": {"a": {}}}"#,
        );
        assert_eq!(read_struct(&bytes), expected.ok());
        for end in 1..bytes.len() {
            // A message that is cut off never reads as the whole.
            assert_ne!(read_struct(&bytes[..end]), read_struct(&bytes), "cut at {end}");
        }
    }

    #[test]
    fn nesting_has_an_end() {
        let nested = |depth: usize| (0..depth).fold(field(3, b"x"), |inner, _| long_field(6, &long_field(1, &inner)));
        assert!(value(&nested(60), DEEPEST).is_some());
        assert_eq!(value(&nested(1000), DEEPEST), None);
    }

    fn long_field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2];
        let mut left = content.len();
        while left >= 0x80 {
            bytes.push(u8::try_from(left & 0x7f).expect("7 bits") | 0x80);
            left >>= 7;
        }
        bytes.push(u8::try_from(left).expect("7 bits"));
        bytes.extend(content);
        bytes
    }
}
