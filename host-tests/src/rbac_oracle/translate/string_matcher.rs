//! Istio's string matcher (`pilot/pkg/security/authz/matcher/string.go`).

use serde_json::{Value, json};

/// Returns the matcher of a value: `*` matches any string that is not empty, `*suffix` and `prefix*` what they say,
/// other values exactly. One star is consumed, every other one is literal.
pub(super) fn matcher(value: &str) -> Value {
    match (value, value.strip_prefix('*'), value.strip_suffix('*')) {
        ("*", ..) => regex(".+"),
        (_, Some(suffix), _) => json!({"suffix": suffix}),
        (_, None, Some(prefix)) => json!({"prefix": prefix}),
        (_, None, None) => json!({"exact": value}),
    }
}

/// Returns the matcher of a principal, which is written without its scheme.
pub(super) fn principal(value: &str) -> Value {
    match (value, value.strip_prefix('*'), value.strip_suffix('*')) {
        ("*", ..) => regex(".+"),
        (_, Some(suffix), _) => regex(&format!("spiffe://.*{}", escape_regex(suffix))),
        (_, None, Some(prefix)) => json!({"prefix": format!("spiffe://{prefix}")}),
        (_, None, None) => json!({"exact": format!("spiffe://{value}")}),
    }
}

/// Returns the matcher of a header. A star alone is a presence match, so it matches an empty value too.
pub(super) fn header(name: &str, value: &str, ignore_case: bool) -> Value {
    if value == "*" {
        return json!({"name": name, "present_match": true});
    }
    let mut matcher = matcher(value);
    if let (true, Value::Object(keys)) = (ignore_case, &mut matcher) {
        keys.insert("ignore_case".to_owned(), json!(true));
    }
    json!({"name": name, "string_match": matcher})
}

pub(super) fn regex(expression: &str) -> Value {
    json!({"safe_regex": {"regex": expression}})
}

/// Returns a regular expression that matches exactly this text.
pub(super) fn escape_regex(text: &str) -> String {
    let mut expression = String::new();
    for character in text.chars() {
        if r"\.+*?()|[]{}^$".contains(character) {
            expression.push('\\');
        }
        expression.push(character);
    }
    expression
}
