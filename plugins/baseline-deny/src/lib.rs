//! `baseline-deny`: is this an obviously hostile client?
//!
//! Denies clients that announce themselves as attack tools, by built-in lists of user agents and by AuthorizationPolicy
//! resources with DENY on request headers. `sallyport-policy` reads, checks and compiles the lists and policies; this
//! crate evaluates them and carries the decision out.

mod client_request;

use sallyport_policy::{BaselineDeny, CertificateValidation, ConfigErrors, Decision, Denial, DirectRemoteAddress};
use sallyport_runtime::{
    Action, Bytes, CurrentStream, DenialReport, Host, PeerCache, Plugin, ProxyHost, Reporter, StreamContext, log_loaded,
};

use crate::client_request::ClientRequest;

sallyport_runtime::filter!(BaselineDenyPlugin<ProxyHost>);

struct BaselineDenyPlugin<H> {
    configuration: BaselineDeny,
    peers: PeerCache<H>,
    reporter: Reporter<H>,
}

impl<H: Host + 'static> Plugin for BaselineDenyPlugin<H> {
    const NAME: &'static str = "baseline_deny";

    type Host = H;

    type Stream = ();

    fn configure(host: H, configuration: Bytes) -> Result<Self, ConfigErrors> {
        let configuration = BaselineDeny::parse(&configuration)?;
        log_loaded(host, Self::NAME, configuration.load_report());
        let reporter = Reporter::new(host, Self::NAME, configuration.denying_policies());
        Ok(Self { configuration, peers: PeerCache::new(host, CertificateValidation::default()), reporter })
    }

    fn on_request_headers(&self) -> Action {
        let context = StreamContext::of_connections(&self.peers, DirectRemoteAddress::default());
        let mut request = ClientRequest(CurrentStream::request(context));
        let decision = self.configuration.decide(&mut request);
        match &decision {
            Decision::Allow => self.reporter.allow(),
            Decision::WouldDeny(denial) => self.deny(denial, false, &mut request),
            Decision::Deny(denial) => self.deny(denial, true, &mut request),
        }
    }

    fn on_tick(&self) {
        self.reporter.on_tick();
    }
}

impl<H: Host> BaselineDenyPlugin<H> {
    fn deny(&self, denial: &Denial<'_>, enforced: bool, request: &mut ClientRequest<'_, H>) -> Action {
        let (reason, pattern) = self.configuration.explain(denial, request);
        let report = DenialReport {
            enforced,
            failure: denial.is_failure(),
            unmatched: false,
            details: &denial.details("baseline"),
            policy: denial.policy(),
            pattern: pattern.as_deref(),
            principal: None,
            reason: &reason,
        };
        self.reporter.deny(&report, self.configuration.reply())
    }
}
