//! How often each field and kind of matcher was met.

use std::collections::BTreeMap;
use std::fmt;

use super::fields::{Place, Term, all_terms};
use super::policy_set::PolicySet;
use super::stage::Answers;

/// Counts pairs of a set of policies and a request.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    pairs: usize,
    /// By the name of a field, whether it is negated, and a kind of matcher.
    met: BTreeMap<(&'static str, bool, &'static str), usize>,
    answers: BTreeMap<&'static str, usize>,
}

impl Coverage {
    /// Counts a request to `set`, and every term that stands in the set once.
    pub fn count(&mut self, set: &PolicySet, answers: &Answers) {
        self.pairs += 1;
        let mut terms: Vec<_> =
            set.terms().into_iter().map(|(field, value, negated)| (field.name, negated, field.kind(value))).collect();
        terms.sort_unstable();
        terms.dedup();
        for term in terms {
            *self.met.entry(term).or_default() += 1;
        }
        let answer = match (answers.istio.allowed, answers.istio.rule.as_deref()) {
            (true, _) => "allowed",
            (false, None) => "closed",
            (false, Some("none")) => "denied, no ALLOW matches",
            (false, Some(_)) => "denied by a DENY",
        };
        *self.answers.entry(answer).or_default() += 1;
        if answers.istio.audited {
            *self.answers.entry("audited").or_default() += 1;
        }
    }

    /// How many pairs there were.
    pub fn pairs(&self) -> usize {
        self.pairs
    }

    /// How many pairs had this answer: `allowed`, `denied by a DENY`, `denied, no ALLOW matches`, `closed` or
    /// `audited`.
    pub fn answered(&self, answer: &str) -> usize {
        self.answers.get(answer).copied().unwrap_or_default()
    }

    /// What no pair has met: a field with a kind of matcher that it can have.
    pub fn missing(&self) -> Vec<String> {
        let missing = all_terms().into_iter().filter(|term| self.met(*term) == 0);
        missing
            .map(|(field, negated, kind)| format!("{} {kind}{}", field.name, if negated { ", negated" } else { "" }))
            .collect()
    }

    fn met(&self, (field, negated, kind): Term) -> usize {
        self.met.get(&(field.name, negated, kind)).copied().unwrap_or_default()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} pairs of policies and a request", self.pairs)?;
        for (answer, count) in &self.answers {
            writeln!(f, "  {count:>7}  {answer}")?;
        }
        writeln!(f, "met by so many pairs, as it is and negated:")?;
        for term @ (field, negated, kind) in all_terms() {
            let place = match field.place {
                Place::Source => "source",
                Place::Operation => "operation",
                Place::When => "when",
            };
            if !negated {
                let (met, met_negated) = (self.met(term), self.met((field, true, kind)));
                writeln!(f, "  {place:<9} {:<46} {kind:<13} {:>7} {:>7}", field.name, met, met_negated)?;
            }
        }
        Ok(())
    }
}
