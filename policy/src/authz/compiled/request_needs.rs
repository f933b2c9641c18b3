//! Needs of a policy that decide how requests are best read and cached.

use crate::authz::compiled::CompiledPolicy;
use crate::matcher::clause::Clause;

/// Needs of a policy for a request's attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestNeeds {
    /// Whether all requests of one connection are decided alike, and none is marked by AUDIT: no rule depends on what
    /// can change from one request to the next.
    pub connection_scoped: bool,
    /// Whether rules read more than one header, pseudo-headers included, so that reading all of them at once is cheaper.
    pub prefetch_headers: bool,
}

impl CompiledPolicy {
    /// Needs of the rules.
    pub fn request_needs(&self) -> RequestNeeds {
        let fields = || self.clauses().flat_map(Clause::conditions).map(|condition| condition.field);
        let mut headers = fields().filter(|field| field.kind.is_a_header());
        RequestNeeds {
            connection_scoped: self.audit.is_empty()
                && !self.mutual_tls.depends_on_port()
                && fields().all(|field| field.kind.is_of_the_connection()),
            prefetch_headers: headers.next().is_some_and(|first| headers.any(|other| other != first)),
        }
    }
}
