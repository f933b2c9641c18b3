//! Results of a policy that hold for all requests of a connection.

use sallyport_policy::ConnectionCache;

/// Result of a policy for all requests of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CachedDecision {
    /// Every request is allowed.
    AllowAll,
    /// Requests are decided with these lookups.
    Matches(ConnectionCache),
}
