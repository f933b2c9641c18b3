//! Answers of the linear reading.

/// Answer to one request, found by walking every rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinearAnswer {
    /// Outcome.
    pub outcome: LinearOutcome,
    /// First AUDIT rule that matches, as [`RuleName`](crate::RuleName) prints it.
    pub audit: Option<String>,
    /// False if a rule compares what cannot be known. The outcome is then the strictest that it can lead to, whatever
    /// order rules are read in.
    pub is_certain: bool,
}

/// Outcome, with the rule that matched, as [`RuleName`](crate::RuleName) prints it; `None` if no rule did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinearOutcome {
    /// The request goes on.
    Allow,
    /// The request goes on; it would be denied if everything that is only reported were enforced.
    WouldDeny(Option<String>),
    /// The request is denied.
    Deny(Option<String>),
}
