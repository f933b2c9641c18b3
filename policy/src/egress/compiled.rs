//! The rules of one configuration, compiled.

use crate::authz::decision::Decision;
use crate::authz::engine::field::FieldValues;
use crate::authz::engine::rule::{DefaultAction, Predicate};
use crate::authz::engine::rule_set::RuleSet;
use crate::authz::engine::rule_set_builder::RuleSetBuilder;
use crate::authz::policy_name::{PolicyName, RuleName};
use crate::config::diagnostics::ConfigErrors;
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
use crate::egress::sources::{SourceMode, Sources};
use crate::egress::tunnel::Tunnel;
use crate::identity::error::{AttributeError, EvalError};

/// The rules of one configuration, compiled for lookup.
///
/// The cost of a decision does not depend on how many rules and hosts there are: host and port are each looked up
/// once, and so is each field of a source that a rule for this destination asks for.
pub struct EgressPolicy {
    pub(crate) rules: RuleSet,
    addresses: ServiceAddresses,
    sources: Option<Sources>,
    settings: EgressSettings,
    /// True if some rules are for TLS alone.
    has_tls_rules: bool,
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
    pub(crate) fn new(
        rules: RulesCompiler,
        addresses: ServiceAddresses,
        sources: Option<Sources>,
        settings: EgressSettings,
    ) -> Self {
        let RulesCompiler { builder, names, has_tls_rules } = rules;
        // The mode of a request depends on its source.
        let compiled = builder.finish(names, DefaultAction::Deny, EnforcementMode::Enforce);
        Self { rules: compiled, addresses, sources, settings, has_tls_rules }
    }

    /// Fails where a request would cost too much by what the rules compare.
    pub(crate) fn check_excess(&self) -> Result<(), ConfigErrors> {
        self.rules.check_excess("rules")?;
        self.sources.as_ref().map_or(Ok(()), Sources::check_excess)
    }

    /// Returns the treatment of a request by its source: the mode of the first item of `sources` that matches, else that of
    /// the filter.
    pub fn source_mode(&self, request: &mut dyn EgressRequest) -> SourceMode {
        let mode = self.settings.mode.into();
        self.sources.as_ref().map_or(mode, |sources| sources.mode_of(request, mode))
    }

    /// Decides a request whose source is treated by `mode`.
    ///
    /// 1. The mode is `open`: allowed.
    /// 2. It names no destination, or more than one: denied.
    /// 3. A DENY rule matches: denied.
    /// 4. No ALLOW rule matches: denied.
    /// 5. Otherwise: allowed.
    ///
    /// An error is a denial. A DENY rule in report mode that matches what the others allow is reported; an ALLOW
    /// rule in report mode lets nothing out. Where the mode is `report` every denial is only reported.
    pub fn decide(&self, mode: SourceMode, request: &mut dyn EgressRequest) -> Decision<EgressDenial<'_>> {
        if mode == SourceMode::Open {
            return Decision::Allow;
        }
        let denial = match self.destination(request) {
            Ok(destination) => {
                let mut outbound = OutboundRequest { destination: &destination, request };
                match self.rules.decide(&mut self.rules.lookups(None, &mut outbound)) {
                    Decision::Deny(denial) => denial,
                    decision => return decision,
                }
            }
            Err(DestinationError::Denial(denial)) => denial,
            Err(DestinationError::Eval(error)) => error.into(),
        };
        by_mode(mode, denial)
    }

    /// The tunnel that a CONNECT opens, if its first bytes are to be inspected.
    ///
    /// Where the mode is `report`, a tunnel that was reported already is not.
    pub fn tunnel(
        &self,
        mode: SourceMode,
        decision: &Decision<EgressDenial<'_>>,
        request: &mut dyn EgressRequest,
    ) -> Option<Tunnel> {
        let is_reported = matches!(decision, Decision::WouldDeny(_));
        let goes_on = match decision {
            Decision::Allow => mode != SourceMode::Open,
            Decision::WouldDeny(_) => mode == SourceMode::Enforce,
            Decision::Deny(_) => false,
        };
        if !self.settings.inspects_tunnels || !goes_on {
            return None;
        }
        let destination = self.destination_if_any(request).filter(|it| it.protocol == EgressProtocol::Connect)?;
        let tls_alone = self.has_tls_rules && !self.allows_without_tls(&destination, request);
        Some(Tunnel::new(destination, tls_alone, is_reported, mode))
    }

    /// Reports whether a rule allows a tunnel whatever it carries.
    fn allows_without_tls(&self, destination: &Destination, request: &mut dyn EgressRequest) -> bool {
        let destination = Destination { protocol: EgressProtocol::ConnectWithoutTls, ..destination.clone() };
        let mut outbound = OutboundRequest { destination: &destination, request };
        let allowed = self.rules.allow.enforced.any(&self.rules.sets, &mut self.rules.lookups(None, &mut outbound));
        allowed.unwrap_or(false)
    }

    /// The most connections that one client may have open at the same time, on one worker.
    pub fn max_connections_per_client(&self) -> Option<u32> {
        self.settings.max_connections_per_client
    }

    /// Decides a fault of what the rules allow, by the treatment of its source.
    pub fn decide_fault(&self, mode: SourceMode, denial: EgressDenial<'static>) -> Decision<EgressDenial<'_>> {
        by_mode(mode, denial)
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
    /// `enforced` says that the denial is carried out, and not only reported.
    ///
    /// Made after a denial only; it may ask the proxy for more than the decision did. Of an open tunnel, which the
    /// proxy has no headers of any more, the destination is given.
    pub fn explain(
        &self,
        denial: &EgressDenial<'_>,
        enforced: bool,
        tunnel: Option<&Tunnel>,
        request: &mut dyn EgressRequest,
    ) -> String {
        let destination = self.destination_of(tunnel, request);
        let remark = match (denial, &destination) {
            (EgressDenial::NoRuleMatches, Some(destination)) => self.remark(destination),
            (EgressDenial::NoServerName, _) if !enforced => {
                Some("; it passes this filter, and Envoy closes it, which has no host to connect it to".to_owned())
            }
            _ => None,
        };
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

/// A denial of what is treated by `mode`.
fn by_mode(mode: SourceMode, denial: EgressDenial<'_>) -> Decision<EgressDenial<'_>> {
    match mode {
        SourceMode::Enforce => Decision::Deny(denial),
        SourceMode::Report => Decision::WouldDeny(denial),
        SourceMode::Open => Decision::Allow,
    }
}

/// Compiles rules one by one, in the order in which they are reported.
#[derive(Default)]
pub(crate) struct RulesCompiler {
    builder: RuleSetBuilder,
    names: Vec<RuleName>,
    has_tls_rules: bool,
}

impl RulesCompiler {
    /// Adds a rule, and keeps nothing else of it.
    pub(crate) fn add(&mut self, rule: Rule) {
        let Rule { name, action, mode, sources, entries } = rule;
        self.has_tls_rules |= entries.iter().flat_map(|entry| &entry.ports).any(|port| port.is_for_tls_alone());
        self.builder.add_policy(action, mode);
        let position = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        let destinations: Vec<Vec<Predicate>> = entries.into_iter().map(destination).collect();
        // Each source with each of the entries, one at a time.
        let conjunctions = destinations
            .iter()
            .flat_map(|destination| sources.iter().map(|source| [destination.as_slice(), source.as_slice()].concat()));
        self.builder.add_rule(position, action, mode, conjunctions);
        self.names.push(name);
    }
}

fn destination(entry: Entry) -> Vec<Predicate> {
    let hosts = entry.hosts.into_iter().map(|hosts| Predicate::among(FieldValues::shared(DestinationHost, hosts)));
    hosts.chain([Predicate::among(FieldValues::shared(DestinationPort, entry.ports))]).collect()
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
