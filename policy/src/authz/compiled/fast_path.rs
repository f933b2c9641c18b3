//! The fast path: the requests of a connection whose handshake leaves a few simple conditions are compared with literals,
//! without an index.

use crate::attributes::readings::{method, path};
use crate::attributes::request::{PseudoHeader, Request, without_query};
use crate::authz::engine::lookups::ConnectionFields;
use crate::authz::engine::rule_set::RuleSet;
use crate::collections::bytes::bytes_eq;
use crate::matcher::string_index::LiteralPrefix;

/// The most clauses: each has a bit.
const MAX_CLAUSES: usize = 8;

/// The most literals of a clause for one field: so few are cheaper to compare than a value is to look up.
const MAX_LITERALS: usize = 4;

/// The residual ALLOW clauses of a connection, where they are few, test only method, host and path, and no DENY is left.
///
/// The fast path can only allow; differential tests check it against full evaluation. It compares literals that have one
/// reading with values that have one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FastPath {
    /// A bit for each clause.
    clauses: u8,
    /// Tests, cheapest first.
    tests: [FieldTest; 3],
}

/// The tests of all clauses on one pseudo-header.
#[derive(Debug, PartialEq, Eq)]
struct FieldTest {
    header: PseudoHeader,
    /// The clauses that do not test it.
    unconstrained: u8,
    literals: Vec<Literal>,
}

/// A text that a value has to begin with.
#[derive(Debug, PartialEq, Eq)]
struct Literal {
    bytes: Box<[u8]>,
    /// True if the literal is the whole value rather than a prefix.
    exact: bool,
    clause_bit: u8,
}

impl FastPath {
    /// The fast path of the connections with these lookups.
    pub(crate) fn new(rules: &RuleSet, known: &ConnectionFields) -> Self {
        Self::of_simple_clauses(rules, known).unwrap_or_else(Self::disabled)
    }

    /// Builds the tests, or returns `None` if the residual clauses are not simple enough.
    fn of_simple_clauses(rules: &RuleSet, mut known: &ConnectionFields) -> Option<Self> {
        for index in [&rules.deny.enforced, &rules.deny.reported] {
            if !index.residual_clauses(&rules.sets, &mut known, MAX_CLAUSES)?.is_empty() {
                return None;
            }
        }
        let mut path = FastPath::disabled();
        let residual = rules.allow.enforced.residual_clauses(&rules.sets, &mut known, MAX_CLAUSES)?;
        for (position, clause) in residual.into_iter().enumerate() {
            let clause_bit = 1 << position;
            path.clauses |= clause_bit;
            for condition in clause.conditions() {
                // A residual clause does not fail by what is known, so this holds.
                if known.get(condition.field).is_some() {
                    continue;
                }
                let index = rules.fields.index(condition.field).ok()?;
                let header = index.pseudo_header()?;
                let test = path.tests.iter_mut().find(|test| test.header == header)?;
                let values = rules.sets.values(&condition.set);
                // A second list of one field would have to be met as well.
                if condition.negated || test.unconstrained & clause_bit == 0 || values.len() > MAX_LITERALS {
                    return None;
                }
                test.unconstrained &= !clause_bit;
                for value in values {
                    let LiteralPrefix { text, whole } = index.literal_prefix(*value)?;
                    if !test.is_plain(text, whole) {
                        return None;
                    }
                    test.literals.push(Literal { bytes: text.into(), exact: whole, clause_bit });
                }
            }
        }
        Some(path)
    }

    /// A fast path that admits nothing.
    fn disabled() -> Self {
        let test = |header| FieldTest { header, unconstrained: u8::MAX, literals: Vec::new() };
        Self { clauses: 0, tests: [PseudoHeader::Method, PseudoHeader::Authority, PseudoHeader::Path].map(test) }
    }

    /// Reports whether a request satisfies one of the clauses.
    pub(crate) fn admits(&self, request: &mut dyn Request) -> bool {
        let mut clauses = self.clauses;
        if clauses == 0 {
            return false;
        }
        for test in &self.tests {
            if clauses & !test.unconstrained == 0 {
                continue;
            }
            let Ok(value) = test.header.read(request) else { return false };
            clauses &= test.surviving_clauses(value);
        }
        clauses != 0
    }
}

impl FieldTest {
    /// The clauses that a value satisfies.
    fn surviving_clauses(&self, value: Option<&[u8]>) -> u8 {
        let mut clauses = self.unconstrained;
        let Some(value) = value else { return clauses };
        for Literal { bytes, exact, clause_bit } in &self.literals {
            let Some((start, rest)) = value.split_at_checked(bytes.len()) else { continue };
            // A path is compared without query and fragment; no literal of a path has either.
            let ends = match rest {
                [] => true,
                [b'?' | b'#', ..] => self.header == PseudoHeader::Path,
                _ => false,
            };
            let same = match self.header {
                PseudoHeader::Authority => start.eq_ignore_ascii_case(bytes),
                PseudoHeader::Method | PseudoHeader::Path => bytes_eq(start, bytes),
            };
            // What equals a literal that has one reading has no other.
            if same && if *exact { ends } else { self.has_one_reading(value, bytes.len()) } {
                clauses |= clause_bit;
            }
        }
        clauses
    }

    /// Reports whether a value has one reading. Its first `known` bytes equal a literal that has one.
    fn has_one_reading(&self, value: &[u8], known: usize) -> bool {
        let rest = |known| value.get(known..).unwrap_or_default();
        match self.header {
            PseudoHeader::Method => method::is_plain(rest(known)),
            PseudoHeader::Authority => !value.ends_with(b".") && !rest(known).contains(&b':'),
            // The last of these bytes and the next can make a dot segment.
            PseudoHeader::Path => path::is_plain(without_query(rest(known.saturating_sub(1)))),
        }
    }

    /// Reports whether a literal has one reading.
    fn is_plain(&self, literal: &[u8], exact: bool) -> bool {
        match self.header {
            PseudoHeader::Method => method::is_plain(literal),
            PseudoHeader::Authority => !(literal.contains(&b':') || exact && literal.ends_with(b".")),
            PseudoHeader::Path => path::is_plain(literal),
        }
    }
}
