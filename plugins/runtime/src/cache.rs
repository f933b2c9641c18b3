//! Cache of what is known of connections, and of what a policy computed for them.

mod cached_decision;
mod decisions;
pub(crate) mod peers;
mod tag;
mod unique_key;

use std::rc::Rc;

use sallyport_policy::{CompiledPolicy, Decision, Evaluation, IdentityAuthz, IdentitySource, Request, RequestNeeds};

use crate::cache::cached_decision::CachedDecision;
use crate::cache::decisions::DecisionCache;
use crate::cache::peers::PeerCache;
use crate::host::Host;
use crate::stream::request::CurrentStream;

/// Distinct results of a policy that are found by a tag; more are found by the connection's token.
const MAX_TAGGED_RESULTS: usize = 16;

/// Cache of one plugin: the peers of its connections, and the results of its policy for them.
///
/// Results that the handshake fixes for all requests of a connection are computed once: that all are allowed,
/// if no rule depends on request attributes, otherwise the lookups of the fields that it fixes. Denials are never cached.
#[derive(Debug)]
pub struct PolicyCache<H> {
    needs: RequestNeeds,
    peers: PeerCache<H>,
    decisions: DecisionCache<H>,
}

impl<H: Host> PolicyCache<H> {
    /// Makes the cache of the filter that decides by `configuration`.
    pub fn new(host: H, filter: &str, configuration: &IdentityAuthz) -> Self {
        let needs = configuration.policy().needs();
        let is_marking = configuration.marking().is_some();
        let tags = match configuration.identity_source() {
            _ if is_marking => 0,
            IdentitySource::PeerCertificate if needs.connection_scoped => 1,
            IdentitySource::PeerCertificate => MAX_TAGGED_RESULTS,
            // The identity may change from one request to the next, so nothing is cached.
            IdentitySource::FilterState(_) | IdentitySource::ForwardedClientCert => 0,
        };
        let validation = configuration.certificate_validation();
        // The instance that decides counts the connection.
        let peers = match is_marking {
            true => PeerCache::new(host, validation),
            false => PeerCache::counting(host, filter, validation),
        };
        Self { needs, peers, decisions: DecisionCache::new(host, tags) }
    }

    /// Peers of the connections.
    pub fn peers(&self) -> &PeerCache<H> {
        &self.peers
    }

    /// Reports whether requests read several headers.
    pub fn prefetch_headers(&self) -> bool {
        self.needs.prefetch_headers
    }

    /// Reports whether all requests of the current connection are known to be allowed (fast path, without reading the
    /// request).
    #[inline(always)]
    pub fn allows_connection(&self) -> bool {
        self.needs.connection_scoped && self.decisions.is_same_as_last()
    }

    /// Evaluates a request by the policy that this cache was made for, unless [`Self::allows_connection`].
    pub fn evaluate<'p>(&self, policy: &'p CompiledPolicy, request: &mut CurrentStream<'_, H>) -> Evaluation<'p> {
        let cached = match !self.needs.connection_scoped && self.decisions.is_same_as_last() {
            true => self.decisions.last(),
            false => self.lookup(policy, request),
        };
        match cached.as_deref() {
            Some(CachedDecision::AllowAll) => Evaluation { decision: Decision::Allow, audit: None, allowed_by: None },
            Some(CachedDecision::Matches(matches)) => policy.evaluate(Some(matches), request),
            None => policy.evaluate(None, request),
        }
    }

    /// Evaluates a connection at its first bytes, which is done once, so nothing is cached but its peer.
    pub fn evaluate_connection<'p>(
        &self,
        policy: &'p CompiledPolicy,
        connection: &mut CurrentStream<'_, H>,
    ) -> Evaluation<'p> {
        let _counted = connection.connection();
        policy.evaluate(None, connection)
    }

    /// Flushes the counters and drops what certificates proved that have ended.
    pub fn on_tick(&self) {
        self.peers.on_tick();
        self.decisions.on_tick(self.peers.now());
    }

    /// Result for the connection of a request, `None` if each of its requests is decided by itself.
    fn lookup(&self, policy: &CompiledPolicy, request: &mut CurrentStream<'_, H>) -> Option<Rc<CachedDecision>> {
        let connection = request.connection()?;
        let request: &mut dyn Request = request;
        self.decisions.get_or_insert(&connection, self.peers.now(), || match self.needs.connection_scoped {
            true => (policy.decide(request) == Decision::Allow).then_some(CachedDecision::AllowAll),
            false => policy.precompute_connection(request).map(CachedDecision::Matches),
        })
    }
}

#[cfg(test)]
mod tests;
