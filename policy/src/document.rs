//! The configuration as it was written: a JSON tree that keeps what a map would lose.

pub(crate) mod wire;

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::fault::{Fault, Refusal};

/// A JSON value. Objects keep their entries in order and keep repeated keys, so that a key that is given twice
/// is reported and not quietly decided by the last one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Document {
    Null,
    Bool(bool),
    /// Rare, and by itself larger than all others.
    Number(Box<Number>),
    Text(String),
    List(Vec<Document>),
    Object(Vec<(String, Document)>),
}

/// A number of a configuration. Nothing there takes one that is not whole, so of that no more is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    Whole(u64),
    Negative(i64),
    /// With a fraction, or beyond 64 bits.
    Other,
}

impl Document {
    /// Reads a plugin configuration as Envoy hands it over: the JSON text (RFC 8259) of a `StringValue` or
    /// `BytesValue`, or the wire form of a `google.protobuf.Struct`. Fails on anything that is neither.
    ///
    /// The two cannot be taken for each other: the wire form of an object with a key holds bytes that JSON forbids.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let refused = |problem: String| Err(Refusal::of(Fault::new("", problem)));
        if bytes.is_empty() {
            return refused(
                "the filter has no configuration, give it one as a google.protobuf.Struct or StringValue".to_owned(),
            );
        }
        match serde_json::from_slice(bytes) {
            Ok(document) => Ok(document),
            Err(error) => match wire::read_struct(bytes) {
                Some(document) => Ok(document),
                None => refused(format!("the configuration is not valid JSON: {error}")),
            },
        }
    }

    /// JSON and protobuf have one kind of number: 403.0 is 403.
    fn from_double(value: f64) -> Self {
        /// Up to here every whole number is a double of its own.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match value.fract() == 0.0 && value.abs() <= EXACT {
            true => {
                #[expect(clippy::cast_possible_truncation, reason = "whole, and far within the range of i64")]
                let whole = value as i64;
                Self::from_whole(whole)
            }
            false => Self::Number(Box::new(Number::Other)),
        }
    }

    fn from_whole(value: i64) -> Self {
        Self::Number(Box::new(u64::try_from(value).map_or(Number::Negative(value), Number::Whole)))
    }

    /// Takes the items of the list under `key` out of an object, which keeps an empty one: so that each can go when it
    /// has been read. There are none where there is no such list.
    pub(crate) fn take_items(&mut self, key: &str) -> Vec<Self> {
        let Self::Object(entries) = self else { return Vec::new() };
        match entries.iter_mut().find(|(known, _)| known == key) {
            Some((_, Self::List(items))) => std::mem::take(items),
            _ => Vec::new(),
        }
    }

    /// Its text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What it is, in the words of someone who writes YAML.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tree;

        impl<'de> Visitor<'de> for Tree {
            type Value = Document;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E>(self) -> Result<Document, E> {
                Ok(Document::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Document, E> {
                Ok(Document::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Document, E> {
                Ok(Document::from_whole(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Document, E> {
                Ok(Document::Number(Box::new(Number::Whole(value))))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Document, E> {
                Ok(Document::from_double(value))
            }

            fn visit_str<E>(self, value: &str) -> Result<Document, E> {
                Ok(Document::Text(value.to_owned()))
            }

            fn visit_string<E>(self, value: String) -> Result<Document, E> {
                Ok(Document::Text(value))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Document, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                // Policies are small objects by the thousand: room for more would be most of the memory.
                items.shrink_to_fit();
                Ok(Document::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Document, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = object.next_entry()? {
                    entries.push(entry);
                }
                entries.shrink_to_fit();
                Ok(Document::Object(entries))
            }
        }

        deserializer.deserialize_any(Tree)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_whole_where_they_can_be() {
        let rows = [
            ("403", Number::Whole(403)),
            ("403.0", Number::Whole(403)),
            ("-1", Number::Negative(-1)),
            ("18446744073709551615", Number::Whole(u64::MAX)),
            ("1.5", Number::Other),
            ("1e300", Number::Other),
        ];
        for (text, expected) in rows {
            let written = Document::parse(text.as_bytes()).ok();
            assert_eq!(written, Some(Document::Number(Box::new(expected))), "{text}");
        }
    }

    #[test]
    fn what_is_neither_json_nor_a_struct_is_refused_as_json() {
        for bytes in [&b"resources: []"[..], b"\n", b"\n\x03abc", b"{\"a\": }", b"\xff\xfe"] {
            let refusal = Document::parse(bytes).err().map(|refusal| refusal.to_string()).unwrap_or_default();
            assert!(refusal.starts_with("the configuration is not valid JSON: "), "{refusal}");
        }
    }
}
