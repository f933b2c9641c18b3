//! Protobuf messages written as Envoy writes them: `google.protobuf.Struct` and dynamic metadata.

use crate::attributes::dynamic_metadata::DynamicMetadata;
use crate::config::value::{Number, Value};

/// A field of the wire type LEN.
pub(crate) fn field(number: u8, content: &[u8]) -> Vec<u8> {
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

/// An entry of a map, by its text key.
pub(crate) fn entry(key: &str, value: &[u8]) -> Vec<u8> {
    field(1, &[field(1, key.as_bytes()), field(2, value)].concat())
}

/// The dynamic metadata that one filter has set under one key, given as JSON.
pub(crate) fn metadata(filter: &str, key: &str, json: &str) -> DynamicMetadata {
    let value = Value::of_json(json.as_bytes()).expect("JSON");
    DynamicMetadata::new(entry(filter, &entry(key, &self::value(&value))))
}

/// A Struct; an empty one where `document` is no object.
pub(crate) fn structure(document: &Value) -> Vec<u8> {
    match document {
        Value::Object(entries) => entries.iter().flat_map(|(key, inner)| entry(key, &value(inner))).collect(),
        _ => Vec::new(),
    }
}

fn value(document: &Value) -> Vec<u8> {
    match document {
        Value::Null => vec![1 << 3, 0],
        Value::Bool(bool) => vec![4 << 3, u8::from(*bool)],
        Value::Number(number) => {
            #[expect(clippy::cast_precision_loss, reason = "numbers of tests are small")]
            let double = match &**number {
                Number::Whole(number) => *number as f64,
                Number::Negative(number) => *number as f64,
                Number::NonInteger => 1.5,
                Number::Inexact => 1e300,
            };
            [&[2 << 3 | 1][..], &double.to_le_bytes()].concat()
        }
        Value::Text(text) => field(3, text.as_bytes()),
        Value::List(items) => field(6, &items.iter().flat_map(|item| field(1, &value(item))).collect::<Vec<_>>()),
        Value::Object(_) => field(5, &structure(document)),
    }
}
