//! Dynamic metadata in the wire form of `envoy.config.core.v3.Metadata`, and objects in that of `google.protobuf.Struct`.

use serde_json::{Map, Value};

/// Writes the metadata of several filters, each an object.
pub(crate) fn metadata(of_filters: &Map<String, Value>) -> Vec<u8> {
    let entry_of =
        |(filter, values): (&String, &Value)| entry(filter, &values.as_object().map(object).unwrap_or_default());
    of_filters.iter().flat_map(entry_of).collect()
}

/// Writes an object as a Struct.
pub(crate) fn object(fields: &Map<String, Value>) -> Vec<u8> {
    fields.iter().flat_map(|(key, inner)| entry(key, &value(inner))).collect()
}

fn value(value_of: &Value) -> Vec<u8> {
    match value_of {
        Value::Null => vec![1 << 3, 0],
        Value::Number(number) => [&[2 << 3 | 1][..], &number.as_f64().unwrap_or_default().to_le_bytes()].concat(),
        Value::String(text) => field(3, text.as_bytes()),
        Value::Bool(truth) => vec![4 << 3, u8::from(*truth)],
        Value::Object(fields) => field(5, &object(fields)),
        Value::Array(items) => field(6, &items.iter().flat_map(|item| field(1, &value(item))).collect::<Vec<_>>()),
    }
}

/// Entry of a map.
fn entry(key: &str, content: &[u8]) -> Vec<u8> {
    field(1, &[field(1, key.as_bytes()), field(2, content)].concat())
}

/// Field of the wire type LEN.
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
