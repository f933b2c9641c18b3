//! `egress-allowlist`: may this workload reach that outside host?
//!
//! Reads rules, ServiceEntry and CiliumNetworkPolicy resources and decides what leaves: plain HTTP requests and CONNECT
//! by their authority, TLS that passes through by its server name. `sallyport-policy` reads, checks and compiles the
//! rules; this crate evaluates them and carries the decision out.

use sallyport_policy::{ConfigErrors, Decision, EgressAllowlist, EgressRequest};
use sallyport_runtime::{
    Action, Bytes, ConnectionPlugin, CurrentStream, DenialReport, Host, PassthroughConnection, PeerCache, Plugin,
    ProxyHost, Reporter, StreamContext, log_loaded,
};

sallyport_runtime::filter!(EgressAllowlistPlugin<ProxyHost>, connections);

struct EgressAllowlistPlugin<H> {
    host: H,
    configuration: EgressAllowlist,
    peers: PeerCache<H>,
    reporter: Reporter<H>,
}

impl<H: Host + 'static> Plugin for EgressAllowlistPlugin<H> {
    const NAME: &'static str = "egress_allowlist";

    type Host = H;

    fn configure(host: H, configuration: Bytes) -> Result<Self, ConfigErrors> {
        let configuration = EgressAllowlist::parse(&configuration)?;
        log_loaded(host, Self::NAME, configuration.load_report());
        let reporter = Reporter::new(host, Self::NAME, configuration.policy().denying_rules());
        let peers = PeerCache::new(host, configuration.certificate_validation());
        Ok(Self { host, configuration, peers, reporter })
    }

    fn on_request_headers(&self) -> Action {
        let direct_remote_address = self.configuration.direct_remote_address();
        let context = StreamContext::of_connections(&self.peers, direct_remote_address);
        let mut request = CurrentStream::request(context);
        self.decide(&mut request, &|denial| self.reporter.deny(denial, self.configuration.reply()))
    }

    fn on_tick(&self) {
        self.reporter.on_tick();
        self.peers.on_tick();
    }
}

impl<H: Host + 'static> ConnectionPlugin for EgressAllowlistPlugin<H> {
    fn on_new_connection(&self) -> Action {
        let mut connection = PassthroughConnection::new(self.host, self.configuration.direct_remote_address());
        self.decide(&mut connection, &|denial| self.reporter.deny_connection(denial))
    }
}

impl<H: Host> EgressAllowlistPlugin<H> {
    /// Lets a request or a connection go on, or passes the denial to `deny`.
    ///
    /// One instance serves both kinds, which keeps the module small.
    fn decide(&self, request: &mut dyn EgressRequest, deny: &dyn Fn(&DenialReport<'_>) -> Action) -> Action {
        let policy = self.configuration.policy();
        let decision = policy.decide(request);
        let (denial, enforced) = match &decision {
            Decision::Allow => return self.reporter.allow(),
            Decision::WouldDeny(denial) => (denial, false),
            Decision::Deny(denial) => (denial, true),
        };
        let reason = policy.explain(denial, request);
        let principal = request.peer().ok().and_then(|peer| peer.id()).map(|id| id.principal());
        deny(&DenialReport {
            enforced,
            failure: denial.is_failure(),
            details: &denial.details(),
            policy: denial.policy(),
            pattern: None,
            principal,
            reason: &reason,
        })
    }
}
