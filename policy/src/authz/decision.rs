//! Decisions as values: replies, log lines and counters are made from them elsewhere.

/// The answer to one request, with the reason `D` of a denial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision<D> {
    /// The request goes on.
    Allow,
    /// The request goes on; it would be denied if everything that is only reported were enforced.
    WouldDeny(D),
    /// The request is denied.
    Deny(D),
}
