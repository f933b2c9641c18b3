//! `when` on `request.headers[…]`: the values of one header.

use std::borrow::Cow;
use std::fmt::Display;
use std::rc::Rc;

use crate::attributes::names::HeaderName;
use crate::attributes::readings::header;
use crate::attributes::request::{HeaderValues, Request};
use crate::authz::engine::field::{AnyFieldValues, FieldIndex, FieldValues, MatchField};
use crate::authz::fields::reader::{FieldContext, NamedConditionReader, ReadNamedValues};
use crate::config::reader::ConfigNode;
use crate::config::string_list::read_values;
use crate::identity::error::EvalError;
use crate::matcher::element_index::ElementIndex;
use crate::matcher::field_match::FieldMatch;
use crate::matcher::string_index::StringIndex;
use crate::matcher::string_pattern::StringPattern;
use crate::matcher::value_ids::{Matched, ValueId, once_each, once_each_beyond};

/// The rank of headers among match fields.
pub(crate) const RANK: u8 = 33;

/// Request header, compared case-sensitively as in Istio; `*` stands for any run of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    name: HeaderName,
}

impl MatchField for Header {
    type Pattern = StringPattern;

    const RANK: u8 = RANK;
    const REQUEST_HEADER: bool = true;

    fn name(&self) -> Cow<'_, str> {
        self.name.as_str().into()
    }

    fn subject(&self) -> Cow<'static, str> {
        format!("header {}", self.name.as_str()).into()
    }

    fn http_key(&self) -> Option<String> {
        Some(format!("request.headers[{}]", self.name.as_str()))
    }

    fn is_short(pattern: &StringPattern) -> bool {
        pattern.is_short()
    }

    fn index(self, patterns: Vec<(StringPattern, ValueId)>) -> Box<dyn FieldIndex> {
        let texts = pattern_texts(&patterns);
        let elements = ElementIndex::new(patterns.iter().map(|(text, id)| (text, *id)), Vec::new());
        let patterns = WholeValueIndex { text: StringIndex::new(patterns), elements };
        Box::new(HeaderFieldIndex { name: self.name, texts, patterns })
    }
}

/// `when` on `request.headers[…]`.
pub(crate) const NAMED: NamedConditionReader = |text| {
    let name = parse_key(text)?;
    Some(name.map(|name| -> Box<ReadNamedValues<'static>> {
        Box::new(move |node, context| read(node, context, name.clone()))
    }))
};

fn read(node: &ConfigNode<'_>, _: &FieldContext<'_>, name: HeaderName) -> Option<Rc<dyn AnyFieldValues>> {
    let patterns = read_values(node, |text| Ok(StringPattern::new(header::normalized(text)?)))?;
    Some(FieldValues::shared(Header { name }, patterns))
}

/// The header of a key `request.headers[…]`. None where it is another key.
pub(crate) fn parse_key(key: &str) -> Option<Result<HeaderName, String>> {
    let bracketed = key.strip_prefix("request.headers[")?;
    Some(match bracketed.strip_suffix(']') {
        Some(name) => HeaderName::parse(name),
        None => Err(format!("bad key `{key}`: expected request.headers[user-agent]")),
    })
}

/// Most lines of a header that are compared: each costs more than its bytes.
const MAX_LINES: usize = 1 << 10;

/// Most elements of a header that are compared.
const MAX_ELEMENTS: usize = 4 << 10;

/// Reports whether a header has more lines, or more elements in all, than are compared.
pub(crate) fn has_too_many(lines: &[&[u8]]) -> bool {
    let elements = |line: &&[u8]| header::elements(&header::separated(line));
    lines.len() > MAX_LINES || lines.iter().map(elements).sum::<usize>() > MAX_ELEMENTS
}

/// The patterns of one header, looked up by value.
pub(crate) trait HeaderPatterns {
    /// The form in which a value is compared.
    fn folded<'v>(&self, value: &'v [u8]) -> Cow<'v, [u8]> {
        Cow::Borrowed(value)
    }

    /// Adds the patterns that a value, which has no blanks around it, matches as a whole.
    fn lookup_whole(&self, value: &[u8], matched: &mut Matched);

    /// Adds the patterns that are not found in a whole value, and that an element of a list matches.
    fn lookup_elements(&self, list: &[u8], matched: &mut Matched);

    /// Looks up every line of a header, and their join by commas, which is how a proxy may pass several on, as a whole and
    /// by its elements: those of the lines are among them.
    fn lookup_all(&self, values: &[&[u8]], found: &mut FieldMatch) {
        if values.len() > MAX_LINES {
            found.uncompared = true;
            return;
        }
        let mut each = Vec::with_capacity(values.len());
        let mut kept = 0;
        for value in values {
            let mut whole = found.any.others();
            self.lookup_whole(&self.folded(header::trimmed(value)), &mut whole);
            found.any.add(&whole);
            if !whole.is_empty() {
                once_each_beyond(&mut found.any, &mut kept);
            }
            each.push(whole);
        }
        found.each = each.into();
        let joined = match values {
            [] => return,
            [only] if !header::is_list(only) => return,
            [only] => self.folded(header::trimmed(only)).into_owned(),
            values => {
                let values: HeaderValues<'_> = values.iter().map(|value| header::trimmed(value)).collect();
                let joined = self.folded(&values.join(&b',')).into_owned();
                self.lookup_whole(&joined, &mut found.any);
                joined
            }
        };
        let list = header::separated(&joined);
        match header::elements(&list) > MAX_ELEMENTS {
            true => found.uncompared = true,
            false => self.lookup_elements(&list, &mut found.any),
        }
        once_each(&mut found.any);
    }
}

/// The index of one header.
pub(crate) struct HeaderFieldIndex<P> {
    pub(crate) name: HeaderName,
    /// The patterns as they were written, by number.
    pub(crate) texts: Vec<String>,
    pub(crate) patterns: P,
}

/// Patterns as they were written, in the order of their numbers.
pub(crate) fn pattern_texts<P: Display>(patterns: &[(P, ValueId)]) -> Vec<String> {
    patterns.iter().map(|(pattern, _)| pattern.to_string()).collect()
}

impl<P: HeaderPatterns> FieldIndex for HeaderFieldIndex<P> {
    fn lookup(&self, request: &mut dyn Request, found: &mut FieldMatch) -> Result<(), EvalError> {
        self.patterns.lookup_all(&request.header(self.name.as_str())?, found);
        Ok(())
    }

    fn header_pattern(&self, value: ValueId) -> Option<(&str, &str)> {
        let pattern = usize::try_from(value.0).ok().and_then(|position| self.texts.get(position))?;
        Some((self.name.as_str(), pattern))
    }
}

struct WholeValueIndex {
    text: StringIndex,
    elements: Option<ElementIndex>,
}

impl HeaderPatterns for WholeValueIndex {
    fn lookup_whole(&self, value: &[u8], matched: &mut Matched) {
        self.text.lookup(value, matched);
    }

    fn lookup_elements(&self, list: &[u8], matched: &mut Matched) {
        if let Some(elements) = &self.elements {
            elements.lookup(list, matched);
        }
    }
}
