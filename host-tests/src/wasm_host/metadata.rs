//! Dynamic metadata in the encoding of Envoy's attribute `metadata`: the wire form of
//! `envoy.config.core.v3.Metadata` (`envoy/config/core/v3/base.proto`, `google/protobuf/struct.proto`).

use serde_json::{Map, Value};

/// Encodes the metadata of several filters: an object of objects, keyed by filter name.
pub fn encode(metadata: &Map<String, Value>) -> Vec<u8> {
    metadata
        .iter()
        .flat_map(|(filter, values)| match values {
            Value::Object(values) => map_entry(filter, &encode_struct(values)),
            _ => map_entry(filter, b""),
        })
        .collect()
}

fn encode_struct(fields: &Map<String, Value>) -> Vec<u8> {
    fields.iter().flat_map(|(key, value)| map_entry(key, &encode_value(value))).collect()
}

fn encode_value(value: &Value) -> Vec<u8> {
    match value {
        Value::Null => vec![1 << 3, 0],
        Value::Number(number) => [&[2 << 3 | 1][..], &number.as_f64().unwrap_or_default().to_le_bytes()].concat(),
        Value::String(string) => length_delimited(3, string.as_bytes()),
        Value::Bool(boolean) => vec![4 << 3, u8::from(*boolean)],
        Value::Object(fields) => length_delimited(5, &encode_struct(fields)),
        Value::Array(items) => {
            let items = items.iter().flat_map(|item| length_delimited(1, &encode_value(item)));
            length_delimited(6, &items.collect::<Vec<_>>())
        }
    }
}

/// Encodes one entry of a map field with number 1.
fn map_entry(key: &str, value: &[u8]) -> Vec<u8> {
    length_delimited(1, &[length_delimited(1, key.as_bytes()), length_delimited(2, value)].concat())
}

/// Encodes a field of wire type 2: its tag, the length as a varint, the content.
fn length_delimited(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = content.len();
    loop {
        let low_bits = u8::try_from(length & 0x7f).unwrap_or_default();
        length >>= 7;
        if length == 0 {
            bytes.push(low_bits);
            break;
        }
        bytes.push(low_bits | 0x80);
    }
    bytes.extend(content);
    bytes
}
