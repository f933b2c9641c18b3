//! Outcomes of scenarios.

/// The outcome of a request, as a row of the table.
pub(crate) struct Outcome {
    /// The client.
    pub(crate) client: &'static str,
    /// The request, as in `GET /orders`.
    pub(crate) request: String,
    /// The HTTP status, or a word where there is none.
    pub(crate) response: String,
    /// The policy that decided; `none` if no policy matched.
    pub(crate) policy: String,
    /// The reason for the decision.
    pub(crate) reason: String,
    /// True if the request reached the service.
    pub(crate) is_allowed: bool,
    /// True if the outcome is the expected one.
    pub(crate) as_expected: bool,
}
