//! `baseline-deny`: is this an obviously hostile client?
//!
//! Turns away clients that announce themselves as attack tools, by built-in lists of user agents and by
//! AuthorizationPolicy resources with DENY on request headers. The lists and policies are read, checked and compiled by
//! `sallyport-policy`; this crate asks it and carries the answer out.

use sallyport_policy::{BaselineDeny, ConfigErrors, Decision, Denial, DirectRemoteAddress};
use sallyport_runtime::host::{self, Level};
use sallyport_runtime::{Action, Bytes, Connections, CurrentStream, DenialReport, Plugin, Reporter, StreamContext};

sallyport_runtime::filter!(BaselineDenyPlugin);

struct BaselineDenyPlugin {
    configuration: BaselineDeny,
    connections: Connections,
    reporter: Reporter,
}

impl Plugin for BaselineDenyPlugin {
    const NAME: &'static str = "baseline_deny";

    fn configure(configuration: Bytes) -> Result<Self, ConfigErrors> {
        let configuration = BaselineDeny::parse(&configuration)?;
        host::log(Level::Info, &format!("sallyport {}: {}", Self::NAME, configuration.summary()));
        let reporter = Reporter::new(Self::NAME, configuration.denying_policies());
        Ok(Self { configuration, connections: Connections::uncounted(), reporter })
    }

    fn on_request_headers(&self) -> Action {
        let context = StreamContext::of_connections(&self.connections, DirectRemoteAddress::default());
        let mut request = CurrentStream::request(context);
        match self.configuration.decide(&mut request) {
            Decision::Allow => self.reporter.allow(),
            Decision::WouldDeny(denial) => self.turn_away(&denial, false, &mut request),
            Decision::Deny(denial) => self.turn_away(&denial, true, &mut request),
        }
    }

    fn on_tick(&self) {
        self.reporter.on_tick();
    }
}

impl BaselineDenyPlugin {
    fn turn_away(&self, denial: &Denial<'_>, enforced: bool, request: &mut CurrentStream<'_>) -> Action {
        let (reason, pattern) = self.configuration.explain(denial, request);
        let answer = DenialReport {
            enforced,
            failure: denial.is_failure(),
            details: &denial.details("baseline"),
            policy: denial.policy(),
            pattern: pattern.as_deref(),
            principal: None,
            reason: &reason,
        };
        self.reporter.deny(&answer, self.configuration.reply())
    }
}
