//! Header conditions of `baseline-deny`: without regard to case, with full globs, and by a value's elements too.

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

use crate::attributes::names::HeaderName;
use crate::attributes::readings;
use crate::authz::engine::field::{AnyFieldValues, FieldIndex, FieldValues, MatchField};
use crate::authz::fields::header::{self, HeaderFieldIndex, HeaderPatterns, pattern_texts};
use crate::authz::fields::reader::{FieldContext, NamedConditionReader, ReadNamedValues};
use crate::collections::bytes::to_lowercase;
use crate::collections::map::OrderedMap;
use crate::config::reader::ConfigNode;
use crate::config::string_list::read_values;
use crate::matcher::bare_index::BareIndex;
use crate::matcher::element_index::{ElementIndex, SEPARATOR};
use crate::matcher::sequence::Sequence;
use crate::matcher::sequence_index::SequenceIndex;
use crate::matcher::string_index::StringIndex;
use crate::matcher::string_pattern::{MIN_LITERAL, StringPattern};
use crate::matcher::value_ids::{Matched, ValueId};
use crate::matcher::wild_pattern::{Symbol, WildPattern};

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

    fn is_short(pattern: &HeaderGlob) -> bool {
        pattern.is_short()
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
        let text = readings::header::normalized(text)?;
        match text.contains(['?', '[']) {
            true => WildPattern::parse(text).map(Self::Wild),
            false => Ok(Self::Text(StringPattern::new(&text.to_ascii_lowercase()))),
        }
    }

    /// Reports whether it is looked for inside a value, and has no literal of three bytes.
    pub(crate) fn is_short(&self) -> bool {
        match self {
            Self::Text(text) => text.is_short(),
            // A part without a literal is compared at each byte, whatever the others hold.
            Self::Wild(wild) => wild.has_bare_part() || wild.literals().all(|literal| literal.len() < MIN_LITERAL),
            Self::Word(_) => false,
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

/// The index of `baseline-deny`'s header conditions.
pub(crate) struct ListElementIndex {
    /// Exact values, prefixes and suffixes.
    text: StringIndex,
    /// Words, and patterns with several stars, `?` or `[…]`.
    sequences: Option<SequenceIndex>,
    /// Patterns with a part of `?` and `[…]` alone, such as `???`.
    bare: Option<BareIndex>,
    /// Patterns that are tied to the start or the end of an element.
    elements: Option<ElementIndex>,
}

/// Steps that a value costs as much as, however short it is.
const STEPS_PER_VALUE: usize = 4;

impl ListElementIndex {
    pub(crate) fn new(patterns: impl Iterator<Item = (HeaderGlob, ValueId)>) -> Self {
        let patterns: Vec<_> = patterns.collect();
        let rank = rank_of_literals(&patterns);
        let tied = patterns.iter().filter_map(|(pattern, id)| match pattern {
            HeaderGlob::Wild(wild) if is_of_elements(wild) => Some((Sequence::of_wild(wild, &rank), *id)),
            HeaderGlob::Wild(_) | HeaderGlob::Text(_) | HeaderGlob::Word(_) => None,
        });
        let elements = patterns.iter().filter_map(|(pattern, id)| match pattern {
            HeaderGlob::Text(text) => Some((text, *id)),
            HeaderGlob::Wild(_) | HeaderGlob::Word(_) => None,
        });
        let elements = ElementIndex::new(elements, tied.collect());
        let (mut texts, mut sequences, mut bare) = (Vec::new(), Vec::new(), Vec::new());
        for (pattern, id) in &patterns {
            match pattern {
                HeaderGlob::Text(StringPattern::Glob(glob)) => sequences.push((Sequence::of_glob(glob), *id)),
                HeaderGlob::Text(text) => texts.push((text.clone(), *id)),
                HeaderGlob::Word(word) => sequences.push((Sequence::of_word(word), *id)),
                HeaderGlob::Wild(wild) if wild.has_bare_part() => bare.push((wild.clone(), *id)),
                HeaderGlob::Wild(wild) => sequences.push((Sequence::of_wild(wild, &rank), *id)),
            }
        }
        Self {
            text: StringIndex::new(texts),
            sequences: SequenceIndex::new(sequences),
            bare: BareIndex::new(&bare),
            elements,
        }
    }

    /// Reports whether some pattern matches `value` as a whole, in the steps that `counted` has left.
    pub(crate) fn matches_whole(&self, value: &[u8], counted: &mut Matched) -> bool {
        let mut matched = counted.others();
        matched.take(STEPS_PER_VALUE);
        self.lookup_whole(&to_lowercase(value), &mut matched);
        counted.continue_after(&matched);
        !matched.is_empty() && !matched.is_exhausted()
    }
}

/// Reports whether a pattern can match an element of a list without matching the list.
fn is_of_elements(pattern: &WildPattern) -> bool {
    let is_open = |end: Option<&Symbol>| end == Some(&Symbol::Star);
    let is_tied = !is_open(pattern.symbols().first()) || !is_open(pattern.symbols().last());
    is_tied && !pattern.has_bare_part() && !pattern.symbols().contains(&Symbol::Byte(SEPARATOR))
}

/// Ranks literals of globs: the ones that the fewest patterns have are the best to look for, and of those the longest.
fn rank_of_literals(patterns: &[(HeaderGlob, ValueId)]) -> impl Fn(&[u8]) -> usize {
    let mut uses: OrderedMap<Vec<u8>, usize> = OrderedMap::default();
    let wilds = patterns.iter().filter_map(|(pattern, _)| match pattern {
        HeaderGlob::Wild(wild) => Some(wild),
        HeaderGlob::Text(_) | HeaderGlob::Word(_) => None,
    });
    for literal in wilds.flat_map(WildPattern::literals) {
        uses.entry_or_insert_with(literal, || 0, |count| *count += 1);
    }
    /// Beyond the bytes of any literal, so that the number of uses comes first.
    const USE: usize = 1 << 16;
    move |literal| (uses.get(literal).copied().unwrap_or_default() * USE).saturating_sub(literal.len())
}

impl HeaderPatterns for ListElementIndex {
    fn folded<'v>(&self, value: &'v [u8]) -> Cow<'v, [u8]> {
        Cow::Owned(to_lowercase(value))
    }

    fn lookup_whole(&self, value: &[u8], matched: &mut Matched) {
        self.text.lookup(value, matched);
        if let Some(sequences) = &self.sequences {
            sequences.lookup(value, matched);
        }
        if let Some(bare) = &self.bare {
            bare.lookup(value, matched);
        }
    }

    fn lookup_elements(&self, list: &[u8], matched: &mut Matched) {
        if let Some(elements) = &self.elements {
            elements.lookup(list, matched);
        }
        if let Some(bare) = &self.bare {
            bare.lookup_elements(list, SEPARATOR, matched);
        }
    }
}
