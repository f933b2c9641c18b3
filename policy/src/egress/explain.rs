//! Reasons of denials, in words. Nothing here runs for a request that is allowed.

use crate::attributes::wording::TOO_MANY_STEPS;
use crate::authz::engine::field_set::FieldId;
use crate::authz::engine::identity_remedy::identity_remedy;
use crate::authz::engine::lookups::Lookups;
use crate::authz::engine::rule_set::{ClosestClause, RuleSet};
use crate::config::printable::printable;
use crate::egress::authority::Host;
use crate::egress::decision::EgressDenial;
use crate::egress::fields::DestinationHost;
use crate::egress::outbound::{Destination, OutboundRequest};
use crate::egress::request::EgressRequest;
use crate::identity::error::EvalError;
use crate::matcher::clause::{Clause, Condition, MatchedValues};

/// The reason of a denial, for a request whose destination is known if it has one.
pub(crate) fn explain(
    rules: &RuleSet,
    destination: Option<Destination>,
    denial: &EgressDenial<'_>,
    request: &mut dyn EgressRequest,
) -> String {
    let described = describe_request(destination.as_ref(), request);
    match denial {
        EgressDenial::InvalidAuthority(problem) => {
            format!("no destination can be read from it, {problem}: {described}")
        }
        EgressDenial::NoServerName => {
            format!(
                "a connection that passes through has to name its server by SNI in TLS, which the listener filter \
                 tls_inspector reads: {described}"
            )
        }
        EgressDenial::NoPort => format!("CONNECT has to name a port: {described}"),
        EgressDenial::ServerNameDiffers => {
            let name = request.server_name().ok().flatten().map(printable).unwrap_or_default();
            format!(
                "the TLS connection is for SNI {name}, the request is not; list it in gatewayNames if it is a name of \
                 this gateway: {described}"
            )
        }
        EgressDenial::TooManyConnections(most) => {
            format!(
                "the client has {most} connections open, the most that maxConnectionsPerClient permits: {described}"
            )
        }
        EgressDenial::Tunnel(fault) => format!("{fault}: {described}"),
        EgressDenial::Unled(status) => {
            format!("the proxy did not take the host that the address leads to: {status}: {described}")
        }
        EgressDenial::Matched(rule) => format!("DENY rule {} matches: {described}", rule.policy()),
        EgressDenial::Undecidable(error) => format!("{error}: {described}"),
        EgressDenial::NoRuleMatches => {
            let closest = destination.map(|destination| closest_rule(rules, &destination, request, &described));
            closest.and_then(Result::ok).unwrap_or_else(|| format!("no rule allows it: {described}"))
        }
    }
}

/// Describes the closest rule and its unmet requirements.
fn closest_rule(
    rules: &RuleSet,
    destination: &Destination,
    request: &mut dyn EgressRequest,
    described: &str,
) -> Result<String, EvalError> {
    let mut outbound = OutboundRequest { destination, request };
    let mut lookups = rules.lookups(None, &mut outbound);
    if lookups.are_exhausted() {
        return Ok(format!("{TOO_MANY_STEPS}: {described}"));
    }
    if let Some(rule) = rules.first(&rules.allow.reported, &mut lookups)? {
        return Ok(format!("the rule {} would allow it, and is in report mode: {described}", rule.policy()));
    }
    if !lists_host(rules, &mut lookups)? {
        return Ok(match is_malformed_below_star(rules, destination, outbound.request)? {
            true => format!(
                "its name is malformed: it has an underscore, which no host name has (RFC 1123), and a star stands for \
                 no such label; list it in full: {described}"
            ),
            false => format!("no rule lists this host: {described}"),
        });
    }
    let is_host = |condition: &Condition<FieldId>| condition.field.rank() == DestinationHost::RANK;
    Ok(match rules.closest(&rules.allow.enforced, &mut lookups, is_host)? {
        Some(ClosestClause { clause, failing }) if !failing.iter().any(|condition| is_host(condition)) => {
            let requirements = rules.descriptions.join_requirements(failing.iter().copied());
            let name = rules.rule(clause.rule).map(|rule| rule.policy().to_string()).unwrap_or_default();
            let remedy = identity_remedy(rules, failing.into_iter(), &mut outbound);
            format!("no rule allows it: {name} wants {requirements}, this was {described}{remedy}")
        }
        _ => format!("no rule that lists this host allows it: {described}"),
    })
}

/// Reports whether an underscore keeps the host from being one that a star stands for.
fn is_malformed_below_star(
    rules: &RuleSet,
    destination: &Destination,
    request: &mut dyn EgressRequest,
) -> Result<bool, EvalError> {
    let name = destination.host.to_string();
    let Some(host) = Host::parse(name.replace('_', "x").as_bytes()).ok().filter(|_| name.contains('_')) else {
        return Ok(false);
    };
    let destination = Destination { host, ..destination.clone() };
    let mut outbound = OutboundRequest { destination: &destination, request };
    lists_host(rules, &mut rules.lookups(None, &mut outbound))
}

/// Reports whether any rule lists the host of the destination.
fn lists_host(rules: &RuleSet, lookups: &mut Lookups<'_>) -> Result<bool, EvalError> {
    let conditions = rules.clauses().next().map_or(&[][..], Clause::conditions);
    // Every rule lists hosts.
    let host = conditions.iter().find(|condition| condition.field.rank() == DestinationHost::RANK);
    match host {
        Some(condition) => Ok(!lookups.matched(condition.field)?.any.is_empty()),
        None => Ok(false),
    }
}

/// Describes the request and its peer. Attributes that the proxy does not supply are left out.
fn describe_request(destination: Option<&Destination>, request: &mut dyn EgressRequest) -> String {
    let peer = request.peer();
    let peer = peer.map_or_else(|error| format!("someone ({error})"), |peer| printable(peer.to_string().as_bytes()));
    let what = match destination {
        Some(Destination { protocol, host, port, address: None }) => format!("{protocol} {host}:{port}"),
        Some(Destination { protocol, host, port, address: Some(address) }) => {
            format!("{protocol} {host}:{port}, which the address {address} leads to,")
        }
        None if request.is_tls_passthrough() => {
            let name = request.server_name().ok().flatten().map(printable);
            name.map_or_else(|| "a connection without a server name".to_owned(), |name| format!("TLS to {name}"))
        }
        None => {
            let method = request.method().ok().flatten().map(printable).unwrap_or_default();
            let host = request.host().ok().flatten().map(printable).unwrap_or_default();
            format!("{method} to {host}")
        }
    };
    format!("{what} by {peer}")
}
