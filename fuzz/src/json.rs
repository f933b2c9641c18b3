//! JSON whose objects keep their entries in order and repeated, and its form as a `google.protobuf.Struct`.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Largest whole number up to which every double is exact.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Nesting up to which JSON and a Struct are both read: each has a limit of its own.
const MAX_DEPTH: usize = 50;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Number, as a double, which is what a Struct has.
    Number(f64),
    /// String.
    Text(String),
    /// List.
    List(Vec<Json>),
    /// Object.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Parses a JSON text.
    pub fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    /// Returns the last value under `key`.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Object(entries) = self else { return None };
        entries.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Returns the string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the items, none if it is no list.
    pub fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// Reports whether the value means the same in both forms: numbers are exact, and nothing is nested beyond what
    /// both read.
    pub fn is_exact(&self) -> bool {
        self.is_exact_within(MAX_DEPTH)
    }

    fn is_exact_within(&self, depth: usize) -> bool {
        let Some(depth) = depth.checked_sub(1) else { return false };
        match self {
            Self::Null | Self::Bool(_) | Self::Text(_) => true,
            Self::Number(number) => number.abs() < MAX_EXACT,
            Self::List(items) => items.iter().all(|item| item.is_exact_within(depth)),
            Self::Object(entries) => entries.iter().all(|(_, value)| value.is_exact_within(depth)),
        }
    }

    /// Writes an object as a Struct; `None` for another value.
    pub fn to_struct(&self) -> Option<Vec<u8>> {
        match self {
            Self::Object(entries) => {
                Some(entries.iter().flat_map(|(key, value)| map_entry(key, &value.to_proto_value())).collect())
            }
            _ => None,
        }
    }

    /// Writes a `google.protobuf.Value`.
    pub fn to_proto_value(&self) -> Vec<u8> {
        match self {
            Self::Null => vec![1 << 3, 0],
            Self::Bool(bool) => vec![4 << 3, u8::from(*bool)],
            Self::Number(number) => [&[2 << 3 | 1][..], &number.to_le_bytes()].concat(),
            Self::Text(text) => length_field(3, text.as_bytes()),
            Self::List(items) => {
                let items: Vec<u8> = items.iter().flat_map(|item| length_field(1, &item.to_proto_value())).collect();
                length_field(6, &items)
            }
            Self::Object(_) => length_field(5, &self.to_struct().unwrap_or_default()),
        }
    }
}

/// Writes a field of the wire type LEN.
fn length_field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut left = content.len();
    while left >= 0x80 {
        bytes.push(u8::try_from(left & 0x7f).unwrap_or_default() | 0x80);
        left >>= 7;
    }
    bytes.push(u8::try_from(left).unwrap_or_default());
    bytes.extend(content);
    bytes
}

/// Writes an entry of a map, the field 1 of its message.
pub fn map_entry(key: &str, value: &[u8]) -> Vec<u8> {
    length_field(1, &[length_field(1, key.as_bytes()), length_field(2, value)].concat())
}

/// Writes the JSON text.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(bool) => bool.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => serde_json::Value::from(text.as_str()).fmt(f),
            Self::List(items) => {
                for (position, item) in items.iter().enumerate() {
                    f.write_str(if position == 0 { "[" } else { "," })?;
                    item.fmt(f)?;
                }
                f.write_str(if items.is_empty() { "[]" } else { "]" })
            }
            Self::Object(entries) => {
                for (position, (key, value)) in entries.iter().enumerate() {
                    f.write_str(if position == 0 { "{" } else { "," })?;
                    write!(f, "{}:{value}", serde_json::Value::from(key.as_str()))?;
                }
                f.write_str(if entries.is_empty() { "{}" } else { "}" })
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string().parse().unwrap_or(f64::NAN)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string().parse().unwrap_or(f64::NAN)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut read = Vec::new();
        while let Some(item) = items.next_element()? {
            read.push(item);
        }
        Ok(Json::List(read))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut read = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            read.push(entry);
        }
        Ok(Json::Object(read))
    }
}
