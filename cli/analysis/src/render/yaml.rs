//! YAML that Envoy, Kubernetes and this command read alike.
//!
//! Envoy takes plain scalars for booleans and numbers as YAML 1.1 does (`on`, `y`, `0x1f`), whatever quotes a writer of
//! YAML 1.2 leaves out. So a string is plain only if no reader can take it for something else.

use crate::source::Span;
use crate::tree::{Entry, Node, Value};

/// The longest list of scalars on one line, in bytes.
const MAX_FLOW: usize = 90;

/// Plain words that some readers take for a boolean, a number or nothing.
const RESERVED: [&str; 11] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"];

/// Position of nodes that stand in no file.
const NOWHERE: Span = Span { source: 0, start: 0, end: 0 };

/// Returns a node that stands in no file.
pub(crate) fn node(value: Value) -> Node {
    Node { value, span: NOWHERE }
}

/// Returns a string.
pub(crate) fn text(text: impl Into<String>) -> Node {
    node(Value::Text(text.into()))
}

/// Returns a list.
pub(crate) fn list(items: Vec<Node>) -> Node {
    node(Value::List(items))
}

/// Returns an object.
pub(crate) fn object<const N: usize>(entries: [(&str, Node); N]) -> Node {
    node(Value::Object(entries.into_iter().map(|(key, value)| entry(key, value)).collect()))
}

/// Returns an entry of an object.
pub(crate) fn entry(key: &str, value: Node) -> Entry {
    Entry { key: key.to_owned(), key_span: NOWHERE, value }
}

/// Writes a value in block style, without indentation and with a line break at its end.
pub(crate) fn write(node: &Node) -> String {
    let mut text = lines(node).join("\n");
    text.push('\n');
    text
}

/// Indents all lines of a text but empty ones.
pub(crate) fn indent(text: &str, width: usize) -> String {
    let mut indented = String::new();
    for line in text.lines() {
        if !line.is_empty() {
            indented.extend(std::iter::repeat_n(' ', width));
            indented.push_str(line);
        }
        indented.push('\n');
    }
    indented
}

/// Writes a string as a scalar, quoted where a reader could take it for something else.
pub(crate) fn scalar(text: &str) -> String {
    let is_inner = |character: char| character.is_ascii_alphanumeric() || "/_.-".contains(character);
    let is_plain = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && text.chars().all(is_inner)
        && !RESERVED.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_plain {
        return text.to_owned();
    }
    let mut quoted = String::new();
    for character in serde_json::Value::from(text).to_string().chars() {
        match character {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            other => quoted.push(other),
        }
    }
    quoted
}

fn lines(node: &Node) -> Vec<String> {
    if let Some(line) = one_line(node) {
        return vec![line];
    }
    let mut all = Vec::new();
    match &node.value {
        Value::List(items) => {
            for item in items {
                for (index, line) in lines(item).into_iter().enumerate() {
                    all.push(format!("{}{line}", if index == 0 { "- " } else { "  " }));
                }
            }
        }
        Value::Object(entries) => {
            for Entry { key, value, .. } in entries {
                let key = scalar(key);
                match one_line(value) {
                    Some(line) => all.push(format!("{key}: {line}")),
                    None => {
                        all.push(format!("{key}:"));
                        // Lists stand at the level of their key, as Kubernetes and Envoy's examples have them.
                        let width = if matches!(value.value, Value::List(_)) { "" } else { "  " };
                        all.extend(lines(value).into_iter().map(|line| format!("{width}{line}")));
                    }
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Whole(_) | Value::Float(_) | Value::Text(_) => {}
    }
    all
}

/// Returns scalars, what is empty, and short lists of scalars.
fn one_line(node: &Node) -> Option<String> {
    match &node.value {
        Value::Null => Some("null".to_owned()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Whole(value) => Some(value.to_string()),
        Value::Float(value) => Some(serde_json::Value::from(*value).to_string()),
        Value::Text(text) => Some(scalar(text)),
        Value::Object(entries) => entries.is_empty().then(|| "{}".to_owned()),
        Value::List(items) => {
            let is_scalar = |item: &Node| !matches!(item.value, Value::List(_) | Value::Object(_));
            if !items.iter().all(is_scalar) {
                return None;
            }
            let items: Vec<String> = items.iter().filter_map(one_line).collect();
            let line = format!("[{}]", items.join(", "));
            (line.len() <= MAX_FLOW).then_some(line)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::read_documents;
    use crate::json::write_json;
    use crate::source::Source;

    fn json(node: &Node) -> String {
        let mut json = String::new();
        write_json(node, &mut json);
        json
    }

    #[test]
    fn what_is_written_is_read_again() {
        let texts = [
            "a",
            "/orders/*",
            "*",
            "on",
            "No",
            "Y",
            "null",
            "~",
            "",
            " a ",
            "012",
            "0x1f",
            "1e3",
            "1_000",
            "12:30",
            "a: b",
            "a #b",
            "- a",
            "[a]",
            "{a}",
            "&a",
            "!a",
            "%a",
            "@a",
            "`a`",
            "'",
            "\"",
            "\\",
            "a\nb",
            "\t",
            "\u{85}",
            "\u{2028}",
            "ü",
            "🦀",
            "2026-11-28",
            ".inf",
            "NaN",
            "=",
            "<<",
            "---",
            "...",
        ];
        let texts: Vec<Node> = texts.into_iter().map(text).collect();
        let mut root = object([
            ("long", list(texts.clone())),
            ("short", list(texts.iter().take(3).cloned().collect())),
            ("empty", list(Vec::new())),
            (
                "object",
                object([
                    ("on", object([])),
                    ("deep", list(vec![list(vec![object([("a", text("b"))])]), node(Value::Null)])),
                ]),
            ),
            ("numbers", list(vec![node(Value::Whole(-8443)), node(Value::Float(1.5)), node(Value::Bool(true))])),
        ]);
        if let Value::Object(entries) = &mut root.value {
            let keys = texts.iter().filter_map(Node::as_str).enumerate();
            entries.extend(keys.map(|(index, key)| entry(&format!("{key}{index}"), object([(key, text(key))]))));
        }
        let written = indent(&write(&root), 4);
        let (documents, findings) = read_documents(0, &Source::new("", written.clone()));
        assert_eq!(findings, []);
        assert_eq!(json(&documents.first().expect("a document").root), json(&root), "{written}");
    }

    #[test]
    fn strings_are_plain_where_every_reader_takes_them_for_strings() {
        for plain in ["orders", "/orders/1", "security.istio.io/v1", "shop-v2"] {
            assert_eq!(scalar(plain), plain);
        }
        for quoted in ["on", "N", "True", "1", "0x1", "-1", "*", "a:b", "", "null", ".5"] {
            assert_eq!(scalar(quoted), format!("\"{quoted}\""));
        }
        assert_eq!(scalar("a\u{7f}"), "\"a\\u007f\"");
    }
}
