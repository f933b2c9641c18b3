//! `when` on `request.headers[…]`: the values of one header.

use std::fmt;
use std::hash::{Hash, Hasher};

use glob::Pattern;

use crate::attributes::readings::header;
use crate::attributes::request::HeaderValues;
use crate::matcher::element_index::ElementIndex;
use crate::matcher::field_match::FieldMatch;
use crate::matcher::glob_index::{GlobIndex, HasLiterals};
use crate::matcher::string_index::StringIndex;
use crate::matcher::string_pattern::{Glob, StringPattern};
use crate::matcher::value_ids::{Matched, ValueId, once_each};

/// How the values of header conditions are read.
///
/// Each filter names the one that it needs, and only that one becomes part of its module.
pub(crate) struct HeaderSyntax {
    /// Whether it is that of a filter which looks at what clients announce, and at nothing else.
    pub(crate) client_asserted_only: bool,
    pub(crate) parse: fn(&str) -> Result<HeaderPattern, String>,
    pub(crate) index: fn(Entries) -> Box<dyn HeaderIndex>,
}

/// The patterns of one header, by number.
type Entries = Vec<(HeaderPattern, ValueId)>;

/// As Istio has them: with regard to case, `*` for any run of bytes.
pub(crate) static ISTIO_SYNTAX: HeaderSyntax = HeaderSyntax {
    client_asserted_only: false,
    parse: |text| Ok(HeaderPattern::Text(StringPattern::new(header::normalized(text)?))),
    index: |patterns| Box::new(WholeValueIndex::new(patterns)),
};

/// As `baseline-deny` has them: without regard to case, full globs.
pub(crate) static GLOB_SYNTAX: HeaderSyntax = HeaderSyntax {
    client_asserted_only: true,
    parse: HeaderPattern::parse_glob,
    index: |patterns| Box::new(ListElementIndex::new(patterns.into_iter())),
};

/// The patterns of one header, looked up by value.
pub(crate) trait HeaderIndex {
    /// What `value`, which has no blanks around it, matches as a whole; adds that to `any`, and what its elements match.
    fn look_up(&self, value: &[u8], any: &mut Matched) -> Matched;

    /// Looks up every line of a header, and their join by commas, which is how a proxy may hand several on.
    fn lookup(&self, values: &[&[u8]], found: &mut FieldMatch) {
        let mut each = Vec::with_capacity(values.len());
        for value in values {
            each.push(self.look_up(header::trimmed(value), &mut found.any));
        }
        found.each = each.into();
        if values.len() > 1 {
            let values: HeaderValues<'_> = values.iter().map(|value| header::trimmed(value)).collect();
            self.look_up(&values.join(&b','), &mut found.any);
        }
    }
}

/// A pattern for header values, as bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum HeaderPattern {
    Text(StringPattern),
    /// A glob with `?` or `[…]` in it.
    Wild(WildPattern),
    /// A word with no letter before or after it.
    Word(Box<[u8]>),
}

impl HeaderPattern {
    /// Parses a glob in any letter case.
    pub(crate) fn parse_glob(text: &str) -> Result<Self, String> {
        let text = header::normalized(text)?.to_ascii_lowercase();
        match text.contains(['?', '[']) {
            true => WildPattern::parse(&text).map(Self::Wild),
            false => Ok(Self::Text(StringPattern::new(&text))),
        }
    }

    pub(crate) fn word(text: &str) -> Self {
        Self::Word(text.to_ascii_lowercase().as_bytes().into())
    }

    /// The definition of what a pattern matches in one value; the index must agree with it.
    #[cfg(test)]
    pub(crate) fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Text(text) => text.matches(value),
            Self::Wild(wild) => wild.matches(value),
            Self::Word(word) => has_word(value, word),
        }
    }
}

impl fmt::Display for HeaderPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => text.fmt(f),
            Self::Wild(wild) => wild.fmt(f),
            Self::Word(word) => write!(f, "the word {}", String::from_utf8_lossy(word)),
        }
    }
}

/// Whether `word` stands in `value` with no letter before or after it.
fn has_word(value: &[u8], word: &[u8]) -> bool {
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

    fn matches(&self, value: &[u8]) -> bool {
        self.pattern.matches(&one_character_a_byte(value))
    }

    /// The longest run of bytes that stands for itself.
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

/// What is looked for by a literal that a matching value has to hold.
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

/// The index of Istio's header_syntax.
struct WholeValueIndex {
    text: StringIndex,
    elements: Option<ElementIndex>,
}

impl WholeValueIndex {
    fn new(patterns: Entries) -> Self {
        let text = |(pattern, id)| match pattern {
            HeaderPattern::Text(text) => Some((text, id)),
            HeaderPattern::Wild(_) | HeaderPattern::Word(_) => None,
        };
        let patterns: Vec<_> = patterns.into_iter().filter_map(text).collect();
        let elements = ElementIndex::new(patterns.iter().map(|(text, id)| (text, *id)));
        Self { text: StringIndex::new(patterns), elements }
    }
}

impl HeaderIndex for WholeValueIndex {
    fn look_up(&self, value: &[u8], any: &mut Matched) -> Matched {
        let mut whole = Matched::new();
        self.text.lookup(value, &mut whole);
        any.extend_from_slice(&whole);
        if let Some(index) = &self.elements
            && header::is_list(value)
        {
            index.lookup(&header::separated(value), any);
            once_each(any);
        }
        whole
    }
}

/// The index of `baseline-deny`'s header_syntax.
pub(crate) struct ListElementIndex {
    /// Exact values, prefixes and suffixes.
    text: StringIndex,
    /// What stands anywhere in a value: it need not be looked for in the value's elements again.
    floating: Option<GlobIndex<HeaderMatcher>>,
    /// What is tied to the start or the end of a value.
    anchored: Option<GlobIndex<HeaderMatcher>>,
    /// Exact values, prefixes, suffixes and what is tied, for elements.
    elements: Option<ElementIndex>,
    /// Globs with `?` or `[…]`.
    wild: Option<GlobIndex<HeaderMatcher>>,
    /// Patterns without any literal, such as `???`: the one list here that is walked.
    bare: Vec<(WildPattern, ValueId)>,
}

impl ListElementIndex {
    pub(crate) fn new(patterns: impl Iterator<Item = (HeaderPattern, ValueId)>) -> Self {
        let (mut texts, mut floating, mut anchored) = (Vec::new(), Vec::new(), Vec::new());
        let (mut wilds, mut bare) = (Vec::new(), Vec::new());
        let patterns: Vec<_> = patterns.collect();
        let elements = ElementIndex::new(patterns.iter().filter_map(|(pattern, id)| match pattern {
            HeaderPattern::Text(text) => Some((text, *id)),
            HeaderPattern::Wild(_) | HeaderPattern::Word(_) => None,
        }));
        for (pattern, id) in patterns {
            match pattern {
                HeaderPattern::Text(StringPattern::Glob(glob)) if glob.is_anchored() => {
                    anchored.push((HeaderMatcher::Glob(glob), id))
                }
                HeaderPattern::Text(StringPattern::Glob(glob)) => floating.push((HeaderMatcher::Glob(glob), id)),
                HeaderPattern::Text(text) => texts.push((text, id)),
                HeaderPattern::Word(word) => floating.push((HeaderMatcher::Word(word), id)),
                HeaderPattern::Wild(wild) if wild.literal().is_empty() => bare.push((wild, id)),
                HeaderPattern::Wild(wild) => wilds.push((HeaderMatcher::Wild(wild), id)),
            }
        }
        let index = |sought: Vec<_>| (!sought.is_empty()).then(|| GlobIndex::new(sought));
        let [floating, anchored, wild] = [floating, anchored, wilds].map(index);
        Self { text: StringIndex::new(texts), floating, anchored, elements, wild, bare }
    }

    /// Whether some pattern matches `value` as a whole.
    pub(crate) fn matches_whole(&self, value: &[u8]) -> bool {
        let mut matched = Matched::new();
        self.look_up_value(&value.to_ascii_lowercase(), &mut matched);
        !matched.is_empty()
    }

    fn look_up_value(&self, value: &[u8], matched: &mut Matched) {
        self.text.lookup(value, matched);
        for index in [&self.anchored, &self.floating].into_iter().flatten() {
            index.lookup(value, matched);
        }
        self.look_up_wild(value, matched);
    }

    fn look_up_wild(&self, value: &[u8], matched: &mut Matched) {
        if let Some(wild) = &self.wild {
            wild.lookup(value, matched);
        }
        matched.extend(self.bare.iter().filter(|(wild, _)| wild.matches(value)).map(|(_, id)| *id));
    }
}

impl HeaderIndex for ListElementIndex {
    fn look_up(&self, value: &[u8], any: &mut Matched) -> Matched {
        let mut whole = Matched::new();
        let value = value.to_ascii_lowercase();
        self.look_up_value(&value, &mut whole);
        // Envoy joins several User-Agent headers into one value.
        if header::is_list(&value) {
            if let Some(elements) = &self.elements {
                elements.lookup(&header::separated(&value), any);
            }
            if self.wild.is_some() || !self.bare.is_empty() {
                for element in header::elements(&value) {
                    self.look_up_wild(element, any);
                    once_each(any);
                }
            }
            once_each(any);
        }
        any.extend_from_slice(&whole);
        whole
    }
}
