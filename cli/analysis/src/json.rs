//! JSON texts of values, as the filters read them.

use crate::tree::{Node, Value};

/// Writes a value as JSON. Repeated keys stay, so that they are reported.
pub(crate) fn write_json(node: &Node, json: &mut String) {
    write_value(&node.value, json);
}

fn write_value(value: &Value, json: &mut String) {
    match value {
        Value::Null => json.push_str("null"),
        Value::Bool(value) => json.push_str(if *value { "true" } else { "false" }),
        Value::Whole(value) => json.push_str(&value.to_string()),
        Value::Float(value) => json.push_str(&serde_json::Value::from(*value).to_string()),
        Value::Text(text) => write_text(text, json),
        Value::List(items) => {
            json.push('[');
            for (index, item) in items.iter().enumerate() {
                separate(index, json);
                write_json(item, json);
            }
            json.push(']');
        }
        Value::Object(entries) => {
            json.push('{');
            for (index, entry) in entries.iter().enumerate() {
                separate(index, json);
                write_key(&entry.key, json);
                write_json(&entry.value, json);
            }
            json.push('}');
        }
    }
}

/// Writes a string with its quotes.
pub(crate) fn write_text(text: &str, json: &mut String) {
    // Most texts need no escape.
    match text.bytes().all(|byte| byte >= b' ' && !matches!(byte, b'"' | b'\\')) {
        true => {
            json.push('"');
            json.push_str(text);
            json.push('"');
        }
        false => json.push_str(&serde_json::Value::from(text).to_string()),
    }
}

/// Writes a key and its colon.
pub(crate) fn write_key(key: &str, json: &mut String) {
    write_text(key, json);
    json.push(':');
}

/// Writes the comma before all items but the first.
pub(crate) fn separate(index: usize, json: &mut String) {
    if index > 0 {
        json.push(',');
    }
}

#[cfg(test)]
mod tests {
    use super::write_text;

    #[test]
    fn texts_are_escaped_where_json_needs_it() {
        for text in ["", "a b", "ü{}", "a\"b", "a\\b", "a\nb", "\u{1}"] {
            let mut json = String::new();
            write_text(text, &mut json);
            assert_eq!(serde_json::from_str::<String>(&json).ok().as_deref(), Some(text), "{json}");
        }
    }
}
