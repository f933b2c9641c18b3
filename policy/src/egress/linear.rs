//! `egress-allowlist` by the linear reading.

use std::cell::RefCell;

use crate::attributes::request::Request;
use crate::authz::engine::rule::Action;
use crate::authz::engine::rule::DefaultAction;
use crate::config::diagnostics::MAX_ERRORS_KEPT;
use crate::config::enforcement_mode::EnforcementMode;
use crate::egress::authority::{Authority, Host};
use crate::egress::entry::Entry;
use crate::egress::load;
use crate::egress::request::{EgressProtocol, EgressRequest};
use crate::egress::rule::Rule;
use crate::egress::settings::EgressSettings;
use crate::identity::error::AttributeError;
use crate::linear_reading::Matches;
use crate::linear_reading::answer::{LinearAnswer, LinearOutcome};
use crate::linear_reading::walk::{Truth, Walk, WalkedRule, rule_holds};

/// Configuration of `egress-allowlist` whose rules are walked one by one: the definition that
/// [`EgressPolicy`](crate::EgressPolicy) is compared with.
pub struct LinearEgressAllowlist {
    rules: Vec<Rule>,
    settings: EgressSettings,
}

impl LinearEgressAllowlist {
    /// Reads a configuration. Returns `None` for one that is refused, and for one with `sources` or
    /// `serviceEntryAddresses: host`, which it does not judge.
    pub fn parse(json: &[u8]) -> Option<Self> {
        let rules = RefCell::new(Vec::new());
        let add = |rule| rules.borrow_mut().push(rule);
        let configuration = load(json, MAX_ERRORS_KEPT, &add).ok()?;
        if configuration.sources.is_some() || configuration.settings.leads_to_hosts {
            return None;
        }
        let settings = configuration.settings;
        Some(Self { rules: rules.into_inner(), settings })
    }

    /// Decides a request or a connection that passes through.
    pub fn decide(&self, request: &mut dyn EgressRequest) -> LinearAnswer {
        let destination = self.destination(request);
        let Ok(Some((protocol, host, port))) = destination else {
            let outcome = match self.settings.mode {
                EnforcementMode::Enforce => LinearOutcome::Deny(None),
                EnforcementMode::Report => LinearOutcome::WouldDeny(None),
            };
            return LinearAnswer { outcome, audit: None, is_certain: destination.is_ok() };
        };
        let leads_there = |entry: &Entry| {
            entry.hosts.iter().all(|hosts| hosts.iter().any(|pattern| pattern.matches(&host)))
                && entry.ports.iter().any(|pattern| pattern.matches(&(protocol, port)))
        };
        let walked = |rule: &Rule| {
            let (holds, is_certain) = match rule.entries.iter().any(leads_there) {
                true => rule_holds(&rule.sources, rule.action, request),
                false => (Truth::No, true),
            };
            WalkedRule { name: rule.name.to_string(), action: rule.action, mode: rule.mode, holds, is_certain }
        };
        let rules: Vec<_> = self.rules.iter().map(walked).collect();
        // A rule that only reports lets nothing out.
        let allow_is_enforced =
            self.rules.iter().any(|rule| rule.action == Action::Allow && rule.mode == EnforcementMode::Enforce);
        Walk {
            rules,
            allow_is_enforced,
            allow_is_reported: false,
            default_action: DefaultAction::Deny,
            mode: self.settings.mode,
        }
        .answer()
    }

    /// Returns the protocol, host and port of the destination; `None` if the request names none, or several.
    fn destination(
        &self,
        request: &mut dyn EgressRequest,
    ) -> Result<Option<(EgressProtocol, Host, u16)>, AttributeError> {
        if request.is_tls_passthrough() {
            let Some(host) = request.server_name()?.and_then(|name| Host::parse(name).ok()) else { return Ok(None) };
            let missing = AttributeError { attribute: "destination.port", status: "there is none" };
            let port = request.destination_port()?.ok_or(missing)?;
            return Ok(Some((EgressProtocol::Tls, host, port)));
        }
        let is_tunnel = request.method()? == Some(b"CONNECT");
        let Some(Authority { host, port }) = request.host()?.and_then(|host| Authority::parse(host).ok()) else {
            return Ok(None);
        };
        if is_tunnel {
            return Ok(port.map(|port| (EgressProtocol::Connect, host, port)));
        }
        let names = &self.settings.gateway_names;
        if self.settings.server_name_must_match
            && let Some(name) = Request::server_name(request)?
            && !Host::parse(name).is_ok_and(|name| name == host || names.contains(&name))
        {
            return Ok(None);
        }
        Ok(Some((EgressProtocol::Http, host, port.unwrap_or(80))))
    }
}
