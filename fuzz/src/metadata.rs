//! Dynamic metadata in its wire form, against the protobuf library `prost`.

use std::collections::BTreeMap;

use prost::Message;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use sallyport_policy::DynamicMetadata;

use crate::json::Json;

/// `envoy.config.core.v3.Metadata`, as far as it holds structures.
#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(btree_map = "string, message", tag = "1")]
    filter_metadata: BTreeMap<String, Struct>,
}

/// Checks that what is read from a message is what `prost` reads from it, and that a message that either writes is read.
pub fn check(data: &[u8]) {
    let metadata = DynamicMetadata::new(data.to_vec());
    let Ok(decoded) = Metadata::decode(data) else {
        // What another filter has set is skipped, whatever it is.
        let _any = metadata.linear_value("absent", "absent");
        return;
    };
    for filter in decoded.filter_metadata.keys().map(String::as_str).chain(["absent", "envoy.filters.http.jwt_authn"]) {
        let structure = decoded.filter_metadata.get(filter);
        let keys = structure.iter().flat_map(|structure| structure.fields.keys()).map(String::as_str);
        for key in keys.chain(["absent", "payload"]) {
            // A message that a serializer does not write is refused.
            let Ok(read) = metadata.linear_value(filter, key) else { continue };
            let value = structure.and_then(|structure| structure.fields.get(key));
            assert_eq!(read, value.map(|value| plain(value).to_string()), "{filter} {key}: prost on the right");
        }
    }
    check_written(&decoded);
}

/// Checks that a message as it is usually written is read as a whole.
fn check_written(decoded: &Metadata) {
    let metadata = DynamicMetadata::new(decoded.encode_to_vec());
    for (filter, structure) in &decoded.filter_metadata {
        for (key, value) in &structure.fields {
            let expected = plain(value);
            if expected.is_exact() {
                let read = metadata.linear_value(filter, key);
                assert_eq!(read, Ok(Some(expected.to_string())), "{filter} {key}, written by prost");
            }
        }
    }
}

/// Returns a value as JSON, with keys in order.
fn plain(value: &Value) -> Json {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(bool)) => Json::Bool(*bool),
        Some(Kind::NumberValue(number)) => Json::Number(known(*number)),
        Some(Kind::StringValue(text)) => Json::Text(text.clone()),
        Some(Kind::ListValue(list)) => Json::List(list.values.iter().map(plain).collect()),
        Some(Kind::StructValue(structure)) => {
            Json::Object(structure.fields.iter().map(|(key, value)| (key.clone(), plain(value))).collect())
        }
    }
}

/// Returns what the filters keep of a number: a whole one that is exact, otherwise that it has a fraction or is unknown.
fn known(number: f64) -> f64 {
    match number.fract() == 0.0 {
        true if number.abs() <= 9_007_199_254_740_992.0 => number + 0.0,
        false if number.is_finite() => 0.5,
        _ => f64::INFINITY,
    }
}
