//! Agreement of a decision with the linear reading.

use sallyport_policy::{Decision, Denial, EgressDenial, LinearAnswer, LinearOutcome};

/// Reason of a denial, with the rule that matched.
pub(crate) trait DeniesByRule {
    /// Returns the rule, as it is reported; `None` if no rule matched.
    fn rule(&self) -> Option<String>;
}

impl DeniesByRule for Denial<'_> {
    fn rule(&self) -> Option<String> {
        match self {
            Self::Matched(rule) => Some(rule.to_string()),
            _ => None,
        }
    }
}

impl DeniesByRule for EgressDenial<'_> {
    fn rule(&self) -> Option<String> {
        match self {
            Self::Matched(rule) => Some(rule.to_string()),
            _ => None,
        }
    }
}

/// Returns a decision in the terms of the linear reading.
pub(crate) fn outcome<D: DeniesByRule>(decision: &Decision<D>) -> LinearOutcome {
    match decision {
        Decision::Allow => LinearOutcome::Allow,
        Decision::WouldDeny(denial) => LinearOutcome::WouldDeny(denial.rule()),
        Decision::Deny(denial) => LinearOutcome::Deny(denial.rule()),
    }
}

/// Asserts that a decision is that of the linear reading, or stricter where that is not certain.
pub(crate) fn assert_agrees(answer: &LinearAnswer, decided: &LinearOutcome) {
    match answer.is_certain {
        true => assert_eq!(answer.outcome, *decided, "linear reading on the left"),
        false => assert_not_looser(&answer.outcome, decided),
    }
}

/// Asserts that `decided` lets in nothing that `least` keeps out.
pub(crate) fn assert_not_looser(least: &LinearOutcome, decided: &LinearOutcome) {
    assert!(strictness(decided) >= strictness(least), "{decided:?} is looser than {least:?}");
}

fn strictness(outcome: &LinearOutcome) -> u8 {
    match outcome {
        LinearOutcome::Allow => 0,
        LinearOutcome::WouldDeny(_) => 1,
        LinearOutcome::Deny(_) => 2,
    }
}
