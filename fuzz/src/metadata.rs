//! Dynamic metadata in its wire form, against a reader that follows protobuf's rules to the letter: fields in any order,
//! the last of repeated ones counts, repeated messages are merged, unknown fields are skipped.

use std::collections::BTreeMap;

use sallyport_policy::DynamicMetadata;

use crate::json::{Json, map_entry};

/// Nesting that the plain reader follows, more than the filters do.
const MAX_DEPTH: usize = 200;

/// Structures by the filters that set them.
type Metadata = BTreeMap<String, BTreeMap<String, Json>>;

/// Checks that what is read from a message is what protobuf says it holds, and that a message as serializers write it is
/// read.
pub fn check(data: &[u8]) {
    let metadata = DynamicMetadata::new(data.to_vec());
    let Some(plain) = read(data) else {
        // What another filter has set is skipped, whatever it is.
        let _any = metadata.linear_value("absent", "absent");
        return;
    };
    for filter in plain.keys().map(String::as_str).chain(["absent", "envoy.filters.http.jwt_authn"]) {
        let structure = plain.get(filter);
        let keys = structure.iter().flat_map(|structure| structure.keys()).map(String::as_str);
        for key in keys.chain(["absent", "payload"]) {
            // A message that no serializer writes is refused.
            let Ok(found) = metadata.linear_value(filter, key) else { continue };
            let value = structure.and_then(|structure| structure.get(key));
            assert_eq!(found, value.map(ToString::to_string), "{filter} {key}: the plain reader on the right");
        }
    }
    check_written(&plain);
}

/// Checks that a message as serializers write it is read as a whole.
fn check_written(plain: &Metadata) {
    let structure = |structure: &BTreeMap<String, Json>| {
        structure.iter().flat_map(|(key, value)| map_entry(key, &value.to_proto_value())).collect::<Vec<u8>>()
    };
    let bytes = plain.iter().flat_map(|(filter, one)| map_entry(filter, &structure(one))).collect();
    let metadata = DynamicMetadata::new(bytes);
    for (filter, structure) in plain {
        if !structure.values().all(Json::is_exact) {
            continue;
        }
        for (key, value) in structure {
            let found = metadata.linear_value(filter, key);
            assert_eq!(found, Ok(Some(value.to_string())), "{filter} {key}, written again");
        }
    }
}

/// A field of a message by its wire type.
enum Field<'b> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'b [u8]),
    Fixed32,
}

/// Splits a message into its fields; `None` if it is cut off.
fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Field<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let field = match tag & 7 {
            0 => Field::Varint(varint(&mut bytes)?),
            1 => Field::Fixed64(*take(&mut bytes, 8)?.first_chunk()?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                Field::Bytes(take(&mut bytes, length)?)
            }
            5 => {
                take(&mut bytes, 4)?;
                Field::Fixed32
            }
            _ => return None,
        };
        fields.push((tag >> 3, field));
    }
    Some(fields)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *take(bytes, 1)?.first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take<'b>(bytes: &mut &'b [u8], length: usize) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// Reads `Metadata { map<string, Struct> filter_metadata = 1; }`.
fn read(bytes: &[u8]) -> Option<Metadata> {
    let entries = map(bytes)?.into_iter();
    entries.map(|(filter, content)| Some((filter, structure(&content, MAX_DEPTH)?))).collect()
}

/// Reads `Struct { map<string, Value> fields = 1; }`.
fn structure(bytes: &[u8], depth: usize) -> Option<BTreeMap<String, Json>> {
    let depth = depth.checked_sub(1)?;
    map(bytes)?.into_iter().map(|(key, content)| Some((key, value(&content, depth)?))).collect()
}

/// Reads the map that is field 1 of a message. Merging messages is joining their bytes.
fn map(bytes: &[u8]) -> Option<BTreeMap<String, Vec<u8>>> {
    let mut map = BTreeMap::new();
    for (number, field) in fields(bytes)? {
        let (1, Field::Bytes(entry)) = (number, field) else { continue };
        let (mut key, mut content) = (String::new(), Vec::new());
        for (number, field) in fields(entry)? {
            match (number, field) {
                (1, Field::Bytes(text)) => key = str::from_utf8(text).ok()?.to_owned(),
                (2, Field::Bytes(bytes)) => content.extend_from_slice(bytes),
                _ => {}
            }
        }
        map.insert(key, content);
    }
    Some(map)
}

/// Reads `Value { oneof kind { NullValue 1; double 2; string 3; bool 4; Struct 5; ListValue 6; } }`.
fn value(bytes: &[u8], depth: usize) -> Option<Json> {
    let depth = depth.checked_sub(1)?;
    let mut kind = Json::Null;
    // The bytes of the message that is the value so far, with its number.
    let mut message: Option<(u64, Vec<u8>)> = None;
    for (number, field) in fields(bytes)? {
        match (number, field) {
            (1, Field::Varint(_)) => kind = Json::Null,
            (2, Field::Fixed64(bytes)) => kind = Json::Number(known(f64::from_le_bytes(bytes))),
            (3, Field::Bytes(text)) => kind = Json::Text(str::from_utf8(text).ok()?.to_owned()),
            (4, Field::Varint(bool)) => kind = Json::Bool(bool != 0),
            (number @ (5 | 6), Field::Bytes(bytes)) => {
                let joined = message.take().filter(|(before, _)| *before == number).map(|(_, bytes)| bytes);
                let joined = [joined.unwrap_or_default().as_slice(), bytes].concat();
                kind = match number {
                    5 => Json::Object(structure(&joined, depth)?.into_iter().collect()),
                    _ => list(&joined, depth)?,
                };
                message = Some((number, joined));
                continue;
            }
            _ => continue,
        }
        message = None;
    }
    Some(kind)
}

/// Reads `ListValue { repeated Value values = 1; }`.
fn list(bytes: &[u8], depth: usize) -> Option<Json> {
    let mut items = Vec::new();
    for (number, field) in fields(bytes)? {
        if let (1, Field::Bytes(item)) = (number, field) {
            items.push(value(item, depth)?);
        }
    }
    Some(Json::List(items))
}

/// Returns what the filters keep of a number: a whole one that is exact, otherwise that it has a fraction or is unknown.
fn known(number: f64) -> f64 {
    match number.fract() == 0.0 {
        true if number.abs() <= 9_007_199_254_740_992.0 => number + 0.0,
        false if number.is_finite() => 0.5,
        _ => f64::INFINITY,
    }
}
