//! Policies, compiled: what the hot path looks up, and nothing else.

pub(crate) mod connection_cache;
pub(crate) mod explain;
mod fast_path;

use std::borrow::Cow;
use std::rc::Rc;

use crate::attributes::jwt_claims::ClaimSource;
use crate::attributes::readings::path::PathReadings;
use crate::attributes::request::Request;
use crate::attributes::wording::MAX_RULES_EXPLAINED;
use crate::authz::compiled::connection_cache::ConnectionCache;
use crate::authz::compiled::explain::Descriptions;
use crate::authz::decision::{Decision, Denial};
use crate::authz::fields::header::HeaderSyntax;
use crate::authz::fields::{Field, Fields, FieldsBuilder, Values};
use crate::authz::mtls_mode::MutualTls;
use crate::authz::policy_name::{PolicyName, RuleName};
use crate::authz::resources::authorization_policy::{Action, AuthorizationPolicy, Predicate};
use crate::collections::map::OrderedMap;
use crate::collections::sort::{sort_by, sorted_indices};
use crate::config::enforcement_mode::Enforcement;
use crate::identity::error::{AttributeError, EvalError};
use crate::matcher::clause::{Clause, Condition, MatchedValues, Quantifier};
use crate::matcher::field_match::{FieldMatch, FieldMatches};
use crate::matcher::rule_tree::ClauseIndex;
use crate::matcher::value_set::{SetId, ValueSets};

/// What happens where no ALLOW policy applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DefaultAction {
    Allow,
    Deny,
}

/// The policies of one workload, compiled for lookup.
///
/// The cost of a decision does not depend on how many policies, rules and values there are: each match field that a
/// request has to be asked for is looked up once, and only rules that list one of its values are checked, and of rules
/// that exclude values those that one value excludes are passed over together.
pub struct CompiledPolicy {
    fields: Fields,
    sets: ValueSets,
    descriptions: Descriptions,
    /// In the order of their text; a clause names its rule by its place here.
    rules: Vec<RuleName>,
    names_repeat: bool,
    deny: Group,
    allow: Group,
    audit: ClauseIndex<Field>,
    mutual_tls: MutualTls,
    /// The fields that rules ask for and that a connection's handshake has fixed.
    of_the_connection: Vec<Field>,
    default_action: DefaultAction,
    report_only: bool,
}

/// The policies of one action.
struct Group {
    enforced: ClauseIndex<Field>,
    reported: ClauseIndex<Field>,
    /// Whether there is any policy, one that never matches included.
    any_enforced: bool,
    any_reported: bool,
}

/// One request's lookups, each made once.
struct Lookups<'l, R: ?Sized> {
    fields: &'l Fields,
    request: &'l mut R,
    connection: Option<&'l ConnectionCache>,
    matched: FieldMatches<Field>,
}

impl<R: Request + ?Sized> MatchedValues for Lookups<'_, R> {
    type Field = Field;
    type Error = EvalError;

    fn matched(&mut self, field: Field) -> Result<&FieldMatch, EvalError> {
        match self.connection.and_then(|connection| connection.known.of(field)) {
            Some(known) => Ok(known),
            None => self.matched.of(field, |found| self.fields.lookup(field, self.request, found)),
        }
    }
}

impl CompiledPolicy {
    /// Compiles policies, and lets go of each as soon as it is compiled: the memory of a VM never shrinks, so what it
    /// took serves the ones after it.
    pub(crate) fn new(
        policies: Vec<Cow<'_, AuthorizationPolicy>>,
        header_syntax: &'static HeaderSyntax,
        claims: ClaimSource,
        path_readings: PathReadings,
        default_action: DefaultAction,
        report_only: bool,
    ) -> Self {
        let (rules, places) = rules_in_order(&policies);
        let names_repeat = names_repeat(&policies);
        let has = |action, wanted| {
            let of = |policy: &Cow<'_, AuthorizationPolicy>| policy.action == action && enforcement(policy) == wanted;
            policies.iter().any(of)
        };
        let groups = |action| [Enforcement::Enforced, Enforcement::Reported].map(|wanted| has(action, wanted));
        let (any_deny, any_allow) = (groups(Action::Deny), groups(Action::Allow));
        let mut places = places.into_iter();
        let mut builder = Builder::new(header_syntax, claims, path_readings);
        for policy in policies {
            for (clauses, place) in policy.rules.iter().zip(&mut places) {
                builder.numbered = OrderedMap::default();
                for clause in clauses {
                    let before = builder.clauses(policy.action, enforcement(&policy)).len();
                    // What no explanation looks at needs no words.
                    let explained = policy.action == Action::Allow && before < MAX_RULES_EXPLAINED;
                    let clause = builder.clause(clause, policy.action, place, explained);
                    builder.clauses(policy.action, enforcement(&policy)).push(clause);
                }
            }
        }
        builder.sets.close();
        let sets = builder.sets;
        let [deny_enforced, deny_reported, allow_enforced, allow_reported, audit] = builder.groups;
        let group = |[any_enforced, any_reported]: [bool; 2], enforced, reported| Group {
            enforced: ClauseIndex::new(enforced, &sets),
            reported: ClauseIndex::new(reported, &sets),
            any_enforced,
            any_reported,
        };
        let deny = group(any_deny, deny_enforced, deny_reported);
        let allow = group(any_allow, allow_enforced, allow_reported);
        Self {
            fields: builder.fields.finish(),
            deny,
            allow,
            audit: ClauseIndex::new(audit, &sets),
            mutual_tls: MutualTls::default(),
            of_the_connection: builder.of_the_connection,
            sets,
            descriptions: builder.descriptions,
            rules,
            names_repeat,
            default_action,
            report_only,
        }
    }

    /// The same, for connections of which this asks for more.
    pub(crate) fn with_mutual_tls(mut self, mutual_tls: MutualTls) -> Self {
        self.mutual_tls = mutual_tls;
        self
    }

    /// Decides a request.
    ///
    /// 0. PeerAuthentication requires a validated certificate, and there is none: denied.
    /// 1. A DENY policy matches: denied.
    /// 2. There is no ALLOW policy: the default action.
    /// 3. An ALLOW policy matches: allowed.
    /// 4. Otherwise: denied.
    ///
    /// What stops the decision on the way is a denial. Policies in dry run take part in a second decision, made by the
    /// same steps over all policies, whose denial is only reported; in report mode every denial is.
    pub fn decide<R: Request + ?Sized>(&self, request: &mut R) -> Decision<'_> {
        self.decide_cached(None, request)
    }

    /// The same, where it is known what the request's connection matches.
    pub fn decide_cached<R: Request + ?Sized>(
        &self,
        connection: Option<&ConnectionCache>,
        request: &mut R,
    ) -> Decision<'_> {
        if let Some(ConnectionCache { known, ways_in }) = connection
            && ways_in.get_or_init(|| self.ways_in(known)).let_in(request)
        {
            return Decision::Allow;
        }
        let mut lookups = self.lookups(connection, request);
        match self.enforced(&mut lookups) {
            Ok(None) => match self.reported(&mut lookups) {
                Ok(None) => Decision::Allow,
                Ok(Some(denial)) => Decision::WouldDeny(denial),
                Err(obstacle) => Decision::WouldDeny(Denial::Undecidable(obstacle)),
            },
            Ok(Some(denial)) => self.deny_or_report(denial),
            Err(obstacle) => self.deny_or_report(Denial::Undecidable(obstacle)),
        }
    }

    /// The AUDIT rule that matches a request, the first of several, whatever is decided of it.
    ///
    /// Marks nothing where the proxy does not tell what it takes: an audit never stands in the way.
    pub fn matching_audit_rule<R: Request + ?Sized>(
        &self,
        connection: Option<&ConnectionCache>,
        request: &mut R,
    ) -> Option<&RuleName> {
        if self.audit.is_empty() {
            return None;
        }
        let clause = self.audit.first(&self.sets, &mut self.lookups(connection, request)).ok()?;
        clause.and_then(|clause| self.rule(clause.rule))
    }

    /// The ALLOW rule that lets a request in, the first of several; for tools that show why, since a filter needs to
    /// know only that there is one.
    pub fn matching_allow_rule<R: Request + ?Sized>(&self, request: &mut R) -> Result<Option<&RuleName>, EvalError> {
        let clause = self.allow.enforced.first(&self.sets, &mut self.lookups(None, request))?;
        Ok(clause.and_then(|clause| self.rule(clause.rule)))
    }

    /// One line that a person understands: what was asked, and what would have been let in.
    ///
    /// It is made after a denial only, and may ask the proxy for more than the decision did.
    pub fn explain<R: Request + ?Sized>(&self, denial: &Denial<'_>, request: &mut R) -> String {
        explain::explain(self, denial, request)
    }

    /// The clause by which a DENY rule matches, if it is the first rule that does.
    fn matching_deny_clause<R: Request + ?Sized>(
        &self,
        rule: &RuleName,
        request: &mut R,
    ) -> Result<Option<&Clause<Field>>, EvalError> {
        let mut lookups = self.lookups(None, request);
        let mut of_the_rule = None;
        for index in [&self.deny.enforced, &self.deny.reported] {
            let clause = index.first(&self.sets, &mut lookups)?;
            of_the_rule = of_the_rule.or(clause.filter(|clause| self.rule(clause.rule) == Some(rule)));
        }
        Ok(of_the_rule)
    }

    /// The header and the pattern by which a DENY rule matches, as they were written; none where it matches without a
    /// header.
    pub(crate) fn header_hit<R: Request + ?Sized>(
        &self,
        rule: &RuleName,
        request: &mut R,
    ) -> Result<Option<(String, String)>, EvalError> {
        let of_the_rule = self.matching_deny_clause(rule, request)?;
        let mut lookups = self.lookups(None, request);
        for condition in of_the_rule.map_or(&[][..], Clause::conditions) {
            if condition.negated {
                continue;
            }
            let found = lookups.matched(condition.field)?;
            let hit = found.any.iter().find(|value| self.sets.meets(condition.set, &[**value]));
            if let Some((header, pattern)) = hit.and_then(|value| self.fields.header_pattern(condition.field, *value)) {
                return Ok(Some((header.to_owned(), pattern.to_owned())));
            }
        }
        Ok(None)
    }

    /// Whether all requests of one connection are decided alike, and none is marked: no rule asks for what can change
    /// from one to the next.
    pub fn decides_by_connection(&self) -> bool {
        self.audit.is_empty()
            && !self.mutual_tls.depends_on_port()
            && self.clauses().flat_map(Clause::conditions).all(|condition| condition.field.kind.is_of_the_connection())
    }

    /// Whether its rules ask for more than one header, pseudo-headers among them.
    pub fn asks_for_several_headers(&self) -> bool {
        let fields = self.clauses().flat_map(Clause::conditions).map(|condition| condition.field);
        let mut headers = fields.filter(|field| field.kind.is_a_header());
        headers.next().is_some_and(|first| headers.any(|other| other != first))
    }

    fn clauses(&self) -> impl Iterator<Item = &Clause<Field>> {
        let (deny, allow) = (&self.deny, &self.allow);
        let indexes = [&deny.enforced, &deny.reported, &allow.enforced, &allow.reported, &self.audit];
        indexes.into_iter().flat_map(|index| index.sample(usize::MAX))
    }

    /// The policies that can turn a request away by matching, each once: what has counters of its own.
    pub fn denying_policies(&self) -> impl Iterator<Item = &PolicyName> {
        self.policies_of([&self.deny.enforced, &self.deny.reported].into_iter()).chain(self.mutual_tls.names())
    }

    /// The policies that can mark a request, each once: what has counters of its own.
    pub fn auditing_policies(&self) -> impl Iterator<Item = &PolicyName> {
        self.policies_of([&self.audit].into_iter())
    }

    fn policies_of<'p>(
        &'p self,
        indexes: impl Iterator<Item = &'p ClauseIndex<Field>>,
    ) -> impl Iterator<Item = &'p PolicyName> {
        let clauses = indexes.flat_map(|index| index.sample(usize::MAX));
        let mut rules: Vec<u32> = clauses.map(|clause| clause.rule).collect();
        sort_by(&mut rules, u32::cmp);
        // In the order of their text, the rules of one policy stand together.
        let mut policies: Vec<_> = rules.into_iter().filter_map(|rule| self.rule(rule)).map(RuleName::policy).collect();
        policies.dedup();
        policies.into_iter()
    }

    fn lookups<'l, R: Request + ?Sized>(
        &'l self,
        connection: Option<&'l ConnectionCache>,
        request: &'l mut R,
    ) -> Lookups<'l, R> {
        Lookups { fields: &self.fields, request, connection, matched: FieldMatches::default() }
    }

    fn deny_or_report<'p>(&'p self, denial: Denial<'p>) -> Decision<'p> {
        match self.report_only {
            true => Decision::WouldDeny(denial),
            false => Decision::Deny(denial),
        }
    }

    fn enforced<R: Request + ?Sized>(&self, lookups: &mut Lookups<'_, R>) -> Result<Option<Denial<'_>>, EvalError> {
        if lookups.connection.is_none()
            && let Some(name) = self.mutual_tls.rejects(lookups.request)?
        {
            return Ok(Some(Denial::MtlsRequired(name)));
        }
        if let Some(denial) = self.first_deny(&self.deny.enforced, lookups)? {
            return Ok(Some(denial));
        }
        if !self.allow.any_enforced {
            return Ok(match self.default_action {
                DefaultAction::Allow => None,
                DefaultAction::Deny => Some(Denial::DefaultAction),
            });
        }
        Ok((!self.allow.enforced.any(&self.sets, lookups)?).then_some(Denial::NoAllowMatches))
    }

    /// The decision over all policies, for a request that the enforced ones allow.
    fn reported<R: Request + ?Sized>(&self, lookups: &mut Lookups<'_, R>) -> Result<Option<Denial<'_>>, EvalError> {
        if self.deny.any_reported
            && let Some(denial) = self.first_deny(&self.deny.reported, lookups)?
        {
            return Ok(Some(denial));
        }
        // An enforced ALLOW has let it in already, and would still.
        if !self.allow.any_reported || self.allow.any_enforced {
            return Ok(None);
        }
        Ok((!self.allow.reported.any(&self.sets, lookups)?).then_some(Denial::NoAllowMatches))
    }

    fn first_deny<R: Request + ?Sized>(
        &self,
        index: &ClauseIndex<Field>,
        lookups: &mut Lookups<'_, R>,
    ) -> Result<Option<Denial<'_>>, EvalError> {
        if index.is_empty() {
            return Ok(None);
        }
        let Some(clause) = index.first(&self.sets, lookups)? else { return Ok(None) };
        let unnamed = AttributeError { attribute: "the rule that matches", status: "it has no name" };
        Ok(Some(self.rule(clause.rule).map_or(Denial::Undecidable(unnamed.into()), Denial::Matched)))
    }

    /// A policy's name, with its namespace where names repeat.
    fn short_name(&self, policy: &PolicyName) -> String {
        match self.names_repeat {
            true => policy.to_string(),
            false => policy.name().to_owned(),
        }
    }

    fn rule(&self, place: u32) -> Option<&RuleName> {
        usize::try_from(place).ok().and_then(|place| self.rules.get(place))
    }
}

fn enforcement(policy: &AuthorizationPolicy) -> Enforcement {
    match policy.dry_run {
        true => Enforcement::Reported,
        false => Enforcement::Enforced,
    }
}

/// Whether several policies have one name, each in a namespace of its own.
fn names_repeat(policies: &[Cow<'_, AuthorizationPolicy>]) -> bool {
    let mut seen: OrderedMap<&str, ()> = OrderedMap::default();
    policies.iter().any(|policy| seen.insert(policy.name.name(), ()).is_some())
}

/// All rules in the order of their text, and for each rule, in the order of the policies, its place among them.
///
/// The text of a rule begins with its policy in brackets, which no other policy's begins with: so policies are put in
/// order first, then the rules of each by the rest of their texts.
fn rules_in_order(policies: &[Cow<'_, AuthorizationPolicy>]) -> (Vec<RuleName>, Vec<u32>) {
    let sorted_indices =
        |texts: Vec<String>| sorted_indices(texts.len(), &|one, other| texts.get(one).cmp(&texts.get(other)));
    let mut rules = Vec::new();
    let mut places = vec![Vec::new(); policies.len()];
    for at in sorted_indices(policies.iter().map(|policy| policy.name.bracketed()).collect()) {
        let (Some(policy), Some(places)) = (policies.get(at), places.get_mut(at)) else { continue };
        let name = Rc::new(policy.name.clone());
        let rule = |number| RuleName::new(Rc::clone(&name), policy.rule_label(number));
        places.resize(policy.rules.len(), 0);
        for number in sorted_indices((0..policy.rules.len()).map(|number| rule(number).text_in_policy()).collect()) {
            if let Some(place) = places.get_mut(number) {
                *place = u32::try_from(rules.len()).unwrap_or(u32::MAX);
            }
            rules.push(rule(number));
        }
    }
    rules.shrink_to_fit();
    (rules, places.concat())
}

struct Builder {
    fields: FieldsBuilder,
    sets: ValueSets,
    descriptions: Descriptions,
    groups: [Vec<Clause<Field>>; 5],
    of_the_connection: Vec<Field>,
    /// By the lists of one rule, which stay where they are while this is built.
    numbered: OrderedMap<*const Values, (Field, SetId)>,
}

impl Builder {
    fn new(header_syntax: &'static HeaderSyntax, claims: ClaimSource, path_readings: PathReadings) -> Self {
        Self {
            fields: FieldsBuilder::new(header_syntax, claims, path_readings),
            sets: ValueSets::default(),
            descriptions: Descriptions::default(),
            groups: Default::default(),
            of_the_connection: Vec::new(),
            numbered: OrderedMap::default(),
        }
    }

    fn clause(&mut self, predicates: &[Predicate], action: Action, rule: u32, explained: bool) -> Clause<Field> {
        let mut conditions = Vec::with_capacity(predicates.len());
        for predicate in predicates {
            // Clauses of one rule share their lists; each is numbered once.
            let known = self.numbered.get(&Rc::as_ptr(&predicate.values)).copied();
            let (field, set) = match known {
                Some(known) => known,
                None => {
                    let (field, values) = self.fields.add(&predicate.values);
                    let set = self.sets.add(values);
                    if field.kind.is_of_the_connection() && !self.of_the_connection.contains(&field) {
                        self.of_the_connection.push(field);
                    }
                    if explained {
                        self.descriptions.add(field, set, &predicate.values);
                    }
                    self.numbered.insert(Rc::as_ptr(&predicate.values), (field, set));
                    (field, set)
                }
            };
            // Among several values of a header, or readings of a value, one that matches keeps a request out, and one
            // that does not keeps it from being let in.
            let of = match (action, predicate.negated) {
                (Action::Deny | Action::Audit, false) | (Action::Allow, true) => Quantifier::Any,
                (Action::Deny | Action::Audit, true) | (Action::Allow, false) => Quantifier::All,
            };
            conditions.push(Condition { field, negated: predicate.negated, set, of });
        }
        Clause::new(conditions, rule)
    }

    fn clauses(&mut self, action: Action, enforcement: Enforcement) -> &mut Vec<Clause<Field>> {
        let [deny_enforced, deny_reported, allow_enforced, allow_reported, audit] = &mut self.groups;
        match (action, enforcement) {
            (Action::Deny, Enforcement::Enforced) => deny_enforced,
            (Action::Deny, Enforcement::Reported) => deny_reported,
            (Action::Allow, Enforcement::Enforced) => allow_enforced,
            (Action::Allow, Enforcement::Reported) => allow_reported,
            (Action::Audit, _) => audit,
        }
    }
}

#[cfg(test)]
mod tests;
