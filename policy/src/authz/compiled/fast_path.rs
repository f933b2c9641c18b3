//! The short way to let a request in, on connections of which the handshake leaves little to ask.

use crate::attributes::readings::{method, path};
use crate::attributes::request::{Request, without_query};
use crate::authz::compiled::CompiledPolicy;
use crate::authz::compiled::connection_cache::Known;
use crate::authz::fields::FieldKind;
use crate::collections::bytes::bytes_eq;
use crate::matcher::string_index::LiteralPrefix;

/// How many ways there may be: each has a bit.
const MAX_WAYS: usize = 8;

/// How many texts a way may list for a field: so few are cheaper to compare than a value is to look up.
const MAX_TEXTS: usize = 4;

/// What lets the requests of some connections in, where that is a few ways that ask for nothing but certain methods,
/// hosts and paths, or what they begin with, and nothing can keep them out.
///
/// Whom it does not let in is decided as everybody else: it only ever says yes, and only where that decision would. It
/// compares texts of one reading with values of one reading.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WaysIn {
    /// A bit for each way.
    all: u8,
    /// In the order of what it costs to ask.
    questions: [Question; 3],
}

/// What ways ask of one field.
#[derive(Debug, PartialEq, Eq)]
struct Question {
    kind: FieldKind,
    /// The ways that do not ask for it.
    indifferent: u8,
    texts: Vec<Wanted>,
}

/// What a value begins with.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    text: Box<[u8]>,
    /// Whether that is all of it.
    whole: bool,
    /// The way that wants it.
    way: u8,
}

impl WaysIn {
    fn none() -> Self {
        let question = |kind| Question { kind, indifferent: u8::MAX, texts: Vec::new() };
        Self { all: 0, questions: [FieldKind::Method, FieldKind::Host, FieldKind::Path].map(question) }
    }

    /// Whether a request takes one of the ways.
    pub(crate) fn let_in<R: Request + ?Sized>(&self, request: &mut R) -> bool {
        let mut open = self.all;
        if open == 0 {
            return false;
        }
        for question in &self.questions {
            if open & !question.indifferent == 0 {
                continue;
            }
            let value = match question.kind {
                FieldKind::Method => request.method(),
                FieldKind::Host => request.host(),
                _ => request.path(),
            };
            let Ok(value) = value else { return false };
            open &= question.answer(value);
        }
        open != 0
    }
}

impl Question {
    /// The ways that go on.
    fn answer(&self, value: Option<&[u8]>) -> u8 {
        let mut open = self.indifferent;
        let Some(value) = value else { return open };
        for Wanted { text, whole, way } in &self.texts {
            let Some((start, rest)) = value.split_at_checked(text.len()) else { continue };
            // A path is compared without query and fragment; no text of a path has either.
            let over = match rest {
                [] => true,
                [b'?' | b'#', ..] => self.kind == FieldKind::Path,
                _ => false,
            };
            let same = match self.kind {
                FieldKind::Host => start.eq_ignore_ascii_case(text),
                _ => bytes_eq(start, text),
            };
            // What equals a text that has one reading has no other.
            if same && if *whole { over } else { self.has_one_reading(value, text.len()) } {
                open |= way;
            }
        }
        open
    }

    /// Whether a value has one reading, of which so many bytes equal those of a text that has.
    fn has_one_reading(&self, value: &[u8], known: usize) -> bool {
        let rest = |known| value.get(known..).unwrap_or_default();
        match self.kind {
            FieldKind::Method => method::is_plain(rest(known)),
            FieldKind::Host => !value.ends_with(b".") && !rest(known).contains(&b':'),
            // The last of these bytes and the next can make a dot segment.
            _ => path::is_plain(without_query(rest(known.saturating_sub(1)))),
        }
    }

    /// Whether a text that values begin with, or are, has one reading.
    fn is_plain(&self, text: &[u8], whole: bool) -> bool {
        match self.kind {
            FieldKind::Method => method::is_plain(text),
            FieldKind::Host => !(text.contains(&b':') || whole && text.ends_with(b".")),
            _ => path::is_plain(text),
        }
    }
}

impl CompiledPolicy {
    /// The ways in for connections that match this, none where they are not so simple.
    pub(crate) fn ways_in(&self, known: &Known) -> WaysIn {
        self.simple_ways_in(known).unwrap_or_else(WaysIn::none)
    }

    fn simple_ways_in(&self, mut known: &Known) -> Option<WaysIn> {
        for index in [&self.deny.enforced, &self.deny.reported] {
            if !index.left(&self.sets, &mut known, MAX_WAYS)?.is_empty() {
                return None;
            }
        }
        let mut ways = WaysIn::none();
        for (place, clause) in self.allow.enforced.left(&self.sets, &mut known, MAX_WAYS)?.into_iter().enumerate() {
            let way = 1 << place;
            ways.all |= way;
            for condition in clause.conditions() {
                // What is known comes before what is asked here, so it holds.
                if known.of(condition.field).is_some() {
                    continue;
                }
                let question = ways.questions.iter_mut().find(|question| question.kind == condition.field.kind)?;
                let values = self.sets.values(&condition.set);
                // A second list of one field would have to be met as well.
                if condition.negated || question.indifferent & way == 0 || values.len() > MAX_TEXTS {
                    return None;
                }
                question.indifferent &= !way;
                for value in values {
                    let LiteralPrefix { text, whole } = self.fields.literal_prefix(condition.field.kind, *value)?;
                    if !question.is_plain(text, whole) {
                        return None;
                    }
                    question.texts.push(Wanted { text: text.into(), whole, way });
                }
            }
        }
        Some(ways)
    }
}
