//! Paths of the filters' errors, as in `spec.rules[0].from[1]`, and the parts of a text that they lead to.

use sallyport_policy::ErrorCode;

use crate::source::Span;
use crate::tree::{Node, Value};

/// Step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Item(usize),
}

/// Splits a path: keys after dots or, where they have other characters, in `["..."]`; indexes in brackets.
pub(crate) fn steps(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix("[\"") {
            let (key, after) = quoted.split_once("\"]").unwrap_or((quoted, ""));
            steps.push(Step::Key(key.to_owned()));
            rest = after;
        } else if let Some(bracketed) = rest.strip_prefix('[') {
            let (index, after) = bracketed.split_once(']').unwrap_or((bracketed, ""));
            match index.parse() {
                Ok(index) => steps.push(Step::Item(index)),
                Err(_) => return steps,
            }
            rest = after;
        } else {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let (key, after) = rest.split_at(end);
            steps.push(Step::Key(key.to_owned()));
            rest = after;
        }
    }
    steps
}

/// Returns the part of the text that an error at this path is about: the value, or the key where the value is an object,
/// a list or nothing, or where the key itself is wrong. Where the path leads to what is absent, the innermost key that is
/// there.
pub(crate) fn locate(root: &Node, path: &[Step], code: ErrorCode) -> Span {
    let mut node = root;
    let mut span = root.first_span();
    for (depth, step) in path.iter().enumerate() {
        let is_last = depth + 1 == path.len();
        let key_is_wrong =
            is_last && matches!(code, ErrorCode::UnknownField | ErrorCode::RepeatedKey | ErrorCode::Unsupported);
        match step {
            Step::Key(key) => {
                let mut entries = node.entries().iter().filter(|entry| entry.key == *key);
                let found =
                    if is_last && code == ErrorCode::RepeatedKey { entries.next_back() } else { entries.next() };
                let Some(entry) = found else { break };
                let is_visible = is_scalar(&entry.value) && entry.value.span.end > entry.value.span.start;
                span = if is_visible && !key_is_wrong { entry.value.span } else { entry.key_span };
                node = &entry.value;
            }
            Step::Item(index) => {
                let Some(item) = node.items().get(*index) else { break };
                span = item.first_span();
                node = item;
            }
        }
    }
    span
}

fn is_scalar(node: &Node) -> bool {
    !matches!(node.value, Value::List(_) | Value::Object(_) | Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::read_documents;
    use crate::source::Source;

    #[test]
    fn paths_lead_to_keys_and_values() {
        let text = "a:\n  b: [x, {c.d: 1, e: }]\n  f: &f {g: h}\n  i: *f\n  b2: 1\n  b2: 2\n";
        let source = Source::new("a.yaml", text);
        let (documents, findings) = read_documents(0, &source);
        assert_eq!(findings, []);
        let root = &documents.first().expect("a document").root;
        let rows = [
            ("", ErrorCode::InvalidValue, "a", 1),
            ("a", ErrorCode::InvalidValue, "a", 1),
            ("a.b", ErrorCode::WrongType, "b", 2),
            ("a.b[0]", ErrorCode::InvalidValue, "x", 2),
            ("a.b[1]", ErrorCode::InvalidValue, "c.d", 2),
            ("a.b[1][\"c.d\"]", ErrorCode::InvalidValue, "1", 2),
            ("a.b[1][\"c.d\"]", ErrorCode::UnknownField, "c.d", 2),
            ("a.b[1].e", ErrorCode::InvalidValue, "e", 2),
            ("a.b[1].absent.too", ErrorCode::MissingField, "c.d", 2),
            ("a.absent", ErrorCode::MissingField, "a", 1),
            ("a.i.g", ErrorCode::InvalidValue, "h", 3),
            ("a.i", ErrorCode::InvalidValue, "i", 4),
            ("a.b2", ErrorCode::RepeatedKey, "b2", 6),
        ];
        for (path, code, expected, line) in rows {
            let span = locate(root, &steps(path), code);
            assert_eq!(source.text.get(span.start..span.end), Some(expected), "{path}");
            assert_eq!(source.position(span).line, line, "{path}");
        }
    }
}
