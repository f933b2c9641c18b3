//! Why a request was turned away, in a person's words. Nothing here runs for a request that is let in.

use super::{CompiledPolicy, Lookups};
use crate::decision::Denial;
use crate::field::{Field, Values};
use crate::index::{Condition, SetId, failing};
use crate::request::{HostFailure, Obstacle, Request, without_query};
use crate::table::Table;

/// How many values of a list are kept in words.
pub(crate) const SHOWN: usize = 3;

/// How many ALLOW rules are looked at for the one that came closest.
pub(crate) const LOOKED_AT: usize = 256;

/// How many bytes of a request's value are printed.
const PRINTED: usize = 120;

/// What every set is compared with, and its first values, as they were written.
#[derive(Default)]
pub(super) struct Descriptions(Table<(Field, SetId), (String, Box<str>)>);

impl Descriptions {
    pub(super) fn add(&mut self, field: Field, set: SetId, values: &Values) {
        self.0.change((field, set), || (values.subject(), listed(values.sample(SHOWN))), |_| ());
    }

    /// What a condition asks for, as in `path /api/* or /health`.
    fn of(&self, condition: &Condition<Field>) -> String {
        let known = self.0.get(&(condition.field, condition.set));
        known.map_or_else(String::new, |(subject, values)| wanted(subject, condition.negated, values))
    }
}

/// A list's first values, given with how many it has.
pub(crate) fn listed((count, shown): (usize, Vec<String>)) -> Box<str> {
    let hidden = count - shown.len();
    match (hidden, shown.split_last()) {
        (0, Some((last, []))) => last.as_str().into(),
        (0, Some((last, rest))) => format!("{} or {last}", rest.join(", ")).into(),
        _ => format!("{} or one of {hidden} more", shown.join(", ")).into(),
    }
}

/// What a condition asks for, from the name of its field and its values in words.
pub(crate) fn wanted(subject: &str, negated: bool, values: &str) -> String {
    match negated {
        false => format!("{subject} {values}"),
        true => format!("{subject} other than {values}"),
    }
}

pub(super) fn explain<R: Request + ?Sized>(policy: &CompiledPolicy, denial: &Denial<'_>, request: &mut R) -> String {
    let asked = asked(request);
    match denial {
        Denial::Matched(rule) => {
            format!("DENY policy {} matches with rule {}: {asked}", rule.policy(), rule.label())
        }
        Denial::NotMutualTls(name) => {
            format!("{name} is STRICT, and the connection has no validated certificate: {asked}")
        }
        Denial::DefaultAction => format!("no ALLOW policy applies here and defaultAction is DENY: {asked}"),
        Denial::Undecidable(obstacle) => format!("{obstacle}: {asked}"),
        Denial::NoAllowMatches => match nearest(policy, request) {
            Ok(nearest) => format!("no ALLOW policy matches: {nearest}, this was {asked}"),
            Err(_) => format!("no ALLOW policy matches: {asked}"),
        },
    }
}

/// The ALLOW rule of which most conditions hold, among the first ones, and what it asks for beyond them.
fn nearest<R: Request + ?Sized>(policy: &CompiledPolicy, request: &mut R) -> Result<String, Obstacle> {
    let mut lookups: Lookups<'_, R> = policy.lookups(request);
    let group = &policy.allow;
    let index = if group.any_enforced { &group.enforced } else { &group.reported };
    let mut best = None;
    for clause in index.sample(LOOKED_AT) {
        let (holding, failing) = failing(clause, &policy.sets, &mut lookups)?;
        let rank = (holding, failing.len());
        if best.as_ref().is_none_or(|(least, _, _)| rank < *least) {
            best = Some((rank, clause.rule, failing));
        }
    }
    let Some((_, rule, failing)) = best else { return Ok("they allow nothing".to_owned()) };
    let wanted: Vec<_> = failing.into_iter().map(|condition| policy.descriptions.of(condition)).collect();
    let name = policy.rule(rule).map(|rule| rule.policy().to_string()).unwrap_or_default();
    Ok(format!("{name} wants {}", wanted.join(" and ")))
}

/// Who asked for what. What the proxy does not tell is left out: the denial stands either way.
fn asked<R: Request + ?Sized>(request: &mut R) -> String {
    let peer = request.peer().map_or_else(|failure| format!("someone ({failure})"), ToString::to_string);
    let what = asked_for(request);
    match what.is_empty() {
        true => peer,
        false => format!("{what} by {peer}"),
    }
}

/// Method and path, as far as the proxy tells them.
pub(crate) fn asked_for<R: Request + ?Sized>(request: &mut R) -> String {
    let text = |value: Result<Option<&[u8]>, HostFailure>| value.ok().flatten().map(printable);
    let method = text(request.method());
    let path = text(request.path().map(|path| path.map(without_query)));
    [method, path].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// A value from the network as one short line: no control characters, no terminal codes.
pub(crate) fn printable(value: &[u8]) -> String {
    let shown = value.get(..PRINTED).unwrap_or(value);
    let cut = if shown.len() < value.len() { "..." } else { "" };
    format!("{}{cut}", shown.escape_ascii())
}
