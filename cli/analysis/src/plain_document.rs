//! Quick reading of documents that have neither anchors, tags, merge keys nor block scalars, as most have not.
//!
//! The meaning of such a document is not a question of the reader, so it is read from the parser's events in a fraction of the
//! time. Everything else is left to `serde-saphyr`, whose positions and values these are.

use std::borrow::Cow;

use granit_parser::{Event, Parser, ScalarStyle, StrInput};

use crate::source::Span;
use crate::tree::{Entry, Node, Value};

/// Depth of nesting beyond which a document is left to the other reader.
const MAX_DEPTH: usize = 50;

/// Longest number that is read here.
const MAX_DIGITS: usize = 15;

/// Words that readers of YAML take for something else than a text, in lower case.
const WORDS: [&str; 11] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"];

/// Reads a text with one document; `None` where it has to be read by `serde-saphyr`.
pub(crate) fn read_plain(text: &str) -> Option<Node> {
    if text.starts_with(['%', '\u{feff}']) {
        return None;
    }
    let mut reader = Reader { parser: Parser::new_from_str(text) };
    let root = loop {
        match reader.next()? {
            (Event::StreamStart | Event::DocumentStart(_, None), _) => {}
            (event, span) => break reader.node(event, span, 0)?,
        }
    };
    loop {
        match reader.next()? {
            (Event::DocumentEnd, _) => {}
            (Event::StreamEnd, _) => return Some(root),
            _ => return None,
        }
    }
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
}

impl<'t> Reader<'t> {
    /// Returns the next event that is no comment.
    fn next(&mut self) -> Option<(Event<'t>, Span)> {
        loop {
            let (event, span) = self.parser.next_event()?.ok()?;
            if !matches!(event, Event::Comment(..)) {
                return Some((
                    event,
                    Span { source: 0, start: span.start.byte_offset()?, end: span.end.byte_offset()? },
                ));
            }
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Option<Node> {
        let value = match event {
            Event::Scalar(text, ScalarStyle::Plain, 0, None) => plain(text)?,
            Event::Scalar(text, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted, 0, None) => {
                Value::Text(text.into_owned())
            }
            Event::SequenceStart(_, 0, None) if depth < MAX_DEPTH => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break Value::List(items),
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(_, 0, None) if depth < MAX_DEPTH => {
                let mut entries = Vec::new();
                loop {
                    let (key, key_span) = match self.next()? {
                        (Event::MappingEnd, _) => break Value::Object(entries),
                        (Event::Scalar(key, style, 0, None), span) => (key_text(key, style)?, span),
                        _ => return None,
                    };
                    let (event, span) = self.next()?;
                    entries.push(Entry { key, key_span, value: self.node(event, span, depth + 1)? });
                }
            }
            _ => return None,
        };
        Some(Node { value, span })
    }
}

fn key_text(text: Cow<'_, str>, style: ScalarStyle) -> Option<String> {
    match style {
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Some(text.into_owned()),
        ScalarStyle::Plain if is_text(&text) => Some(text.into_owned()),
        _ => None,
    }
}

/// Returns the value of a plain scalar where no reader of YAML could take it for another.
fn plain(text: Cow<'_, str>) -> Option<Value> {
    let is_whole = text.len() <= MAX_DIGITS
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    match text.as_ref() {
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        "" => None,
        digits if is_whole => digits.parse().ok().map(Value::Whole),
        _ if is_text(&text) => Some(Value::Text(text.into_owned())),
        _ => None,
    }
}

/// Reports whether a plain scalar is a text for every reader of YAML.
fn is_text(text: &str) -> bool {
    let is_word = text.len() <= 5 && WORDS.iter().any(|word| text.eq_ignore_ascii_case(word));
    // Numbers have one dot at most and no slash.
    let is_address = text.contains('/') || text.bytes().filter(|byte| *byte == b'.').count() > 1;
    match text.chars().next() {
        Some(first) if first.is_ascii_digit() => is_address,
        Some(first) => !is_word && (first.is_ascii_alphabetic() || "/*_$".contains(first)),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_could_take_for_another_value_is_left_to_it() {
        for text in
            ["a: &x b", "a: !t b", "<<: {a: b}", "a: |\n  b", "a:", "~", "a: 1.5", "a: 010", "a: Yes", "a: 0x1f"]
        {
            assert!(read_plain(text).is_none(), "{text}");
        }
        for text in ["a: [b, 'c', \"d\"]", "a: {b: 1}  # c", "a: 10.0.0.0/8", "- true", "a: *", "a: b: c"] {
            let is_read = read_plain(text).is_some();
            assert_eq!(is_read, !text.ends_with(": *") && !text.ends_with(": c"), "{text}");
        }
    }
}
