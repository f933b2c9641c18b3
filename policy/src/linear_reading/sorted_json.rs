//! Values of metadata as JSON, in one form.

use std::collections::BTreeMap;

use crate::config::value::{Number, Value};

/// Writes a value as JSON with sorted keys, of which the last of repeated ones counts.
pub(crate) fn sorted_json(value: &Value) -> String {
    let text = |text: &String| serde_json::Value::from(text.as_str()).to_string();
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(bool) => bool.to_string(),
        Value::Number(number) => match **number {
            Number::Whole(number) => number.to_string(),
            Number::Negative(number) => number.to_string(),
            Number::NonInteger => "0.5".to_owned(),
            Number::Inexact => "inf".to_owned(),
        },
        Value::Text(value) => text(value),
        Value::List(items) => format!("[{}]", items.iter().map(sorted_json).collect::<Vec<_>>().join(",")),
        Value::Object(entries) => {
            let last: BTreeMap<_, _> = entries.iter().map(|(key, value)| (key, value)).collect();
            let written = last.into_iter().map(|(key, value)| format!("{}:{}", text(key), sorted_json(value)));
            format!("{{{}}}", written.collect::<Vec<_>>().join(","))
        }
    }
}
