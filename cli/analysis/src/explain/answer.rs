//! Answers to requests.

use sallyport_policy::Decision;

/// Answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It goes on.
    Allowed,
    /// It is denied.
    Denied,
    /// It goes on, and would be denied if what only reports were enforced.
    WouldBeDenied,
}

impl Answer {
    /// Returns the word for it, as in `would-be-denied`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::WouldBeDenied => "would-be-denied",
        }
    }

    /// Returns the answer that a decision is.
    pub(crate) fn of<D>(decision: &Decision<D>) -> Self {
        match decision {
            Decision::Allow => Self::Allowed,
            Decision::Deny(_) => Self::Denied,
            Decision::WouldDeny(_) => Self::WouldBeDenied,
        }
    }
}
