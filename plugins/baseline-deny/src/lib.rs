//! `baseline-deny`: is this an obviously hostile client?
//!
//! Turns away clients that announce themselves as attack tools, by built-in lists of user agents and by
//! AuthorizationPolicy resources with DENY on request headers. The lists and policies are read, checked and compiled by
//! `sallyport-policy`; this crate asks it and carries the answer out.

use sallyport_policy::{BaselineDeny, Decision, Denial, Refusal};
use sallyport_proxy::host::{self, Level};
use sallyport_proxy::{Action, Answer, Bytes, Connections, CurrentStream, Plugin, Surroundings, Verdicts};

sallyport_proxy::filter!(BaselineDenyPlugin);

struct BaselineDenyPlugin {
    configuration: BaselineDeny,
    connections: Connections,
    verdicts: Verdicts,
}

impl Plugin for BaselineDenyPlugin {
    const NAME: &'static str = "baseline_deny";

    fn configure(configuration: Bytes) -> Result<Self, Refusal> {
        let configuration = BaselineDeny::parse(&configuration)?;
        host::log(Level::Info, &format!("sallyport {}: {}", Self::NAME, configuration.summary()));
        let verdicts = Verdicts::new(Self::NAME, configuration.denying_policies());
        Ok(Self { configuration, connections: Connections::uncounted(), verdicts })
    }

    fn on_request_headers(&self) -> Action {
        let mut request = CurrentStream::request(Surroundings::of_connections(&self.connections));
        match self.configuration.decide(&mut request) {
            Decision::Allow => self.verdicts.allow(),
            Decision::WouldDeny(denial) => self.turn_away(&denial, false, &mut request),
            Decision::Deny(denial) => self.turn_away(&denial, true, &mut request),
        }
    }

    fn on_tick(&self) {
        self.verdicts.on_tick();
    }
}

impl BaselineDenyPlugin {
    fn turn_away(&self, denial: &Denial<'_>, enforced: bool, request: &mut CurrentStream<'_>) -> Action {
        let (reason, pattern) = self.configuration.explain(denial, request);
        let answer = Answer {
            enforced,
            failure: denial.is_failure(),
            details: &denial.details("baseline"),
            policy: denial.policy(),
            pattern: pattern.as_deref(),
            principal: None,
            reason: &reason,
        };
        self.verdicts.deny(&answer, self.configuration.reply())
    }
}
