//! The rules, compiled: what the hot path looks up.

use crate::attributes::wording::{MAX_RULES_EXPLAINED, MAX_VALUES_SHOWN, join_values};
use crate::authz::fields::{Field, Sources, SourcesBuilder};
use crate::authz::policy_name::{PolicyName, RuleName};
use crate::collections::map::OrderedMap;
use crate::collections::sort::sort_by;
use crate::config::enforcement_mode::Mode;
use crate::egress::decision::{EgressDecision, EgressDenial};
use crate::egress::destination::{Destination, Host};
use crate::egress::host_index::DestinationIndex;
use crate::egress::host_pattern::DestinationPattern;
use crate::egress::port::{PortIndex, PortPattern};
use crate::egress::request::{EgressProtocol, EgressRequest};
use crate::egress::rule::{Rule, RuleAction};
use crate::identity::error::{AttributeError, EvalError};
use crate::matcher::clause::{Clause, Condition, MatchedValues, Quantifier};
use crate::matcher::field_match::{FieldMatch, FieldMatches};
use crate::matcher::rule_tree::ClauseIndex;
use crate::matcher::value_ids::{Interner, ValueId};
use crate::matcher::value_set::{SetId, ValueSets};

/// What a rule is about, in the order of what it costs to know: the destination is known before any source is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum EgressField {
    Host,
    Port,
    Source(Field),
}

/// The rules of one configuration, compiled for lookup.
///
/// The cost of a decision does not depend on how many rules and hosts there are: host and port are each looked up
/// once, and so is each field of a source that a rule for this destination asks for.
pub struct EgressPolicy {
    hosts: DestinationIndex,
    ports: PortIndex,
    sources: Sources,
    pub(crate) sets: ValueSets,
    pub(crate) descriptions: OrderedMap<(EgressField, SetId), (String, Box<str>)>,
    /// In the order in which they are reported; a clause names its rule by its place here.
    rules: Vec<RuleName>,
    pub(crate) deny: Group,
    pub(crate) allow: Group,
    server_name_must_match: bool,
    report_only: bool,
}

/// The rules of one action.
pub(crate) struct Group {
    pub(crate) enforced: ClauseIndex<EgressField>,
    pub(crate) reported: ClauseIndex<EgressField>,
}

/// Where a request wants to go, once that is read.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) access: EgressProtocol,
    pub(crate) host: Host,
    pub(crate) port: u16,
}

/// One request's lookups, each made once.
pub(crate) struct Lookups<'l, R: ?Sized> {
    policy: &'l EgressPolicy,
    target: &'l Target,
    request: &'l mut R,
    matched: FieldMatches<EgressField>,
}

impl<R: EgressRequest + ?Sized> MatchedValues for Lookups<'_, R> {
    type Field = EgressField;
    type Error = EvalError;

    fn matched(&mut self, field: EgressField) -> Result<&FieldMatch, EvalError> {
        self.matched.of(field, |found| {
            match field {
                EgressField::Host => self.policy.hosts.lookup(&self.target.host, &mut found.any),
                EgressField::Port => self.policy.ports.lookup(self.target.access, self.target.port, &mut found.any),
                EgressField::Source(field) => return self.policy.sources.lookup(field, self.request, found),
            }
            Ok(())
        })
    }
}

/// What stops a request before any rule is asked.
enum Stop {
    Denial(EgressDenial<'static>),
    EvalError(EvalError),
}

impl From<AttributeError> for Stop {
    fn from(failure: AttributeError) -> Self {
        Self::EvalError(failure.into())
    }
}

impl EgressPolicy {
    pub(crate) fn new(rules: &[Rule], server_name_must_match: bool, report_only: bool) -> Self {
        let mut builder = Builder::new();
        for (place, rule) in (0_u32..).zip(rules) {
            builder.add(rule, place);
        }
        builder.sets.close();
        let Builder { hosts, ports, sources, sets, descriptions, groups, .. } = builder;
        let [deny_enforced, deny_reported, allow_enforced, allow_reported] =
            groups.map(|clauses| ClauseIndex::new(clauses, &sets));
        Self {
            hosts: DestinationIndex::new(hosts.into_entries()),
            ports: PortIndex::new(ports.into_entries()),
            sources: sources.finish(),
            sets,
            descriptions,
            rules: rules.iter().map(|rule| rule.name.clone()).collect(),
            deny: Group { enforced: deny_enforced, reported: deny_reported },
            allow: Group { enforced: allow_enforced, reported: allow_reported },
            server_name_must_match,
            report_only,
        }
    }

    /// Decides a request.
    ///
    /// 1. It names no destination, or more than one: denied.
    /// 2. A DENY rule matches: denied.
    /// 3. No ALLOW rule matches: denied.
    /// 4. Otherwise: allowed.
    ///
    /// What stops the decision on the way is a denial. A DENY rule in report mode that matches what the others allow is
    /// reported; an ALLOW rule in report mode lets nothing out. In report mode of the filter every denial is only
    /// reported.
    pub fn decide<R: EgressRequest + ?Sized>(&self, request: &mut R) -> EgressDecision<'_> {
        let denial = match self.target(request) {
            Ok(target) => match self.enforced(&target, request) {
                Ok(None) => {
                    return match self.first_deny(&self.deny.reported, &mut self.lookups(&target, request)) {
                        Ok(None) => EgressDecision::Allow,
                        Ok(Some(denial)) => EgressDecision::WouldDeny(denial),
                        Err(obstacle) => EgressDecision::WouldDeny(EgressDenial::Undecidable(obstacle)),
                    };
                }
                Ok(Some(denial)) => denial,
                Err(obstacle) => EgressDenial::Undecidable(obstacle),
            },
            Err(Stop::Denial(denial)) => denial,
            Err(Stop::EvalError(obstacle)) => EgressDenial::Undecidable(obstacle),
        };
        match self.report_only {
            true => EgressDecision::WouldDeny(denial),
            false => EgressDecision::Deny(denial),
        }
    }

    /// The ALLOW rule that lets a request out, the first of several; for tools that show why.
    pub fn matching_allow_rule<R: EgressRequest + ?Sized>(
        &self,
        request: &mut R,
    ) -> Result<Option<&RuleName>, EvalError> {
        match self.target(request) {
            Ok(target) => self.first(&self.allow.enforced, &mut self.lookups(&target, request)),
            Err(Stop::Denial(_)) => Ok(None),
            Err(Stop::EvalError(obstacle)) => Err(obstacle),
        }
    }

    /// One line that a person understands: what was asked for, and what would have been let out.
    ///
    /// It is made after a denial only, and may ask the proxy for more than the decision did.
    pub fn explain<R: EgressRequest + ?Sized>(&self, denial: &EgressDenial<'_>, request: &mut R) -> String {
        crate::egress::explain::explain(self, denial, request)
    }

    /// The rules that can turn a request away by matching, each once: what has counters of its own.
    pub fn denying_rules(&self) -> impl Iterator<Item = &PolicyName> {
        let mut rules: Vec<u32> = [&self.deny.enforced, &self.deny.reported]
            .iter()
            .flat_map(|index| index.sample(usize::MAX))
            .map(|clause| clause.rule)
            .collect();
        sort_by(&mut rules, u32::cmp);
        rules.dedup();
        rules.into_iter().filter_map(|rule| self.rule(rule)).map(RuleName::policy)
    }

    /// Reads where a request wants to go. Without a destination there is nothing to decide by.
    fn target<R: EgressRequest + ?Sized>(&self, request: &mut R) -> Result<Target, Stop> {
        if request.is_tls_passthrough() {
            return passing_target(request);
        }
        let access = match request.method()? {
            Some(b"CONNECT") => EgressProtocol::Connect,
            _ => EgressProtocol::Http,
        };
        let Destination { host, port } = read_authority(request.host()?)?;
        let port = match (access, port) {
            (_, Some(port)) => port,
            (EgressProtocol::Connect, None) => return Err(Stop::Denial(EgressDenial::NoPort)),
            (access, None) => access.usual_port(),
        };
        // The TLS that CONNECT comes by is with this proxy, so its server name says nothing of the tunnel's end.
        if self.server_name_must_match
            && access == EgressProtocol::Http
            && let Some(name) = request.server_name()?
            && Host::parse(name).as_ref() != Ok(&host)
        {
            return Err(Stop::Denial(EgressDenial::ServerNameDiffers));
        }
        Ok(Target { access, host, port })
    }

    pub(crate) fn target_if_any<R: EgressRequest + ?Sized>(&self, request: &mut R) -> Option<Target> {
        self.target(request).ok()
    }

    pub(crate) fn lookups<'l, R: EgressRequest + ?Sized>(
        &'l self,
        target: &'l Target,
        request: &'l mut R,
    ) -> Lookups<'l, R> {
        Lookups { policy: self, target, request, matched: FieldMatches::default() }
    }

    fn enforced<R: EgressRequest + ?Sized>(
        &self,
        target: &Target,
        request: &mut R,
    ) -> Result<Option<EgressDenial<'_>>, EvalError> {
        let mut lookups = self.lookups(target, request);
        if let Some(denial) = self.first_deny(&self.deny.enforced, &mut lookups)? {
            return Ok(Some(denial));
        }
        Ok((!self.allow.enforced.any(&self.sets, &mut lookups)?).then_some(EgressDenial::NoRuleMatches))
    }

    fn first_deny<R: EgressRequest + ?Sized>(
        &self,
        index: &ClauseIndex<EgressField>,
        lookups: &mut Lookups<'_, R>,
    ) -> Result<Option<EgressDenial<'_>>, EvalError> {
        Ok(self.first(index, lookups)?.map(EgressDenial::Matched))
    }

    pub(crate) fn first<R: EgressRequest + ?Sized>(
        &self,
        index: &ClauseIndex<EgressField>,
        lookups: &mut Lookups<'_, R>,
    ) -> Result<Option<&RuleName>, EvalError> {
        if index.is_empty() {
            return Ok(None);
        }
        let Some(clause) = index.first(&self.sets, lookups)? else { return Ok(None) };
        let unnamed = AttributeError { attribute: "the rule that matches", status: "it has no name" };
        self.rule(clause.rule).map(Some).ok_or(unnamed.into())
    }

    pub(crate) fn rule(&self, place: u32) -> Option<&RuleName> {
        usize::try_from(place).ok().and_then(|place| self.rules.get(place))
    }
}

/// A connection that passes through goes where its server name says, to the port that it was addressed to.
fn passing_target<R: EgressRequest + ?Sized>(request: &mut R) -> Result<Target, Stop> {
    let host = match request.server_name()? {
        None | Some([]) => return Err(Stop::Denial(EgressDenial::NoServerName)),
        Some(name) => Host::parse(name).map_err(|problem| Stop::Denial(EgressDenial::InvalidAuthority(problem)))?,
    };
    let port =
        request.destination_port()?.ok_or(AttributeError { attribute: "destination.port", status: "there is none" })?;
    Ok(Target { access: EgressProtocol::Tls, host, port })
}

fn read_authority(authority: Option<&[u8]>) -> Result<Destination, Stop> {
    Destination::parse(authority.unwrap_or_default())
        .map_err(|problem| Stop::Denial(EgressDenial::InvalidAuthority(problem)))
}

struct Builder {
    hosts: Interner<DestinationPattern>,
    ports: Interner<PortPattern>,
    sources: SourcesBuilder,
    sets: ValueSets,
    descriptions: OrderedMap<(EgressField, SetId), (String, Box<str>)>,
    groups: [Vec<Clause<EgressField>>; 4],
    /// Whether an explanation can look at the rule that is being added: what it does not needs no words.
    explained: bool,
}

impl Builder {
    fn new() -> Self {
        Self {
            hosts: Interner::default(),
            ports: Interner::default(),
            sources: SourcesBuilder::default(),
            sets: ValueSets::default(),
            descriptions: OrderedMap::default(),
            groups: Default::default(),
            explained: false,
        }
    }

    fn add(&mut self, rule: &Rule, place: u32) {
        let [_, _, allowed, _] = &self.groups;
        self.explained = rule.action == RuleAction::Allow && allowed.len() < MAX_RULES_EXPLAINED;
        let hosts = self.hosts.number(&rule.hosts);
        let hosts = self.condition(EgressField::Host, hosts, false, || ("host".to_owned(), first(&rule.hosts)));
        let ports = self.ports.number(&rule.ports);
        let ports = self.condition(EgressField::Port, ports, false, || ("port".to_owned(), first(&rule.ports)));
        for source in &rule.sources {
            let mut conditions = vec![hosts.clone(), ports.clone()];
            for predicate in source {
                let (field, values) = self.sources.add(&predicate.values);
                conditions.push(self.condition(EgressField::Source(field), values, predicate.negated, || {
                    (predicate.values.subject(), predicate.values.sample(MAX_VALUES_SHOWN))
                }));
            }
            let [deny_enforced, deny_reported, allow_enforced, allow_reported] = &mut self.groups;
            let group = match (rule.action, rule.mode) {
                (RuleAction::Deny, Mode::Enforce) => deny_enforced,
                (RuleAction::Deny, Mode::Report) => deny_reported,
                (RuleAction::Allow, Mode::Enforce) => allow_enforced,
                (RuleAction::Allow, Mode::Report) => allow_reported,
            };
            group.push(Clause::new(conditions, place));
        }
    }

    fn condition(
        &mut self,
        field: EgressField,
        values: Vec<ValueId>,
        negated: bool,
        shown: impl FnOnce() -> (String, (usize, Vec<String>)),
    ) -> Condition<EgressField> {
        let set = self.sets.add(values);
        let describe = || {
            let (subject, values) = shown();
            (subject, join_values(values))
        };
        if self.explained {
            self.descriptions.entry_or_insert_with((field, set), describe, |_| ());
        }
        Condition { field, negated, set, of: Quantifier::Any }
    }
}

fn first<P: ToString>(values: &[P]) -> (usize, Vec<String>) {
    (values.len(), values.iter().take(MAX_VALUES_SHOWN).map(P::to_string).collect())
}
