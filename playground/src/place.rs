//! Places of policies and rules, for the page to light up.

use sallyport_analysis::{Source, Span};
use serde_json::{Value, json};

/// Adds `file`, `line` and `column`.
pub(crate) fn put_place(json: &mut Value, span: Option<Span>, sources: &[Source]) {
    let place = span.and_then(|span| sources.get(span.source).map(|source| (source, source.position(span))));
    let (Some(object), Some((source, position))) = (json.as_object_mut(), place) else { return };
    object.insert("file".to_owned(), json!(source.name));
    object.insert("line".to_owned(), json!(position.line));
    object.insert("column".to_owned(), json!(position.column));
}
