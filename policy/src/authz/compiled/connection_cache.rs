//! The lookups that a connection's handshake fixes for all its requests.

use std::cell::OnceCell;

use crate::attributes::request::Request;
use crate::authz::compiled::CompiledPolicy;
use crate::authz::compiled::fast_path::FastPath;
use crate::authz::engine::lookups::ConnectionFields;
use crate::matcher::clause::MatchedValues;

/// The lookups of one connection, made once for all its requests.
///
/// Equal values imply equal decisions. Only valid for the policy that created it.
#[derive(Debug)]
pub struct ConnectionCache {
    pub(crate) fields: ConnectionFields,
    /// Built when a request first takes it.
    fast_path: OnceCell<FastPath>,
}

impl ConnectionCache {
    pub(crate) fn fast_path(&self, policy: &CompiledPolicy) -> &FastPath {
        self.fast_path.get_or_init(|| policy.fast_path(&self.fields))
    }
}

impl PartialEq for ConnectionCache {
    fn eq(&self, other: &Self) -> bool {
        self.fields == other.fields
    }
}

impl Eq for ConnectionCache {}

impl CompiledPolicy {
    /// The lookups of the connection of `request`, for [`evaluate`](Self::evaluate).
    ///
    /// None where they cannot be made, where PeerAuthentication rejects the connection, and where that depends on more
    /// than the handshake: each request is decided by itself then.
    pub fn precompute_connection(&self, request: &mut dyn Request) -> Option<ConnectionCache> {
        if self.mutual_tls.depends_on_port() || self.mutual_tls.rejects(request) != Ok(None) {
            return None;
        }
        let mut lookups = self.rules.lookups(None, request);
        for field in &self.rules.connection_fields {
            lookups.matched(*field).ok()?;
        }
        Some(ConnectionCache { fields: lookups.into_connection_fields(), fast_path: OnceCell::new() })
    }
}
