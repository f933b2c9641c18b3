//! Header conditions of `baseline-deny`: without regard to case, with full globs, and by a value's elements too.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use glob::Pattern;

use crate::attributes::names::HeaderName;
use crate::attributes::readings;
use crate::authz::engine::field::{AnyFieldValues, FieldIndex, FieldValues, MatchField};
use crate::authz::fields::header::{self, HeaderFieldIndex, HeaderPatterns, pattern_texts};
use crate::authz::fields::reader::{FieldContext, NamedConditionReader, ReadNamedValues};
use crate::config::reader::ConfigNode;
use crate::config::string_list::read_values;
use crate::matcher::element_index::ElementIndex;
use crate::matcher::glob_index::{GlobIndex, HasLiterals};
use crate::matcher::string_index::StringIndex;
use crate::matcher::string_pattern::{Glob, StringPattern};
use crate::matcher::value_ids::{Matched, ValueId, once_each};

/// A request header, compared by globs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GlobHeader {
    pub(crate) name: HeaderName,
}

impl MatchField for GlobHeader {
    type Pattern = HeaderGlob;

    const RANK: u8 = header::RANK;
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

    fn index(self, patterns: Vec<(HeaderGlob, ValueId)>) -> Box<dyn FieldIndex> {
        let texts = pattern_texts(&patterns);
        let patterns = ListElementIndex::new(patterns.into_iter());
        Box::new(HeaderFieldIndex { name: self.name, texts, patterns })
    }
}

/// `when` on `request.headers[…]`.
pub(crate) const NAMED: NamedConditionReader = |text| {
    let name = header::parse_key(text)?;
    Some(name.map(|name| -> Box<ReadNamedValues<'static>> {
        Box::new(move |node, context| read(node, context, name.clone()))
    }))
};

fn read(node: &ConfigNode<'_>, _: &FieldContext<'_>, name: HeaderName) -> Option<Rc<dyn AnyFieldValues>> {
    Some(FieldValues::shared(GlobHeader { name }, read_values(node, HeaderGlob::parse_glob)?))
}

/// A pattern for header values, as bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum HeaderGlob {
    Text(StringPattern),
    /// A glob with `?` or `[…]` in it.
    Wild(WildPattern),
    /// A word with no letter before or after it.
    Word(Box<[u8]>),
}

impl HeaderGlob {
    /// Parses a glob in any letter case.
    pub(crate) fn parse_glob(text: &str) -> Result<Self, String> {
        let text = readings::header::normalized(text)?.to_ascii_lowercase();
        match text.contains(['?', '[']) {
            true => WildPattern::parse(&text).map(Self::Wild),
            false => Ok(Self::Text(StringPattern::new(&text))),
        }
    }

    pub(crate) fn word(text: &str) -> Self {
        Self::Word(text.to_ascii_lowercase().as_bytes().into())
    }
}

impl fmt::Display for HeaderGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => text.fmt(f),
            Self::Wild(wild) => wild.fmt(f),
            Self::Word(word) => write!(f, "the word {}", String::from_utf8_lossy(word)),
        }
    }
}

/// Reports whether `value` contains `word` with no letter before or after it.
pub(crate) fn has_word(value: &[u8], word: &[u8]) -> bool {
    let is_letter = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphabetic);
    value.windows(word.len().max(1)).enumerate().any(|(at, window)| {
        window == word
            && !is_letter(at.checked_sub(1).and_then(|before| value.get(before)))
            && !is_letter(value.get(at + word.len()))
    })
}

/// A glob of the crate `glob`, over bytes: pattern and value are both taken as one character for each byte, since a
/// header value need not be UTF-8.
#[derive(Clone, Debug)]
pub(crate) struct WildPattern {
    text: String,
    pattern: Pattern,
}

// The pattern follows from the text.
impl PartialEq for WildPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for WildPattern {}

impl Hash for WildPattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl WildPattern {
    fn parse(text: &str) -> Result<Self, String> {
        let mut bytes = text.as_bytes().to_vec();
        // The crate keeps ** for paths; here it is any run of bytes, as one star is.
        bytes.dedup_by(|one, other| *one == b'*' && *other == b'*');
        match Pattern::new(&one_character_a_byte(&bytes)) {
            Ok(pattern) => Ok(Self { text: text.to_owned(), pattern }),
            Err(error) => {
                Err(format!("bad pattern `{text}`: {}, write [[] or [?] for the character itself", error.msg))
            }
        }
    }

    pub(crate) fn matches(&self, value: &[u8]) -> bool {
        self.pattern.matches(&one_character_a_byte(value))
    }

    /// Returns the longest literal.
    fn literal(&self) -> &[u8] {
        let mut longest: &[u8] = &[];
        let mut rest = self.text.as_bytes();
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| b"*?[".contains(byte)).unwrap_or(rest.len());
            let (literal, after) = rest.split_at(end);
            if literal.len() > longest.len() {
                longest = literal;
            }
            // A class ends with the first bracket after its first member.
            let skipped = match after.first() {
                Some(b'[') => after.iter().skip(2).position(|byte| *byte == b']').map_or(after.len(), |at| at + 3),
                _ => 1,
            };
            rest = after.get(skipped..).unwrap_or_default();
        }
        longest
    }
}

impl fmt::Display for WildPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn one_character_a_byte(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// Pattern that the index finds by a literal that a matching value must contain.
enum HeaderMatcher {
    Glob(Glob),
    Wild(WildPattern),
    Word(Box<[u8]>),
}

impl HasLiterals for HeaderMatcher {
    fn required_literals(&self) -> impl Iterator<Item = &[u8]> {
        let (several, one) = match self {
            Self::Glob(glob) => (Some(glob.required_literals()), None),
            Self::Wild(wild) => (None, Some(wild.literal())),
            Self::Word(word) => (None, Some(&**word)),
        };
        several.into_iter().flatten().chain(one)
    }

    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Glob(glob) => glob.matches(value),
            Self::Wild(wild) => wild.matches(value),
            Self::Word(word) => has_word(value, word),
        }
    }
}

/// The index of `baseline-deny`'s header conditions.
pub(crate) struct ListElementIndex {
    /// Exact values, prefixes and suffixes.
    text: StringIndex,
    /// Patterns that match anywhere in a value, and so are not tried on its elements.
    floating: Option<GlobIndex<HeaderMatcher>>,
    /// Patterns anchored at the start or the end of a value or of an element.
    anchored: Option<GlobIndex<HeaderMatcher>>,
    /// Exact values, prefixes, suffixes and what is tied, for elements.
    elements: Option<ElementIndex>,
    /// Globs with `?` or `[…]`.
    wild: Option<GlobIndex<HeaderMatcher>>,
    /// Patterns without any literal, such as `???`: the one list here that is walked.
    bare: Vec<(WildPattern, ValueId)>,
}

impl ListElementIndex {
    pub(crate) fn new(patterns: impl Iterator<Item = (HeaderGlob, ValueId)>) -> Self {
        let (mut texts, mut floating, mut anchored) = (Vec::new(), Vec::new(), Vec::new());
        let (mut wilds, mut bare) = (Vec::new(), Vec::new());
        let patterns: Vec<_> = patterns.collect();
        let elements = ElementIndex::new(patterns.iter().filter_map(|(pattern, id)| match pattern {
            HeaderGlob::Text(text) => Some((text, *id)),
            HeaderGlob::Wild(_) | HeaderGlob::Word(_) => None,
        }));
        for (pattern, id) in patterns {
            match pattern {
                HeaderGlob::Text(StringPattern::Glob(glob)) if glob.is_anchored() => {
                    anchored.push((HeaderMatcher::Glob(glob), id))
                }
                HeaderGlob::Text(StringPattern::Glob(glob)) => floating.push((HeaderMatcher::Glob(glob), id)),
                HeaderGlob::Text(text) => texts.push((text, id)),
                HeaderGlob::Word(word) => floating.push((HeaderMatcher::Word(word), id)),
                HeaderGlob::Wild(wild) if wild.literal().is_empty() => bare.push((wild, id)),
                HeaderGlob::Wild(wild) => wilds.push((HeaderMatcher::Wild(wild), id)),
            }
        }
        let index = |sought: Vec<_>| (!sought.is_empty()).then(|| GlobIndex::new(sought));
        let [floating, anchored, wild] = [floating, anchored, wilds].map(index);
        Self { text: StringIndex::new(texts), floating, anchored, elements, wild, bare }
    }

    /// Reports whether some pattern matches `value` as a whole.
    pub(crate) fn matches_whole(&self, value: &[u8]) -> bool {
        let mut matched = Matched::new();
        self.lookup_whole(&value.to_ascii_lowercase(), &mut matched);
        !matched.is_empty()
    }

    fn lookup_whole(&self, value: &[u8], matched: &mut Matched) {
        self.text.lookup(value, matched);
        for index in [&self.anchored, &self.floating].into_iter().flatten() {
            index.lookup(value, matched);
        }
        self.lookup_wild(value, matched);
    }

    fn lookup_wild(&self, value: &[u8], matched: &mut Matched) {
        if let Some(wild) = &self.wild {
            wild.lookup(value, matched);
        }
        matched.extend(self.bare.iter().filter(|(wild, _)| wild.matches(value)).map(|(_, id)| *id));
    }
}

impl HeaderPatterns for ListElementIndex {
    fn lookup_value(&self, value: &[u8], any: &mut Matched) -> Matched {
        let mut whole = Matched::new();
        let value = value.to_ascii_lowercase();
        self.lookup_whole(&value, &mut whole);
        // Envoy joins several User-Agent headers into one value.
        if readings::header::is_list(&value) {
            if let Some(elements) = &self.elements {
                elements.lookup(&readings::header::separated(&value), any);
            }
            if self.wild.is_some() || !self.bare.is_empty() {
                for element in readings::header::elements(&value) {
                    self.lookup_wild(element, any);
                    once_each(any);
                }
            }
            once_each(any);
        }
        any.extend_from_slice(&whole);
        whole
    }
}
