//! Coverage: the number of pairs of policies and a request that exercise each field and kind of matcher.

use std::collections::BTreeMap;
use std::fmt;

use super::envoy_pair::Answers;
use super::fields::{Section, Term, all_terms};
use super::policy_set::PolicySet;

/// Counts of pairs of policies and a request.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    pairs: usize,
    /// Keyed by a field's name, whether it is negated, and a kind of matcher.
    exercised: BTreeMap<(&'static str, bool, &'static str), usize>,
    answers: BTreeMap<&'static str, usize>,
}

impl Coverage {
    /// Counts a request to `set`, and each term of the set once.
    pub fn count(&mut self, set: &PolicySet, answers: &Answers) {
        self.pairs += 1;
        let mut terms: Vec<_> =
            set.terms().into_iter().map(|(field, value, negated)| (field.name, negated, field.kind(value))).collect();
        terms.sort_unstable();
        terms.dedup();
        for term in terms {
            *self.exercised.entry(term).or_default() += 1;
        }
        let answer = match (answers.istio.allowed, answers.istio.rule.as_deref()) {
            (true, _) => "allowed",
            (false, None) => "closed",
            (false, Some("none")) => "denied, no ALLOW matched",
            (false, Some(_)) => "denied by a DENY",
        };
        *self.answers.entry(answer).or_default() += 1;
        if answers.istio.audited {
            *self.answers.entry("audited").or_default() += 1;
        }
    }

    /// Returns the number of pairs.
    pub fn pairs(&self) -> usize {
        self.pairs
    }

    /// Returns the number of pairs with this answer: `allowed`, `denied by a DENY`, `denied, no ALLOW matched`,
    /// `closed` or `audited`.
    pub fn answered(&self, answer: &str) -> usize {
        self.answers.get(answer).copied().unwrap_or_default()
    }

    /// Returns the terms that no pair has exercised.
    pub fn missing(&self) -> Vec<String> {
        let missing = all_terms().into_iter().filter(|term| self.pairs_with(*term) == 0);
        missing
            .map(|(field, negated, kind)| format!("{} {kind}{}", field.name, if negated { ", negated" } else { "" }))
            .collect()
    }

    fn pairs_with(&self, (field, negated, kind): Term) -> usize {
        self.exercised.get(&(field.name, negated, kind)).copied().unwrap_or_default()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} pairs of policies and a request", self.pairs)?;
        for (answer, count) in &self.answers {
            writeln!(f, "  {count:>7}  {answer}")?;
        }
        writeln!(f, "pairs that exercise each field and kind of matcher, plain and negated:")?;
        for term @ (field, negated, kind) in all_terms() {
            if !negated {
                let section = match field.section {
                    Section::Source => "source",
                    Section::Operation => "operation",
                    Section::When => "when",
                };
                let (plain, negated) = (self.pairs_with(term), self.pairs_with((field, true, kind)));
                writeln!(f, "  {section:<9} {:<46} {kind:<13} {:>7} {:>7}", field.name, plain, negated)?;
            }
        }
        Ok(())
    }
}
