//! Compiled rules, and how a request is decided by them.

use std::cmp::Reverse;

use crate::attributes::request::Request;
use crate::attributes::wording::{MAX_RULES_EXPLAINED, TOO_MANY_STEPS};
use crate::authz::decision::Decision;
use crate::authz::engine::descriptions::Descriptions;
use crate::authz::engine::field_set::{FieldId, FieldSet};
use crate::authz::engine::lookups::{ConnectionFields, Lookups};
use crate::authz::engine::rule::DefaultAction;
use crate::authz::policy_name::{PolicyName, RuleName};
use crate::collections::sort::sort_by;
use crate::config::diagnostics::{ConfigError, ConfigErrors};
use crate::config::enforcement_mode::EnforcementMode;
use crate::config::error_code::ErrorCode;
use crate::identity::error::{AttributeError, EvalError};
use crate::matcher::clause::{Clause, Condition, MatchedValues};
use crate::matcher::readings_index::ValueList;
use crate::matcher::rule_tree::{ClauseIndex, match_distance};
use crate::matcher::value_ids::ValueId;
use crate::matcher::value_set::ValueSets;

/// The rules of one configuration, compiled for lookup.
///
/// The cost of a decision does not depend on the number of policies, rules and values. Each match field that is needed
/// is looked up once. Only clauses that list a matching value are evaluated; runs of clauses
/// that one value excludes are skipped in one step.
pub(crate) struct RuleSet {
    pub(crate) fields: FieldSet,
    pub(crate) sets: ValueSets,
    pub(crate) descriptions: Descriptions,
    /// Rules in the order in which they are reported; a clause refers to its rule by position.
    pub(crate) rules: Vec<RuleName>,
    pub(crate) deny: Group,
    pub(crate) allow: Group,
    pub(crate) audit: ClauseIndex<FieldId>,
    /// Fields of rules whose values the connection's handshake fixes.
    pub(crate) connection_fields: Vec<FieldId>,
    pub(crate) default_action: DefaultAction,
    pub(crate) mode: EnforcementMode,
}

/// The rules of one action.
pub(crate) struct Group {
    pub(crate) enforced: ClauseIndex<FieldId>,
    pub(crate) reported: ClauseIndex<FieldId>,
    /// True if there is any policy in this mode, one that never matches included.
    pub(crate) has_enforced: bool,
    pub(crate) has_reported: bool,
}

/// The reason why rules deny a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RuleDenial<'p> {
    /// DENY rule that matches.
    Matched(&'p RuleName),
    /// There are ALLOW rules, and none of them matches.
    NoAllowMatches,
    /// There is no ALLOW rule, and the default action is DENY.
    DefaultAction,
}

/// Returns the clause of an ALLOW rule that is closest to a request.
pub(crate) struct ClosestClause<'p> {
    pub(crate) clause: &'p Clause<FieldId>,
    /// The conditions that do not hold.
    pub(crate) failing: Vec<&'p Condition<FieldId>>,
}

impl RuleSet {
    /// Fails where a request would cost too much by what the rules compare, which are under a key of the configuration.
    pub(crate) fn check_excess(&self, key: &str) -> Result<(), ConfigErrors> {
        let excess = self.fields.excess();
        excess.map_or(Ok(()), |problem| {
            Err(ConfigErrors::of(ConfigError::new(key, problem).with_code(ErrorCode::LimitExceeded)))
        })
    }

    pub(crate) fn lookups<'l>(
        &'l self,
        cached: Option<&'l ConnectionFields>,
        request: &'l mut dyn Request,
    ) -> Lookups<'l> {
        Lookups::new(&self.fields, cached, request)
    }

    /// Decides a request.
    ///
    /// 1. A DENY rule matches: denied.
    /// 2. There is no ALLOW rule: the default action.
    /// 3. An ALLOW rule matches: allowed.
    /// 4. Otherwise: denied.
    ///
    /// An error is a denial. Rules in report mode take part in a second decision, made by the same steps over
    /// all rules, whose denial is only reported; in report mode of the filter every denial is.
    pub(crate) fn decide<'p, D>(&'p self, lookups: &mut Lookups<'_>) -> Decision<D>
    where
        D: From<RuleDenial<'p>> + From<EvalError>,
    {
        match self.enforced(lookups) {
            Ok(None) => match self.reported(lookups) {
                Ok(None) => Decision::Allow,
                Ok(Some(denial)) => Decision::WouldDeny(denial.into()),
                Err(error) => Decision::WouldDeny(error.into()),
            },
            Ok(Some(denial)) => self.deny_or_report(denial.into()),
            Err(error) => self.deny_or_report(error.into()),
        }
    }

    /// A denial, by the mode of the filter.
    pub(crate) fn deny_or_report<D>(&self, denial: D) -> Decision<D> {
        match self.mode {
            EnforcementMode::Report => Decision::WouldDeny(denial),
            EnforcementMode::Enforce => Decision::Deny(denial),
        }
    }

    fn enforced(&self, lookups: &mut Lookups<'_>) -> Result<Option<RuleDenial<'_>>, EvalError> {
        if let Some(rule) = self.first(&self.deny.enforced, lookups)? {
            return Ok(Some(RuleDenial::Matched(rule)));
        }
        if !self.allow.has_enforced {
            return Ok(match self.default_action {
                DefaultAction::Allow => None,
                DefaultAction::Deny => Some(RuleDenial::DefaultAction),
            });
        }
        Ok((!self.allow.enforced.any(&self.sets, lookups)?).then_some(RuleDenial::NoAllowMatches))
    }

    /// The decision over all rules, for a request that the enforced ones allow.
    fn reported(&self, lookups: &mut Lookups<'_>) -> Result<Option<RuleDenial<'_>>, EvalError> {
        if let Some(rule) = self.first(&self.deny.reported, lookups)? {
            return Ok(Some(RuleDenial::Matched(rule)));
        }
        // An enforced ALLOW has let it in already, and would still.
        if !self.allow.has_reported || self.allow.has_enforced {
            return Ok(None);
        }
        Ok((!self.allow.reported.any(&self.sets, lookups)?).then_some(RuleDenial::NoAllowMatches))
    }

    /// The first rule that matches, in the order in which rules are reported.
    pub(crate) fn first(
        &self,
        index: &ClauseIndex<FieldId>,
        lookups: &mut Lookups<'_>,
    ) -> Result<Option<&RuleName>, EvalError> {
        if index.is_empty() {
            return Ok(None);
        }
        let Some(clause) = index.first(&self.sets, lookups)? else { return Ok(None) };
        let unnamed = AttributeError { attribute: "the rule that matches", status: "it has no name" };
        self.rule(clause.rule).map(Some).ok_or(unnamed.into())
    }

    /// The header and the pattern by which a DENY rule matches, as they were written. None where it matches without a
    /// header.
    pub(crate) fn header_hit(
        &self,
        rule: &RuleName,
        request: &mut dyn Request,
    ) -> Result<Option<(String, String)>, EvalError> {
        let mut lookups = self.lookups(None, request);
        let conditions = self.matching_deny_conditions(rule, &mut lookups)?;
        for condition in conditions.iter().filter(|condition| !condition.negated) {
            let found = lookups.matched(condition.field)?;
            let hit = found.any.iter().find(|value| self.sets.meets(condition.set, &[**value])).copied();
            let index = self.fields.index(condition.field)?;
            if let Some((header, pattern)) = hit.and_then(|value| index.header_pattern(value)) {
                return Ok(Some((header.to_owned(), pattern.to_owned())));
            }
        }
        Ok(None)
    }

    /// The conditions by which a DENY rule matches a request. Empty where it does not.
    pub(crate) fn matching_deny_conditions(
        &self,
        rule: &RuleName,
        lookups: &mut Lookups<'_>,
    ) -> Result<&[Condition<FieldId>], EvalError> {
        let mut matching = None;
        for index in [&self.deny.enforced, &self.deny.reported] {
            let clause = index.first(&self.sets, lookups)?;
            matching = matching.or(clause.filter(|clause| self.rule(clause.rule) == Some(rule)));
        }
        Ok(matching.map_or(&[][..], Clause::conditions))
    }

    /// Describes the reading of the request by which a DENY rule matches; `None` if the original request matches.
    pub(crate) fn deny_reading(&self, rule: &RuleName, request: &mut dyn Request) -> Option<String> {
        if !self.may_be_read_otherwise(request) {
            return None;
        }
        let conditions = self.matching_deny_conditions(rule, &mut self.lookups(None, request)).ok()?;
        conditions.iter().find_map(|condition| self.describe_reading(condition, request))
    }

    /// Reports whether a value of the request has several readings, or was not compared to the end.
    pub(crate) fn may_be_read_otherwise(&self, request: &mut dyn Request) -> bool {
        self.fields.has_several_readings(request) || self.lookups(None, request).are_incomplete()
    }

    /// Describes the reading of the request that decides a condition, or says that its value was not compared to the end.
    pub(crate) fn describe_reading(&self, condition: &Condition<FieldId>, request: &mut dyn Request) -> Option<String> {
        let meets = |matched: &[ValueId]| self.sets.meets(condition.set, matched);
        let list = ValueList { of: condition.of, meets: &meets };
        let has_template = self.descriptions.describe(condition).contains("{*}");
        let reading = self.fields.index(condition.field).ok()?.describe_reading(request, &list, has_template);
        reading.or_else(|| {
            let mut lookups = self.lookups(None, request);
            let found = lookups.matched(condition.field).ok()?;
            found.uncompared.then(|| TOO_MANY_STEPS.to_owned())
        })
    }

    /// Returns the clause that comes closest to matching, among the first ones of an index: one that is for this operation,
    /// then the one with the most holding conditions. Of an operation that is another none count.
    pub(crate) fn closest<'p>(
        &'p self,
        index: &'p ClauseIndex<FieldId>,
        lookups: &mut Lookups<'_>,
        is_operation: impl Fn(&Condition<FieldId>) -> bool,
    ) -> Result<Option<ClosestClause<'p>>, EvalError> {
        let mut closest = None;
        for clause in index.clauses().take(MAX_RULES_EXPLAINED) {
            let mut failing = Vec::new();
            let (Reverse(holding), not) =
                match_distance(clause, &self.sets, lookups, &mut |condition| failing.push(condition))?;
            let of_operation = clause.conditions().iter().filter(|condition| is_operation(condition)).count();
            let failing_of_operation = failing.iter().filter(|condition| is_operation(condition)).count();
            let is_for_another = failing_of_operation > 0;
            let is_for_this = of_operation > 0 && !is_for_another;
            let counted = if is_for_another { holding - (of_operation - failing_of_operation) } else { holding };
            let rank = (!is_for_this, Reverse(counted), is_for_another, not);
            if closest.as_ref().is_none_or(|(least, _)| rank < *least) {
                closest = Some((rank, ClosestClause { clause, failing }));
            }
        }
        Ok(closest.map(|(_, closest)| closest))
    }

    /// The rules' clauses, of all actions and modes.
    pub(crate) fn clauses(&self) -> impl Iterator<Item = &Clause<FieldId>> {
        let (deny, allow) = (&self.deny, &self.allow);
        let indexes = [&deny.enforced, &deny.reported, &allow.enforced, &allow.reported, &self.audit];
        indexes.into_iter().flat_map(ClauseIndex::clauses)
    }

    /// The policies that can deny a request by matching, each once.
    pub(crate) fn denying_policies(&self) -> Vec<&PolicyName> {
        self.policies_of([&self.deny.enforced, &self.deny.reported].into_iter())
    }

    /// The policies that can mark a request, each once.
    pub(crate) fn auditing_policies(&self) -> Vec<&PolicyName> {
        self.policies_of([&self.audit].into_iter())
    }

    fn policies_of<'p>(&'p self, indexes: impl Iterator<Item = &'p ClauseIndex<FieldId>>) -> Vec<&'p PolicyName> {
        let mut rules: Vec<u32> = indexes.flat_map(ClauseIndex::clauses).map(|clause| clause.rule).collect();
        sort_by(&mut rules, u32::cmp);
        // In the order in which rules are reported, those of one policy stand together.
        let mut policies: Vec<_> = rules.into_iter().filter_map(|rule| self.rule(rule)).map(RuleName::policy).collect();
        policies.dedup();
        policies
    }

    pub(crate) fn rule(&self, position: u32) -> Option<&RuleName> {
        usize::try_from(position).ok().and_then(|position| self.rules.get(position))
    }
}
