//! Configurations written as YAML.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Turns YAML into the JSON text that a filter reads, with keys in the same order.
pub(crate) fn json(yaml: &str) -> String {
    match serde_saphyr::from_str::<Json>(yaml) {
        Ok(Json(text)) => text,
        Err(error) => panic!("{error} in {yaml}"),
    }
}

/// The JSON text of a value.
struct Json(String);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor).map(Self)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_unit<E>(self) -> Result<String, E> {
        Ok("null".to_owned())
    }

    fn visit_bool<E>(self, value: bool) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_i64<E>(self, value: i64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_u64<E>(self, value: u64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_str<E>(self, value: &str) -> Result<String, E> {
        Ok(serde_json::Value::from(value).to_string())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<String, A::Error> {
        let mut written = Vec::new();
        while let Some(Json(item)) = items.next_element()? {
            written.push(item);
        }
        Ok(format!("[{}]", written.join(", ")))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<String, A::Error> {
        let mut written = Vec::new();
        while let Some((key, Json(value))) = entries.next_entry::<String, Json>()? {
            written.push(format!("{}: {value}", serde_json::Value::from(key)));
        }
        Ok(format!("{{{}}}", written.join(", ")))
    }
}
