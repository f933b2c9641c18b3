//! The lookups that a connection's handshake fixes for all its requests.

use std::cell::OnceCell;

use crate::authz::compiled::fast_path::FastPath;
use crate::authz::engine::lookups::ConnectionFields;
use crate::authz::engine::rule_set::RuleSet;

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
    pub(crate) fn new(fields: ConnectionFields) -> Self {
        Self { fields, fast_path: OnceCell::new() }
    }

    /// The fast path of the connection, by the rules of the policy that created this.
    pub(crate) fn fast_path(&self, rules: &RuleSet) -> &FastPath {
        self.fast_path.get_or_init(|| FastPath::new(rules, &self.fields))
    }
}

impl PartialEq for ConnectionCache {
    fn eq(&self, other: &Self) -> bool {
        self.fields == other.fields
    }
}

impl Eq for ConnectionCache {}
