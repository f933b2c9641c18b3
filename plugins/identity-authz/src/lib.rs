//! `identity-authz`: may this workload, proven by its certificate, do this here?
//!
//! Reads AuthorizationPolicy and PeerAuthentication resources and decides each HTTP request, or as a network filter each
//! connection at its first bytes, by the SPIFFE ID of the peer. With `stage: custom` it marks requests for the
//! authorizers of CUSTOM policies instead. `sallyport-policy` reads, checks and compiles the
//! policies; this crate evaluates them and carries the decision out.

use std::cell::Cell;

use sallyport_policy::{
    CompiledPolicy, ConfigErrors, CustomPolicies, Decision, Evaluation, IdentityAuthz, MARK_KEY, Request,
};
use sallyport_runtime::{
    Action, Bytes, BytesPlugin, CurrentStream, DenialReport, Host, Level, Plugin, PolicyCache, ProxyHost, Reporter,
    Side, StreamContext, log_lines, log_loaded,
};

sallyport_runtime::filter!(IdentityAuthzPlugin<ProxyHost>, bytes);

struct IdentityAuthzPlugin<H> {
    host: H,
    configuration: IdentityAuthz,
    cache: PolicyCache<H>,
    reporter: Reporter<H>,
    /// True if the warnings about policies at layer 4 were logged.
    l4_warned: Cell<bool>,
}

impl<H: Host + 'static> Plugin for IdentityAuthzPlugin<H> {
    const NAME: &'static str = "identity_authz";

    type Host = H;

    type Stream = ();

    fn configure(host: H, configuration: Bytes) -> Result<Self, ConfigErrors> {
        let configuration = IdentityAuthz::parse(configuration)?;
        log_loaded(host, Self::NAME, configuration.load_report());
        let policy = configuration.policy();
        let mut reporter = Reporter::new(host, Self::NAME, policy.denying_policies()).with_unmatched();
        if let Some(custom) = configuration.marking() {
            reporter = reporter.with_marks(custom.providers());
        }
        Ok(Self {
            host,
            reporter: reporter.with_audits(policy.auditing_policies()),
            cache: PolicyCache::new(host, Self::NAME, &configuration),
            l4_warned: Cell::new(false),
            configuration,
        })
    }

    fn on_request_headers(&self) -> Action {
        if self.cache.allows_connection() {
            return self.reporter.allow();
        }
        let policy = self.configuration.policy();
        let mut request = CurrentStream::request(self.context());
        if let Some(custom) = self.configuration.marking() {
            return self.mark(custom, &mut request);
        }
        let evaluation = self.cache.evaluate(policy, &mut request);
        let deny = |denial: &DenialReport<'_>| self.reporter.deny(denial, self.configuration.reply());
        self.carry_out(policy, &evaluation, &mut request, &deny)
    }

    fn on_tick(&self) {
        self.reporter.on_tick();
        self.cache.on_tick();
    }
}

impl<H: Host + 'static> BytesPlugin for IdentityAuthzPlugin<H> {
    fn on_first_bytes(&self, from: Side, is_probe: bool) -> Action {
        // The first connection is what tells that this is a network filter.
        if !self.l4_warned.replace(true) {
            log_lines(self.host, Self::NAME, Level::Warn, self.configuration.connection_warnings());
        }
        let policy = self.configuration.connection_policy();
        let mut connection = CurrentStream::first_bytes(self.context(), from);
        let evaluation = self.cache.evaluate_connection(policy, &mut connection);
        let deny = |denial: &DenialReport<'_>| match (is_probe, denial.enforced) {
            (false, _) => self.reporter.deny_connection(denial),
            (true, true) => Action::Pause,
            (true, false) => Action::Continue,
        };
        self.carry_out(policy, &evaluation, &mut connection, &deny)
    }
}

impl<H: Host> IdentityAuthzPlugin<H> {
    fn context(&self) -> StreamContext<'_, H> {
        StreamContext {
            peers: self.cache.peers(),
            identity: self.configuration.identity_source(),
            direct_remote_address: self.configuration.direct_remote_address(),
            prefetch_headers: self.cache.prefetch_headers(),
        }
    }

    /// Marks a request for the authorizers that it needs, or denies it if the proxy does not keep the mark.
    fn mark(&self, custom: &CustomPolicies, request: &mut dyn Request) -> Action {
        let required = custom.required(request);
        let error = required.error.map(|error| error.to_string());
        match self.host.set_filter_state(MARK_KEY, required.mark().as_bytes()) {
            Ok(()) => self.reporter.mark(&required.providers, error.as_deref()),
            Err(error) => {
                let reason = format!("the proxy did not keep the mark for ext_authz: {}", error.status());
                let denial = DenialReport {
                    enforced: true,
                    failure: true,
                    unmatched: false,
                    details: "rbac_access_denied_matched_policy[none]",
                    policy: None,
                    pattern: None,
                    principal: None,
                    reason: &reason,
                };
                self.reporter.deny(&denial, self.configuration.reply())
            }
        }
    }

    /// Lets a request or a connection go on, or passes the denial to `deny`.
    ///
    /// One instance serves both kinds, which keeps the module small.
    fn carry_out(
        &self,
        policy: &CompiledPolicy,
        evaluation: &Evaluation<'_>,
        request: &mut dyn Request,
        deny: &dyn Fn(&DenialReport<'_>) -> Action,
    ) -> Action {
        if let Some(rule) = evaluation.audit {
            self.reporter.audit(rule.policy());
        }
        let (denial, enforced) = match &evaluation.decision {
            Decision::Allow => {
                if let Some(rule) = evaluation.allowed_by {
                    self.reporter.set_filter_state("policy", &rule.policy().to_string());
                }
                return self.reporter.allow();
            }
            Decision::WouldDeny(denial) => (denial, false),
            Decision::Deny(denial) => (denial, true),
        };
        let reason = policy.explain(denial, request);
        let principal = request.peer().ok().and_then(|peer| peer.id()).map(|id| id.principal());
        deny(&DenialReport {
            enforced,
            failure: denial.is_failure(),
            unmatched: denial.is_unmatched(),
            details: &denial.details("rbac"),
            policy: denial.policy(),
            pattern: None,
            principal,
            reason: &reason,
        })
    }
}
