//! Reading of one YAML or JSON document: events of the parser become values with positions.
//!
//! Repeated keys are kept, merge keys and aliases are replaced by what they stand for, and a scalar without a tag is what
//! YAML 1.1 or 1.2 makes of it.

mod merge;
mod scalar;

use std::borrow::Cow;

use granit_parser::{Event, Options, Parser, ScalarStyle, StrInput, Tag};

use crate::source::Span;
use crate::tree::{Entry, Node, Value};
use merge::{Merges, is_merge_key};

/// Depth of nesting beyond which a document is refused.
const MAX_DEPTH: usize = 100;

/// Largest size of the values that aliases can repeat in one document.
const MAX_REPEATED: Size = Size { values: 500_000, bytes: 64 * 1024 * 1024 };

/// Values beyond those of the text itself that anchors within anchors can hold.
const MAX_RECORDED: usize = 100_000;

/// Reason for which a document cannot be read, with its place.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// Line, from 1.
    pub(crate) line: usize,
    /// Column, from 1, in characters.
    pub(crate) column: usize,
    /// Message without the place.
    pub(crate) message: String,
    /// Tells that the document goes beyond a limit.
    pub(crate) is_limit: bool,
}

/// Reads a text with one document.
pub(crate) fn read_document(text: &str) -> Result<Node, Unreadable> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut reader = Reader {
        parser: Parser::new_from_str_with_options(text, options),
        anchors: Vec::new(),
        recorded: Size::default(),
        max_recorded: Size { values: text.len() + MAX_RECORDED, bytes: text.len() + MAX_REPEATED.bytes },
        repeated: Size::default(),
    };
    let root = loop {
        let token = reader.next()?;
        match token.event {
            Event::StreamStart | Event::DocumentStart(..) => {}
            Event::StreamEnd | Event::DocumentEnd => return Ok(Node { value: Value::Null, span: token.span }),
            _ => break reader.node(token, 0)?,
        }
    };
    loop {
        let token = reader.next()?;
        match token.event {
            Event::DocumentEnd => {}
            Event::StreamEnd => return Ok(root),
            _ => return Err(token.unreadable("a second document begins without `---`")),
        }
    }
}

/// Event with its place.
struct Token<'t> {
    event: Event<'t>,
    span: Span,
    line: usize,
    column: usize,
}

impl Token<'_> {
    fn unreadable(&self, message: impl Into<String>) -> Unreadable {
        Unreadable { line: self.line, column: self.column, message: message.into(), is_limit: false }
    }

    fn too_large(&self, message: &str) -> Unreadable {
        Unreadable { is_limit: true, ..self.unreadable(message) }
    }
}

/// Extent of a value.
#[derive(Clone, Copy, Default)]
struct Size {
    values: usize,
    bytes: usize,
}

impl Size {
    /// Adds a value. Returns false where that is more than there may be.
    fn add(&mut self, node: &Node, most: Size) -> bool {
        self.values += count(node, &mut self.bytes);
        self.values <= most.values && self.bytes <= most.bytes
    }
}

/// Counts the values of a node, and adds the bytes of its strings.
fn count(node: &Node, bytes: &mut usize) -> usize {
    1 + match &node.value {
        Value::Text(text) => {
            *bytes += text.len();
            0
        }
        Value::List(items) => items.iter().map(|item| count(item, bytes)).sum(),
        Value::Object(entries) => {
            *bytes += entries.iter().map(|entry| entry.key.len()).sum::<usize>();
            entries.iter().map(|entry| count(&entry.value, bytes)).sum()
        }
        Value::Null | Value::Bool(_) | Value::Whole(_) | Value::Float(_) => 0,
    }
}

/// Returns how deep the lists and objects of a node are nested.
fn depth_of(node: &Node) -> usize {
    let deepest = match &node.value {
        Value::List(items) => items.iter().map(depth_of).max(),
        Value::Object(entries) => entries.iter().map(|entry| depth_of(&entry.value)).max(),
        _ => return 0,
    };
    1 + deepest.unwrap_or_default()
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    /// Values of anchors, by the number of the parser.
    anchors: Vec<(usize, Node)>,
    /// Size of the values of anchors.
    recorded: Size,
    max_recorded: Size,
    /// Size of the values that aliases repeated.
    repeated: Size,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<Token<'t>, Unreadable> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                let (start, end) = (&span.start, &span.end);
                let offset = |mark: &granit_parser::Marker| mark.byte_offset().unwrap_or_default();
                Ok(Token {
                    event,
                    span: Span { source: 0, start: offset(start), end: offset(end) },
                    line: start.line(),
                    column: start.col() + 1,
                })
            }
            Some(Err(error)) => Err(Unreadable {
                line: error.marker().line(),
                column: error.marker().col() + 1,
                message: error.info(),
                is_limit: false,
            }),
            None => Err(Unreadable { line: 1, column: 1, message: "it ends too early".to_owned(), is_limit: false }),
        }
    }

    /// Reads the value that begins with this event.
    fn node(&mut self, token: Token<'t>, depth: usize) -> Result<Node, Unreadable> {
        if let Event::Alias(anchor) = token.event {
            return self.repeat(anchor, &token, depth);
        }
        let Token { event, span, line, column } = token;
        let begin = Token { event: Event::DocumentEnd, span, line, column };
        if depth >= MAX_DEPTH && !matches!(event, Event::Scalar(..)) {
            return Err(begin.too_large(&too_deep()));
        }
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (scalar::value(text, style, tag.as_deref()).map_err(|message| begin.unreadable(message))?, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                container(tag.as_ref(), "seq").map_err(|message| begin.unreadable(message))?;
                (Value::List(self.items(depth)?), anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                container(tag.as_ref(), "map").map_err(|message| begin.unreadable(message))?;
                (Value::Object(self.entries(depth)?), anchor)
            }
            _ => return Err(begin.unreadable("a value is missing")),
        };
        let node = Node { value, span };
        if anchor != 0 {
            if !self.recorded.add(&node, self.max_recorded) {
                return Err(begin.too_large("anchors within anchors hold too much"));
            }
            self.anchors.push((anchor, node.clone()));
        }
        Ok(node)
    }

    fn repeat(&mut self, anchor: usize, token: &Token<'t>, depth: usize) -> Result<Node, Unreadable> {
        let Some((_, node)) = self.anchors.iter().rev().find(|(number, _)| *number == anchor) else {
            return Err(token.unreadable("an alias stands within what it repeats"));
        };
        if depth + depth_of(node) > MAX_DEPTH {
            return Err(token.too_large(&too_deep()));
        }
        if !self.repeated.add(node, MAX_REPEATED) {
            return Err(token.too_large("aliases repeat too much"));
        }
        Ok(node.clone())
    }

    fn items(&mut self, depth: usize) -> Result<Vec<Node>, Unreadable> {
        let mut items = Vec::new();
        loop {
            let token = self.next()?;
            match token.event {
                Event::SequenceEnd => return Ok(items),
                _ => items.push(self.node(token, depth + 1)?),
            }
        }
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<Entry>, Unreadable> {
        let mut entries = Vec::new();
        let mut merges = Merges::default();
        loop {
            let token = self.next()?;
            if matches!(token.event, Event::MappingEnd) {
                return Ok(merges.apply(entries));
            }
            let is_merge = is_merge_key(&token.event);
            let (key, key_span) = self.key(token)?;
            let token = self.next()?;
            let (line, column) = (token.line, token.column);
            let value = self.node(token, depth + 1)?;
            match is_merge {
                true => merges.add(value).map_err(|message| Unreadable { line, column, message, is_limit: false })?,
                false => entries.push(Entry { key, key_span, value }),
            }
        }
    }

    /// Reads a key, which is a scalar, as its text.
    fn key(&mut self, token: Token<'t>) -> Result<(String, Span), Unreadable> {
        const NO_TEXT: &str = "a key is no text";
        match &token.event {
            Event::Scalar(.., tag) if !scalar::is_text_key(tag.as_deref()) => Err(token.unreadable(NO_TEXT)),
            // The parser writes a key that is left out as `~` of no length.
            Event::Scalar(_, ScalarStyle::Plain, ..) if token.span.start == token.span.end => {
                Ok((String::new(), token.span))
            }
            Event::Scalar(text, _, anchor, _) => {
                let (text, span) = (text.clone().into_owned(), token.span);
                if *anchor != 0 {
                    self.anchors.push((*anchor, Node { value: Value::Text(text.clone()), span }));
                }
                Ok((text, span))
            }
            Event::Alias(anchor) => match self.repeat(*anchor, &token, 0)? {
                Node { value: Value::Text(text), span } => Ok((text, span)),
                Node { value: Value::Whole(number), span } => Ok((number.to_string(), span)),
                _ => Err(token.unreadable(NO_TEXT)),
            },
            _ => Err(token.unreadable(NO_TEXT)),
        }
    }
}

fn too_deep() -> String {
    format!("it is nested deeper than {MAX_DEPTH} levels")
}

/// Holds the tag of a list or an object against what it is.
fn container(tag: Option<&Cow<'_, Tag>>, own: &str) -> Result<(), String> {
    match tag.and_then(|tag| tag.core_suffix()) {
        Some(other) if other != own => Err(format!("the tag !!{other} does not go with this value")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
