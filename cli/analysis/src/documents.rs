//! Reading of YAML and JSON texts with any number of documents.

use crate::codes::NOT_YAML;
use crate::finding::{Finding, Severity};
use crate::source::{Source, Span};
use crate::tree::{Node, Value};
use crate::yaml::{Unreadable, read_document};

/// Document of a text.
#[derive(Clone, Debug)]
pub struct Document {
    /// Content.
    pub root: Node,
    /// Number of the document in its text, from 0, empty ones counted.
    pub number: usize,
}

/// Reads the documents of a text; empty ones are left out. One that cannot be read is a finding and hides no other.
pub fn read_documents(source_index: usize, source: &Source) -> (Vec<Document>, Vec<Finding>) {
    let (mut documents, mut findings) = (Vec::new(), Vec::new());
    if let Some(finding) = undecodable(source_index, source) {
        return (documents, vec![finding]);
    }
    for (number, (offset, text)) in parts(&source.text).into_iter().enumerate() {
        if !has_content(text) {
            continue;
        }
        match read_document(text) {
            Ok(mut root) => {
                root.map_spans(&|span| {
                    *span = Span { source: source_index, start: span.start + offset, end: span.end + offset };
                });
                match root.value {
                    Value::Null => {}
                    _ => documents.push(Document { root, number }),
                }
            }
            Err(error) => findings.push(unreadable(source_index, source, offset, text, &error)),
        }
    }
    (documents, findings)
}

/// Reads a JSON or YAML text that is a value of a document. Its positions are those of its lines where it is a literal
/// block, and otherwise that of the value. A text that cannot be read stays a text.
pub(crate) fn read_embedded(text: &str, node: &Node, source_index: usize, source: &Source) -> Node {
    let Ok(mut root) = read_document(text) else {
        return node.clone();
    };
    let inner = Source::new("", text);
    // A literal block begins at its `|` or at its first line, as the parser has it.
    let begins_at_mark = source.text.get(node.span.start..).is_some_and(|rest| rest.starts_with(['|', '>']));
    let first_line = source.position(node.span).line + usize::from(begins_at_mark);
    let place = |span: Span| {
        let position = inner.position(span);
        let line = inner.line(position.line);
        let number = first_line + position.line - 1;
        let column = source.line(number).find(line).filter(|_| !line.trim().is_empty())?;
        let before = line.chars().take(position.column - 1).map(char::len_utf8).sum::<usize>();
        let start = source.offset(number, 1) + column + before;
        Some(Span { source: source_index, start, end: start + (span.end - span.start).min(line.len() - before) })
    };
    root.map_spans(&|span| *span = place(*span).unwrap_or(node.span));
    root
}

/// Splits a text where documents begin or end (YAML 1.2.2, 9.1): at lines that open with `---` or `...`, which no content
/// can do. Directives stay with the document behind them. Returns each part with its offset.
pub(crate) fn parts(text: &str) -> Vec<(usize, &str)> {
    let mut starts = vec![0];
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let marker = |mark: &str| {
            line.strip_prefix(mark).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
        };
        let begun = starts.last().and_then(|start| text.get(*start..offset)).unwrap_or_default();
        if marker("---") && !is_directives(begun) {
            // A file that was appended to another can begin with a byte order mark, which the parser takes at the start
            // of its text alone.
            let behind = text.get(offset + line.len()..).and_then(|rest| rest.strip_prefix('\u{feff}'));
            let is_mark_alone = !has_content(line);
            starts.push(match behind.filter(|_| is_mark_alone) {
                Some(rest) => text.len() - rest.len(),
                None => offset,
            });
        } else if marker("...") {
            starts.push(offset + line.len());
        }
        offset += line.len();
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().copied().zip(ends).filter_map(|(start, end)| Some((start, text.get(start..end)?))).collect()
}

/// Reports whether a text consists of directives and comments, at least one directive.
fn is_directives(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).peekable();
    lines.peek().is_some() && lines.all(|line| line.starts_with('%'))
}

/// Reports whether a part has more than blanks, comments and markers.
fn has_content(text: &str) -> bool {
    text.trim_start_matches('\u{feff}').lines().any(|line| {
        let line = line.strip_prefix("---").unwrap_or(line).trim();
        !(line.is_empty() || line.starts_with('#') || line == "...")
    })
}

fn unreadable(source_index: usize, source: &Source, offset: usize, text: &str, error: &Unreadable) -> Finding {
    let within = Source::new("", text).offset(error.line.max(1), error.column.max(1)).min(text.len());
    let start = last_visible(text, within) + offset;
    let end = source.text.get(start..).and_then(|rest| rest.chars().next()).map_or(start, |one| start + one.len_utf8());
    Finding {
        severity: Severity::Error,
        code: NOT_YAML.code.to_owned(),
        message: format!("this is neither YAML nor JSON: {}", error.message.trim_end_matches([':', '.'])),
        help: help(text, error).to_owned(),
        span: Some(Span { source: source_index, start, end }),
    }
}

/// Returns what to do about a text that cannot be read.
fn help(text: &str, error: &Unreadable) -> &'static str {
    if error.is_limit {
        "write the document with less nesting and fewer aliases; what stands in it is not read"
    } else if text.contains("{{") {
        "this looks like a template: check what it becomes, as `helm template` writes it"
    } else {
        NOT_YAML.fix
    }
}

/// Returns a finding where a text has a character that stands for bytes which are no UTF-8.
fn undecodable(source_index: usize, source: &Source) -> Option<Finding> {
    let start = source.text.find(char::REPLACEMENT_CHARACTER)?;
    Some(Finding {
        severity: Severity::Error,
        code: NOT_YAML.code.to_owned(),
        message: "this is no UTF-8, and what is meant cannot be told".to_owned(),
        help: "save the file as UTF-8".to_owned(),
        span: Some(Span { source: source_index, start, end: start + char::REPLACEMENT_CHARACTER.len_utf8() }),
    })
}

/// Returns the offset itself or, at the end of the text, that of the last character that is no blank.
fn last_visible(text: &str, offset: usize) -> usize {
    match text.get(offset..).is_some_and(|rest| !rest.trim().is_empty()) {
        true => offset,
        false => text.trim_end().char_indices().next_back().map_or(0, |(at, _)| at),
    }
}
