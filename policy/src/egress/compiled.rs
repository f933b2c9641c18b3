//! The rules of one configuration, compiled.

use crate::authz::decision::Decision;
use crate::authz::engine::field::FieldValues;
use crate::authz::engine::rule::{DefaultAction, Predicate};
use crate::authz::engine::rule_set::RuleSet;
use crate::authz::engine::rule_set_builder::RuleSetBuilder;
use crate::authz::policy_name::{PolicyName, RuleName};
use crate::config::enforcement_mode::EnforcementMode;
use crate::egress::authority::{Authority, Host};
use crate::egress::decision::EgressDenial;
use crate::egress::entry::Entry;
use crate::egress::explain::explain;
use crate::egress::fields::{DestinationHost, DestinationPort};
use crate::egress::outbound::{Destination, DestinationNames, DynamicDestination, OutboundRequest};
use crate::egress::request::{EgressProtocol, EgressRequest};
use crate::egress::rule::Rule;
use crate::egress::service_addresses::{Lead, ServiceAddresses};
use crate::egress::settings::EgressSettings;
use crate::egress::tunnel::Tunnel;
use crate::identity::error::{AttributeError, EvalError};

/// The rules of one configuration, compiled for lookup.
///
/// The cost of a decision does not depend on how many rules and hosts there are: host and port are each looked up
/// once, and so is each field of a source that a rule for this destination asks for.
pub struct EgressPolicy {
    pub(crate) rules: RuleSet,
    addresses: ServiceAddresses,
    settings: EgressSettings,
}

/// The reason why a request has no destination that rules could decide.
enum DestinationError {
    Denial(EgressDenial<'static>),
    Eval(EvalError),
}

impl From<AttributeError> for DestinationError {
    fn from(error: AttributeError) -> Self {
        Self::Eval(error.into())
    }
}

impl EgressPolicy {
    pub(crate) fn new(rules: &[Rule], addresses: ServiceAddresses, settings: EgressSettings) -> Self {
        let mut builder = RuleSetBuilder::default();
        for (position, rule) in (0_u32..).zip(rules) {
            builder.add_policy(rule.action, rule.mode);
            let conjunctions = conjunctions(rule);
            builder.add_rule(position, rule.action, rule.mode, conjunctions.iter().map(Vec::as_slice));
        }
        let names = rules.iter().map(|rule| rule.name.clone()).collect();
        Self { rules: builder.finish(names, DefaultAction::Deny, settings.mode), addresses, settings }
    }

    /// Decides a request.
    ///
    /// 1. It names no destination, or more than one: denied.
    /// 2. A DENY rule matches: denied.
    /// 3. No ALLOW rule matches: denied.
    /// 4. Otherwise: allowed.
    ///
    /// An error is a denial. A DENY rule in report mode that matches what the others allow is reported; an ALLOW
    /// rule in report mode lets nothing out. In report mode of the filter every denial is only reported.
    pub fn decide(&self, request: &mut dyn EgressRequest) -> Decision<EgressDenial<'_>> {
        match self.destination(request) {
            Ok(destination) => {
                let mut outbound = OutboundRequest { destination: &destination, request };
                self.rules.decide(&mut self.rules.lookups(None, &mut outbound))
            }
            Err(DestinationError::Denial(denial)) => self.rules.deny_or_report(denial),
            Err(DestinationError::Eval(error)) => self.rules.deny_or_report(error.into()),
        }
    }

    /// The tunnel that a CONNECT opens, if its first bytes are to be inspected.
    ///
    /// In report mode of the filter a tunnel that was reported already is not.
    pub fn tunnel(&self, decision: &Decision<EgressDenial<'_>>, request: &mut dyn EgressRequest) -> Option<Tunnel> {
        let goes_on = match decision {
            Decision::Allow => true,
            Decision::WouldDeny(_) => self.rules.mode == EnforcementMode::Enforce,
            Decision::Deny(_) => false,
        };
        if !self.settings.inspects_tunnels || !goes_on {
            return None;
        }
        self.destination_if_any(request).filter(|it| it.protocol == EgressProtocol::Connect).map(Tunnel::new)
    }

    /// The most connections that one client may have open at the same time, on one worker.
    pub fn max_connections_per_client(&self) -> Option<u32> {
        self.settings.max_connections_per_client
    }

    /// Decides a fault of what the rules allow, by the mode of the filter.
    pub fn decide_fault(&self, denial: EgressDenial<'static>) -> Decision<EgressDenial<'_>> {
        self.rules.deny_or_report(denial)
    }

    /// The first ALLOW rule that matches, for tools that show why.
    pub fn matching_allow_rule(&self, request: &mut dyn EgressRequest) -> Result<Option<&RuleName>, EvalError> {
        match self.destination(request) {
            Ok(destination) => {
                let mut outbound = OutboundRequest { destination: &destination, request };
                self.rules.first(&self.rules.allow.enforced, &mut self.rules.lookups(None, &mut outbound))
            }
            Err(DestinationError::Denial(_)) => Ok(None),
            Err(DestinationError::Eval(error)) => Err(error),
        }
    }

    /// Describes a denial in one line: the request, and what would have been allowed.
    ///
    /// Made after a denial only; it may ask the proxy for more than the decision did. Of an open tunnel, which the
    /// proxy has no headers of any more, the destination is given.
    pub fn explain(
        &self,
        denial: &EgressDenial<'_>,
        tunnel: Option<&Tunnel>,
        request: &mut dyn EgressRequest,
    ) -> String {
        let destination = self.destination_of(tunnel, request);
        let unmatched = destination.as_ref().filter(|_| *denial == EgressDenial::NoRuleMatches);
        let remark = unmatched.and_then(|destination| self.remark(destination));
        explain(&self.rules, destination, denial, request) + &remark.unwrap_or_default()
    }

    /// Says of an address that leads to no host why that is so.
    fn remark(&self, destination: &Destination) -> Option<String> {
        let Destination { protocol, host: Host::Address(address), address: None, .. } = destination else {
            return None;
        };
        let lead = self.addresses.lead(*address);
        let remedy = match (&lead, protocol, self.settings.leads_to_hosts) {
            (Lead::Host(..), EgressProtocol::Connect, false) => ", and serviceEntryAddresses: host would lead there",
            (Lead::Host(..), EgressProtocol::Http, true) => ", and CONNECT alone leads there",
            (Lead::Unlisted | Lead::Host(..), ..) | (_, _, false) => return None,
            _ => "",
        };
        Some(format!("; {lead}{remedy}"))
    }

    /// Returns the host and port that the proxy has to connect a request to, if its authority is an address that leads
    /// to a host.
    pub fn dynamic_destination(&self, request: &mut dyn EgressRequest) -> Option<DynamicDestination> {
        match self.settings.leads_to_hosts {
            true => self.destination_if_any(request)?.dynamic(),
            false => None,
        }
    }

    /// Returns the destination of a request or of an open tunnel, `None` if it names none.
    pub fn destination_names(
        &self,
        tunnel: Option<&Tunnel>,
        request: &mut dyn EgressRequest,
    ) -> Option<DestinationNames> {
        self.destination_of(tunnel, request).map(|destination| destination.names())
    }

    fn destination_of(&self, tunnel: Option<&Tunnel>, request: &mut dyn EgressRequest) -> Option<Destination> {
        match tunnel {
            Some(tunnel) => Some(tunnel.destination().clone()),
            None => self.destination_if_any(request),
        }
    }

    /// Reports whether what is allowed is told like what is denied: by which rule, to which destination.
    pub fn tells_allowed(&self) -> bool {
        self.settings.tells_allowed
    }

    /// The rules that can deny a request by matching, each once: those with counters of their own.
    pub fn denying_rules(&self) -> impl Iterator<Item = &PolicyName> {
        self.rules.denying_policies().into_iter()
    }

    /// Reads the destination of a request.
    fn destination(&self, request: &mut dyn EgressRequest) -> Result<Destination, DestinationError> {
        if request.is_tls_passthrough() {
            return passthrough_destination(request);
        }
        let protocol = match request.method()? {
            Some(b"CONNECT") => EgressProtocol::Connect,
            _ => EgressProtocol::Http,
        };
        let Authority { host, port } = read_authority(request.host()?)?;
        let port = match (protocol, port) {
            (_, Some(port)) => port,
            (EgressProtocol::Connect, None) => return Err(DestinationError::Denial(EgressDenial::NoPort)),
            (protocol, None) => protocol.default_port(),
        };
        // CONNECT arrives by TLS with this proxy, so its SNI is not that of the tunnel's destination.
        if self.settings.server_name_must_match
            && protocol == EgressProtocol::Http
            && let Some(name) = request.server_name()?
            && !self.settings.permits_server_name(name, &host)
        {
            return Err(DestinationError::Denial(EgressDenial::ServerNameDiffers));
        }
        if self.settings.leads_to_hosts
            && protocol == EgressProtocol::Connect
            && let Host::Address(address) = host
            && let Lead::Host(_, host) = self.addresses.lead(address)
        {
            return Ok(Destination { protocol, host: host.clone(), port, address: Some(address) });
        }
        Ok(Destination { protocol, host, port, address: None })
    }

    pub(crate) fn destination_if_any(&self, request: &mut dyn EgressRequest) -> Option<Destination> {
        self.destination(request).ok()
    }
}

/// Each source of the rule with each of its entries.
fn conjunctions(rule: &Rule) -> Vec<Vec<Predicate>> {
    let mut conjunctions = Vec::with_capacity(rule.entries.len() * rule.sources.len());
    for Entry { hosts, ports } in &rule.entries {
        let hosts = hosts.iter().map(|hosts| Predicate::among(FieldValues::shared(DestinationHost, hosts.clone())));
        let ports = Predicate::among(FieldValues::shared(DestinationPort, ports.clone()));
        let destination: Vec<_> = hosts.chain([ports]).collect();
        conjunctions.extend(rule.sources.iter().map(|source| [destination.as_slice(), source].concat()));
    }
    conjunctions
}

/// A TLS passthrough connection goes to its SNI, on the port to which it was addressed.
fn passthrough_destination(request: &mut dyn EgressRequest) -> Result<Destination, DestinationError> {
    let invalid = |problem| DestinationError::Denial(EgressDenial::InvalidAuthority(problem));
    let host = match request.server_name()? {
        None | Some([]) => return Err(DestinationError::Denial(EgressDenial::NoServerName)),
        Some(name) => Host::parse(name).map_err(invalid)?,
    };
    let missing = AttributeError { attribute: "destination.port", status: "there is none" };
    let port = request.destination_port()?.ok_or(missing)?;
    Ok(Destination { protocol: EgressProtocol::Tls, host, port, address: None })
}

fn read_authority(authority: Option<&[u8]>) -> Result<Authority, DestinationError> {
    Authority::parse(authority.unwrap_or_default())
        .map_err(|problem| DestinationError::Denial(EgressDenial::InvalidAuthority(problem)))
}
