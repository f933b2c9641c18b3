//! The lookup results of one request, one for each match field.

use crate::identity::error::{AttributeError, EvalError};
use crate::matcher::value_ids::{MAX_UNSORTED, Matched, once_each};

/// The values of one field that a request matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldMatch {
    /// The values that the request matches: by one of its values, where there are several.
    pub(crate) any: Matched,
    /// Matches of each value of a header, or of each reading of a value. A field that
    /// has one value with one reading leaves this empty.
    pub(crate) each: Box<[Matched]>,
    /// True if the value is too long to be compared in all its readings, or takes too many steps: it counts as matched to
    /// deny, and as not matched to allow.
    pub(crate) uncompared: bool,
}

impl FieldMatch {
    /// Brings many values into order, in which one is found without looking at all, and notes whether all were compared.
    fn finish(&mut self) {
        self.uncompared |= self.each.iter().chain([&self.any]).any(Matched::is_exhausted);
        for matched in self.each.iter_mut().chain([&mut self.any]) {
            if matched.len() > MAX_UNSORTED {
                once_each(matched);
            }
        }
    }
}

/// Matches of the fields `F` that were looked up, each once.
pub(crate) struct FieldMatches<F> {
    /// First matches, kept inline: most requests need no more.
    first: [(Option<F>, FieldMatch); 3],
    /// The others, sorted.
    more: Vec<(F, FieldMatch)>,
}

impl<F> Default for FieldMatches<F> {
    fn default() -> Self {
        let empty = || (None, FieldMatch::default());
        Self { first: [empty(), empty(), empty()], more: Vec::new() }
    }
}

impl<F: Copy + Ord> FieldMatches<F> {
    /// The lookup of `field`, which `look_up` makes the first time. Fails as that does.
    pub(crate) fn get_or_look_up(
        &mut self,
        field: F,
        look_up: impl FnOnce(&mut FieldMatch) -> Result<(), EvalError>,
    ) -> Result<&FieldMatch, EvalError> {
        for (known, found) in &mut self.first {
            match known {
                Some(known) if *known == field => return Ok(found),
                Some(_) => {}
                None => {
                    if let Err(error) = look_up(found) {
                        *found = FieldMatch::default();
                        return Err(error);
                    }
                    found.finish();
                    *known = Some(field);
                    return Ok(found);
                }
            }
        }
        // Fields are asked for in their order for the most part, which adds each at the end.
        let index = match self.more.binary_search_by(|(known, _)| known.cmp(&field)) {
            Ok(index) => index,
            Err(index) => {
                let mut found = FieldMatch::default();
                look_up(&mut found)?;
                found.finish();
                self.more.insert(index, (field, found));
                index
            }
        };
        self.more.get(index).map(|(_, found)| found).ok_or_else(missing_index)
    }
}

impl<F> FieldMatches<F> {
    /// Returns all matches.
    pub(crate) fn into_entries(self) -> Box<[(F, FieldMatch)]> {
        let mut entries = self.more;
        for (field, found) in self.first {
            if let Some(field) = field {
                entries.push((field, found));
            }
        }
        entries.into()
    }
}

/// Error for a field without an index, whose matches are unknown.
fn missing_index() -> EvalError {
    AttributeError { attribute: "a field of the policy", status: "it has no index" }.into()
}
