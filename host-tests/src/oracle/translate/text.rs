//! Istio's one matcher for strings (`pilot/pkg/security/authz/matcher/string.go`).

use serde_json::{Value, json};

/// The matcher of a value: `*` for any text that is not empty, `*suffix`, `prefix*`, otherwise exactly this. One star
/// is consumed, every other is literal.
pub(super) fn matcher(value: &str) -> Value {
    match (value, value.strip_prefix('*'), value.strip_suffix('*')) {
        ("*", ..) => regex(".+"),
        (_, Some(suffix), _) => json!({"suffix": suffix}),
        (_, None, Some(prefix)) => json!({"prefix": prefix}),
        (_, None, None) => json!({"exact": value}),
    }
}

/// The matcher of a principal, which is written without its scheme.
pub(super) fn principal(value: &str) -> Value {
    match (value, value.strip_prefix('*'), value.strip_suffix('*')) {
        ("*", ..) => regex(".+"),
        (_, Some(suffix), _) => regex(&format!("spiffe://.*{}", quoted(suffix))),
        (_, None, Some(prefix)) => json!({"prefix": format!("spiffe://{prefix}")}),
        (_, None, None) => json!({"exact": format!("spiffe://{value}")}),
    }
}

/// The matcher of a header: a star by itself asks only whether it is there, so that an empty value matches.
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

/// A text as an expression that matches it alone.
pub(super) fn quoted(text: &str) -> String {
    let mut expression = String::new();
    for character in text.chars() {
        if r"\.+*?()|[]{}^$".contains(character) {
            expression.push('\\');
        }
        expression.push(character);
    }
    expression
}
