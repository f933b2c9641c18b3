//! Dynamic metadata in the encoding of Envoy's attribute `metadata`: the wire form of
//! `envoy.config.core.v3.Metadata` (`envoy/config/core/v3/base.proto`, `google/protobuf/struct.proto`).

use serde_json::{Map, Value};

/// The metadata of several filters: an object of objects, by the filters' names.
pub fn encode(metadata: &Map<String, Value>) -> Vec<u8> {
    metadata
        .iter()
        .flat_map(|(filter, values)| match values {
            Value::Object(values) => entry(filter, &structure(values)),
            _ => entry(filter, b""),
        })
        .collect()
}

fn structure(fields: &Map<String, Value>) -> Vec<u8> {
    fields.iter().flat_map(|(key, inner)| entry(key, &value(inner))).collect()
}

fn value(of: &Value) -> Vec<u8> {
    match of {
        Value::Null => vec![1 << 3, 0],
        Value::Number(number) => [&[2 << 3 | 1][..], &number.as_f64().unwrap_or_default().to_le_bytes()].concat(),
        Value::String(text) => field(3, text.as_bytes()),
        Value::Bool(truth) => vec![4 << 3, u8::from(*truth)],
        Value::Object(fields) => field(5, &structure(fields)),
        Value::Array(items) => field(6, &items.iter().flat_map(|item| field(1, &value(item))).collect::<Vec<_>>()),
    }
}

/// An entry of a map.
fn entry(key: &str, value: &[u8]) -> Vec<u8> {
    field(1, &[field(1, key.as_bytes()), field(2, value)].concat())
}

/// A field whose content has a length.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut left = content.len();
    loop {
        let seven = u8::try_from(left & 0x7f).unwrap_or_default();
        left >>= 7;
        if left == 0 {
            bytes.push(seven);
            break;
        }
        bytes.push(seven | 0x80);
    }
    bytes.extend(content);
    bytes
}
