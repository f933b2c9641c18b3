//! The compiler of rules.

use std::rc::Rc;

use crate::attributes::wording::MAX_RULES_EXPLAINED;
use crate::authz::engine::descriptions::Descriptions;
use crate::authz::engine::field::Phrase;
use crate::authz::engine::field_set::{FieldId, FieldSetBuilder};
use crate::authz::engine::rule::{Action, DefaultAction, Predicate};
use crate::authz::engine::rule_set::{Group, RuleSet};
use crate::authz::policy_name::RuleName;
use crate::collections::map::OrderedMap;
use crate::config::enforcement_mode::EnforcementMode;
use crate::matcher::clause::{Clause, Condition, Quantifier};
use crate::matcher::rule_tree::ClauseIndex;
use crate::matcher::value_set::{SetId, ValueSets};

/// Collects rules; [`finish`](Self::finish) compiles them.
#[derive(Default)]
pub(crate) struct RuleSetBuilder {
    fields: FieldSetBuilder,
    sets: ValueSets,
    descriptions: Descriptions,
    deny: GroupBuilder,
    allow: GroupBuilder,
    audit: Vec<Clause<FieldId>>,
    connection_fields: Vec<FieldId>,
    /// Sets by the address of a rule's lists, which do not move while the rule is added.
    interned: OrderedMap<*const (), (FieldId, SetId)>,
}

#[derive(Default)]
struct GroupBuilder {
    enforced: Vec<Clause<FieldId>>,
    reported: Vec<Clause<FieldId>>,
    has_enforced: bool,
    has_reported: bool,
}

impl GroupBuilder {
    fn finish(self, sets: &ValueSets) -> Group {
        Group {
            enforced: ClauseIndex::new(self.enforced, sets),
            reported: ClauseIndex::new(self.reported, sets),
            has_enforced: self.has_enforced,
            has_reported: self.has_reported,
        }
    }
}

impl RuleSetBuilder {
    /// Takes note of a policy, which counts as one even if it has no rules.
    pub(crate) fn add_policy(&mut self, action: Action, mode: EnforcementMode) {
        let group = match action {
            Action::Allow => &mut self.allow,
            Action::Deny | Action::Custom => &mut self.deny,
            Action::Audit => return,
        };
        match mode {
            EnforcementMode::Enforce => group.has_enforced = true,
            EnforcementMode::Report => group.has_reported = true,
        }
    }

    /// Adds the conjunctions of a rule, which is named by its position among the rules that [`finish`](Self::finish)
    /// gets.
    pub(crate) fn add_rule(
        &mut self,
        rule: u32,
        action: Action,
        mode: EnforcementMode,
        conjunctions: impl Iterator<Item: AsRef<[Predicate]>>,
    ) {
        self.interned = OrderedMap::default();
        for predicates in conjunctions {
            // An explanation looks at the first clauses alone; the others need no words.
            let explained = action == Action::Allow && self.clauses(action, mode).len() < MAX_RULES_EXPLAINED;
            let clause = self.clause(predicates.as_ref(), action, rule, explained);
            self.clauses(action, mode).push(clause);
        }
    }

    /// Makes the indexes.
    pub(crate) fn finish(
        mut self,
        rules: Vec<RuleName>,
        default_action: DefaultAction,
        mode: EnforcementMode,
    ) -> RuleSet {
        self.sets.close();
        let sets = self.sets;
        RuleSet {
            deny: self.deny.finish(&sets),
            allow: self.allow.finish(&sets),
            audit: ClauseIndex::new(self.audit, &sets),
            fields: self.fields.finish(),
            sets,
            descriptions: self.descriptions,
            rules,
            connection_fields: self.connection_fields,
            default_action,
            mode,
        }
    }

    fn clause(&mut self, predicates: &[Predicate], action: Action, rule: u32, explained: bool) -> Clause<FieldId> {
        let mut conditions = Vec::with_capacity(predicates.len());
        for predicate in predicates {
            let (field, set) = self.intern(predicate, explained);
            // If a value has several readings, one that matches is enough to deny, and all have to match to allow.
            let of = match (action, predicate.negated) {
                (Action::Deny | Action::Custom | Action::Audit, false) | (Action::Allow, true) => Quantifier::Any,
                (Action::Deny | Action::Custom | Action::Audit, true) | (Action::Allow, false) => Quantifier::All,
            };
            conditions.push(Condition { field, negated: predicate.negated, set, of });
        }
        Clause::new(conditions, rule)
    }

    /// The field and the set of a predicate's values: conjunctions of one rule share their lists, so each is interned once.
    fn intern(&mut self, predicate: &Predicate, explained: bool) -> (FieldId, SetId) {
        let address = Rc::as_ptr(&predicate.values).cast::<()>();
        if let Some(known) = self.interned.get(&address) {
            return *known;
        }
        let (field, values) = self.fields.add(&*predicate.values);
        let set = self.sets.add(values);
        let properties = self.fields.properties(field);
        let connection_scoped = properties.is_some_and(|properties| properties.connection_scoped);
        if connection_scoped && !self.connection_fields.contains(&field) {
            self.connection_fields.push(field);
        }
        if explained {
            let phrase = properties.map_or(Phrase::Named, |properties| properties.phrase);
            self.descriptions.add(field, set, phrase, &*predicate.values);
        }
        self.interned.insert(address, (field, set));
        (field, set)
    }

    fn clauses(&mut self, action: Action, mode: EnforcementMode) -> &mut Vec<Clause<FieldId>> {
        match (action, mode) {
            (Action::Deny | Action::Custom, EnforcementMode::Enforce) => &mut self.deny.enforced,
            (Action::Deny | Action::Custom, EnforcementMode::Report) => &mut self.deny.reported,
            (Action::Allow, EnforcementMode::Enforce) => &mut self.allow.enforced,
            (Action::Allow, EnforcementMode::Report) => &mut self.allow.reported,
            (Action::Audit, _) => &mut self.audit,
        }
    }
}
