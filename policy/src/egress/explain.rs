//! Why a request does not leave, in a person's words. Nothing here runs for one that does.

use crate::attributes::wording::{MAX_RULES_EXPLAINED, wanted};
use crate::config::printable::printable;
use crate::egress::compiled::{EgressField, EgressPolicy, Target};
use crate::egress::decision::EgressDenial;
use crate::egress::request::EgressRequest;
use crate::identity::error::EvalError;
use crate::matcher::clause::{Condition, MatchedValues};
use crate::matcher::rule_tree::match_distance;

pub(crate) fn explain<R: EgressRequest + ?Sized>(
    policy: &EgressPolicy,
    denial: &EgressDenial<'_>,
    request: &mut R,
) -> String {
    let target = policy.target_if_any(request);
    let asked = asked(target.as_ref(), request);
    match denial {
        EgressDenial::InvalidAuthority(problem) => format!("no destination can be read from it, {problem}: {asked}"),
        EgressDenial::NoServerName => {
            format!("a connection that passes through has to name its server by SNI in TLS: {asked}")
        }
        EgressDenial::NoPort => format!("CONNECT has to name a port: {asked}"),
        EgressDenial::ServerNameDiffers => {
            let name = request.server_name().ok().flatten().map(printable).unwrap_or_default();
            format!("the TLS connection is for SNI {name}, the request is not: {asked}")
        }
        EgressDenial::Matched(rule) => format!("DENY rule {} matches: {asked}", rule.policy()),
        EgressDenial::Undecidable(obstacle) => format!("{obstacle}: {asked}"),
        EgressDenial::NoRuleMatches => match target {
            Some(target) => {
                unmatched(policy, &target, request, &asked).unwrap_or_else(|_| format!("no rule allows it: {asked}"))
            }
            None => format!("no rule allows it: {asked}"),
        },
    }
}

/// What keeps the rule that comes closest from allowing this.
fn unmatched<R: EgressRequest + ?Sized>(
    policy: &EgressPolicy,
    target: &Target,
    request: &mut R,
    asked: &str,
) -> Result<String, EvalError> {
    let mut lookups = policy.lookups(target, request);
    if let Some(rule) = policy.first(&policy.allow.reported, &mut lookups)? {
        return Ok(format!("the rule {} would allow it, and is in report mode: {asked}", rule.policy()));
    }
    if lookups.matched(EgressField::Host)?.any.is_empty() {
        return Ok(format!("no rule lists this host: {asked}"));
    }
    let mut best = None;
    for clause in policy.allow.enforced.sample(MAX_RULES_EXPLAINED) {
        let mut of_host = false;
        let near = match_distance(clause, &policy.sets, &mut lookups, &mut |condition| {
            of_host |= condition.field == EgressField::Host;
        })?;
        let rank = (of_host, near);
        if best.is_none_or(|(least, _)| rank < least) {
            best = Some((rank, clause));
        }
    }
    Ok(match best {
        Some(((false, _), clause)) => {
            let mut wanted = Vec::new();
            match_distance(clause, &policy.sets, &mut lookups, &mut |condition| {
                wanted.push(describe(policy, condition))
            })?;
            let name = policy.rule(clause.rule).map(|rule| rule.policy().to_string()).unwrap_or_default();
            format!("no rule allows it: {name} wants {}, this was {asked}", wanted.join(" and "))
        }
        _ => format!("no rule that lists this host allows it: {asked}"),
    })
}

fn describe(policy: &EgressPolicy, condition: &Condition<EgressField>) -> String {
    let known = policy.descriptions.get(&(condition.field, condition.set));
    known.map_or_else(String::new, |(subject, values)| wanted(subject, condition.negated, values))
}

/// Who asked for what. What the proxy does not tell is left out: the denial stands either way.
fn asked<R: EgressRequest + ?Sized>(target: Option<&Target>, request: &mut R) -> String {
    let peer = request
        .peer()
        .map_or_else(|failure| format!("someone ({failure})"), |peer| printable(peer.to_string().as_bytes()));
    let what = match target {
        Some(Target { access, host, port }) => format!("{access} {host}:{port}"),
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
