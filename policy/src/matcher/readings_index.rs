//! Patterns of one field, for values with several readings.

use std::cell::Cell;
use std::hash::Hash;
use std::rc::Rc;

use crate::collections::map::OrderedMap;
use crate::collections::sort::sort_by;
use crate::matcher::clause::Quantifier;
use crate::matcher::field_match::FieldMatch;
use crate::matcher::string_index::StringIndex;
use crate::matcher::string_pattern::StringPattern;
use crate::matcher::value_ids::{Matched, STEPS, ValueId, once_each};

/// An index that one value is looked up in.
pub(crate) trait ValueIndex {
    /// A pattern of it.
    type Pattern: Clone + Eq + Hash;

    fn build(patterns: Vec<(Self::Pattern, ValueId)>) -> Self;

    /// Adds the patterns that match `value`.
    fn lookup(&self, value: &[u8], matched: &mut Matched);
}

impl ValueIndex for StringIndex {
    type Pattern = StringPattern;

    fn build(patterns: Vec<(StringPattern, ValueId)>) -> Self {
        Self::new(patterns)
    }

    fn lookup(&self, value: &[u8], matched: &mut Matched) {
        Self::lookup(self, value, matched);
    }
}

/// Bytes of readings that cost as much as a step.
const BYTES_PER_STEP: usize = 4;

/// Most bytes that the readings of a value have together; those of more are not compared.
const MAX_READ: usize = 128 << 10;

/// Bytes of the longest value with several readings that is compared.
const MAX_LENGTH: usize = 32 << 10;

/// Most bytes of readings that are compared once more, for the reason of a denial.
const MAX_EXPLAINED: usize = 16 << 10;

fn bytes_of(readings: &[(u8, Vec<u8>)]) -> usize {
    readings.iter().map(|(_, reading)| reading.len()).sum()
}

/// Pattern after a reading.
pub(crate) enum ReadPattern<P> {
    Same,
    /// Any of these; without one, a value in this reading can never match.
    Others(Vec<P>),
}

/// A list of a policy that a value is compared with.
#[derive(Clone, Copy)]
pub(crate) struct ValueList<'l> {
    /// The readings of the value that have to be in the list.
    pub(crate) of: Quantifier,
    /// True if some of these patterns are in the list.
    pub(crate) meets: &'l dyn Fn(&[ValueId]) -> bool,
}

/// Patterns as they are written, and in each reading those that it changes.
pub(crate) struct ReadingsIndex<I> {
    written: I,
    /// Patterns by reading number; a reading that changes no pattern has none.
    read: Vec<(u8, Rc<ReadPatterns<I>>)>,
}

/// The patterns that a reading changes.
struct ReadPatterns<I> {
    /// Changed patterns, sorted.
    changed: Vec<ValueId>,
    /// Index of the distinct patterns after the reading.
    index: I,
    /// Original patterns by the number of the pattern after the reading.
    ids: Vec<Vec<ValueId>>,
}

/// Patterns after a reading, each with its original patterns.
type ReadAs<P> = Vec<(P, Vec<ValueId>)>;

impl<I: ValueIndex> ReadPatterns<I> {
    fn lookup(&self, reading: &[u8], matched: &mut Matched) {
        let mut numbers = matched.others();
        self.index.lookup(reading, &mut numbers);
        matched.continue_after(&numbers);
        let ids = numbers
            .iter()
            .filter_map(|number| usize::try_from(number.0).ok().and_then(|position| self.ids.get(position)));
        matched.extend(ids.flatten().copied());
    }
}

impl<I: ValueIndex> ReadingsIndex<I> {
    /// Builds the index. `is_plain` reports whether no reading changes a pattern; `read` applies a reading to the
    /// others.
    pub(crate) fn new(
        patterns: Vec<(I::Pattern, ValueId)>,
        numbers: impl Iterator<Item = u8>,
        is_plain: impl Fn(&I::Pattern) -> bool,
        read: impl Fn(u8, &I::Pattern) -> ReadPattern<I::Pattern>,
    ) -> Self {
        let changing: Vec<_> = patterns.iter().filter(|(pattern, _)| !is_plain(pattern)).collect();
        let mut indexes: Vec<(u8, Rc<ReadPatterns<I>>)> = Vec::new();
        let mut built: Vec<ReadAs<I::Pattern>> = Vec::new();
        for number in numbers.filter(|_| !changing.is_empty()) {
            let mut changed = Vec::new();
            let mut others: OrderedMap<I::Pattern, Vec<ValueId>> = OrderedMap::default();
            for (pattern, id) in &changing {
                match read(number, pattern) {
                    ReadPattern::Same => continue,
                    ReadPattern::Others(read) => {
                        for other in read {
                            others.entry_or_insert_with(other, Vec::new, |ids| ids.push(*id));
                        }
                    }
                }
                changed.push(*id);
            }
            if changed.is_empty() {
                continue;
            }
            sort_by(&mut changed, Ord::cmp);
            let others = others.into_entries();
            // Readings that make the same of all patterns share an index.
            let known = built
                .iter()
                .zip(&indexes)
                .find(|(patterns, (_, read))| **patterns == others && read.changed == changed);
            let read = match known {
                Some((_, (_, known))) => Rc::clone(known),
                None => {
                    let numbered = others.iter().zip((0..).map(ValueId)).map(|((other, _), id)| (other.clone(), id));
                    let ids = others.iter().map(|(_, ids)| ids.clone()).collect();
                    Rc::new(ReadPatterns { changed, index: I::build(numbered.collect()), ids })
                }
            };
            built.push(others);
            indexes.push((number, read));
        }
        Self { written: I::build(patterns), read: indexes }
    }

    /// The patterns as they are written.
    pub(crate) fn written(&self) -> &I {
        &self.written
    }

    /// Returns the reading that makes a list match a value whose original it does not match or, with
    /// [`Quantifier::All`], the reading that keeps it from matching.
    pub(crate) fn deciding<'r>(
        &self,
        value: &[u8],
        readings: &'r [(u8, Vec<u8>)],
        list: &ValueList<'_>,
    ) -> Option<&'r (u8, Vec<u8>)> {
        let ValueList { of, meets } = *list;
        if bytes_of(readings) > MAX_EXPLAINED {
            return None;
        }
        let mut found = FieldMatch { any: Matched::with_steps(STEPS / 4), ..FieldMatch::default() };
        self.lookup(value, readings, &mut found);
        let steps = Cell::new(found.any.steps());
        let (as_it_came, others) = found.each.split_first()?;
        let differs = |(number, matched): (&'r (u8, Vec<u8>), &Matched)| {
            let meets = match of {
                Quantifier::All => meets(matched),
                Quantifier::Any => {
                    let mut written = Matched::with_steps(steps.get());
                    self.written.lookup(&number.1, &mut written);
                    steps.set(written.steps());
                    meets(&written)
                }
            };
            (meets == (of == Quantifier::Any)).then_some(number)
        };
        match meets(as_it_came) == (of == Quantifier::All) {
            true => readings.iter().zip(others).find_map(differs),
            false => None,
        }
    }

    /// Looks up the original value and its other readings, each with its number.
    #[inline(never)]
    pub(crate) fn lookup(&self, value: &[u8], readings: &[(u8, Vec<u8>)], found: &mut FieldMatch) {
        let bytes = bytes_of(readings);
        if bytes > MAX_READ || value.len() > MAX_LENGTH && !readings.is_empty() {
            found.uncompared = true;
            return;
        }
        self.written.lookup(value, &mut found.any);
        if readings.is_empty() {
            return;
        }
        let mut each = Vec::with_capacity(readings.len() + 1);
        each.push(found.any.clone());
        found.any.spend(bytes / BYTES_PER_STEP);
        for (number, reading) in readings {
            let mut matched = found.any.others();
            self.written.lookup(reading, &mut matched);
            found.any.add(&matched);
            if let Some((_, read)) = self.read.iter().find(|(known, _)| known == number) {
                matched.retain(|id| read.changed.binary_search(id).is_err());
                read.lookup(reading, &mut matched);
                found.any.continue_after(&matched);
            }
            each.push(matched);
        }
        once_each(&mut found.any);
        found.each = each.into();
    }
}
