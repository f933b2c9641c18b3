//! `spec.rules` of an AuthorizationPolicy, and the `from` of other rules that have sources.

use std::cell::Cell;
use std::rc::Rc;

use crate::authz::engine::rule::{Dnf, Predicate};
use crate::authz::resources::conditions::read_conditions;
use crate::authz::resources::field_reader::{MAX_RULES, RuleFieldReader};
use crate::config::error_code::ErrorCode;
use crate::config::reader::{ConfigNode, Object};

/// The most combinations of a rule's sources and operations.
const MAX_CLAUSES: usize = 65_536;

/// The most combinations of all rules of a configuration.
const MAX_CLAUSES_IN_ALL: usize = 1_000_000;

/// The most fields that all combinations compare together. Each takes memory, and time at an update.
const MAX_CONDITIONS_IN_ALL: usize = 5_000_000;

/// Size of a rule once its sources and operations are combined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RuleSize {
    /// Combinations of one source and one operation.
    pub(crate) clauses: usize,
    /// Fields that all of them compare together.
    pub(crate) conditions: usize,
}

impl RuleSize {
    /// The size of a rule, given the number of its sources and of their fields, the same of its operations, and how many
    /// fields each combination compares beside them.
    pub(crate) fn of(sources: [usize; 2], operations: [usize; 2], shared: usize) -> Self {
        let ([sources, of_sources], [operations, of_operations]) = (sources, operations);
        let clauses = sources.saturating_mul(operations);
        let conditions = of_sources
            .saturating_mul(operations)
            .saturating_add(of_operations.saturating_mul(sources))
            .saturating_add(clauses.saturating_mul(shared));
        Self { clauses, conditions }
    }

    /// The size of two rules.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            clauses: self.clauses.saturating_add(other.clauses),
            conditions: self.conditions.saturating_add(other.conditions),
        }
    }

    /// Words for what exceeds a limit, in which operations are called `what`.
    fn excess(self, what: &str) -> Option<String> {
        let (compared, limit, remedy) = match () {
            () if self.clauses > MAX_CLAUSES_IN_ALL => {
                (String::new(), MAX_CLAUSES_IN_ALL, "sources that differ in one field count once, as do ")
            }
            () if self.conditions > MAX_CONDITIONS_IN_ALL => {
                let compared = format!(" that compare {} fields together", self.conditions);
                (compared, MAX_CONDITIONS_IN_ALL, "shorten `when`, or write fewer sources and ")
            }
            () => return None,
        };
        let clauses = self.clauses;
        Some(format!("{clauses} combinations of sources and {what}{compared}, the limit is {limit}; {remedy}{what}"))
    }
}

/// The number of alternatives, and of their fields.
pub(crate) fn size_of(alternatives: &Dnf) -> [usize; 2] {
    [alternatives.len(), alternatives.iter().map(Vec::len).sum()]
}

/// Size of the rules that were read so far.
#[derive(Default)]
pub(crate) struct RuleSizes(Cell<RuleSize>);

impl RuleSizes {
    /// Adds the size of one rule, whose operations are called `what`. Fails where they become too many, with an error for
    /// `report`; the rules after that one are reported no more.
    pub(crate) fn add(&self, size: RuleSize, what: &str, report: &dyn Fn(String)) -> Option<()> {
        let before = self.0.get();
        let all = before.and(size);
        self.0.set(all);
        let Some(excess) = all.excess(what) else { return Some(()) };
        if before.excess(what).is_none() {
            report(format!("with this rule the configuration has {excess}"));
        }
        None
    }
}

impl RuleFieldReader<'_> {
    pub(crate) fn read_rules(&self, node: &ConfigNode<'_>, sizes: &RuleSizes) -> Option<Vec<Dnf>> {
        let rules: Vec<_> = node.items_up_to(MAX_RULES)?.map(|rule| self.read_rule(&rule, sizes)).collect();
        rules.into_iter().collect()
    }

    /// Reads `from`, `to` and `when`: one of the sources and one of the operations and all conditions have to match.
    fn read_rule(&self, node: &ConfigNode<'_>, sizes: &RuleSizes) -> Option<Dnf> {
        let rule = node.object()?;
        let from = rule.optional("from");
        let to = rule.optional("to");
        let when = rule.optional("when");
        let sources = match &from {
            Some(from) if self.registry.source.is_empty() => {
                from.error_as(
                    ErrorCode::Unsupported,
                    "this filter knows no identities, use identity-authz for policies with from",
                );
                None
            }
            Some(from) => self.read_sources(from),
            None => Some(vec![Vec::new()]),
        };
        let operations = match &to {
            Some(to) => read_alternatives(to, "to", "operation", |operation| {
                self.read_fields(operation, self.registry.operation)
            }),
            None => Some(vec![Vec::new()]),
        };
        let conditions = match &when {
            Some(when) => read_conditions(when, self),
            None => Some(Vec::new()),
        };
        rule.finish();
        let (sources, operations, conditions) = (sources?, operations?, conditions?);
        if sources.len() * operations.len() > MAX_CLAUSES {
            node.error_as(
                ErrorCode::LimitExceeded,
                format!(
                    "{} sources times {} operations are more than {MAX_CLAUSES}, split the rule",
                    sources.len(),
                    operations.len()
                ),
            );
            return None;
        }
        let size = RuleSize::of(size_of(&sources), size_of(&operations), conditions.len());
        sizes.add(size, "operations", &|problem| node.error_as(ErrorCode::LimitExceeded, problem))?;
        let product = sources.iter().flat_map(|source| operations.iter().map(move |operation| (source, operation)));
        let mut conjunctions = Vec::with_capacity(sources.len() * operations.len());
        conjunctions.extend(product.map(|(source, operation)| [source.as_slice(), operation, &conditions].concat()));
        Some(conjunctions)
    }

    /// Reads a list of `{source: …}`, one of which has to match.
    pub(crate) fn read_sources(&self, node: &ConfigNode<'_>) -> Option<Dnf> {
        read_alternatives(node, "from", "source", |source| {
            let predicates = self.read_fields(source, self.registry.source);
            for (key, reason) in self.registry.rejected_source {
                source.unsupported(key, reason);
            }
            if self.registry.rejects_service_accounts_beside_principals && names_accounts_twice(source) {
                source.error_as(
                    ErrorCode::Conflict,
                    "has serviceAccounts beside principals or namespaces, which Istio refuses; use principals for both",
                );
                return None;
            }
            predicates
        })
    }
}

/// Istio rejects a source that names service accounts in two ways.
fn names_accounts_twice(source: &Object<'_>) -> bool {
    let has = |keys: &[&str]| source.all().any(|(key, _)| keys.contains(&key));
    has(&["serviceAccounts", "notServiceAccounts"])
        && has(&["principals", "notPrincipals", "namespaces", "notNamespaces"])
}

/// Reads a list of objects that hold one key each. Alternatives that differ in the values of one same field only are
/// joined: a hundred sources of one principal each are one source of a hundred.
fn read_alternatives(
    node: &ConfigNode<'_>,
    list: &str,
    key: &'static str,
    read: impl Fn(&Object<'_>) -> Option<Vec<Predicate>>,
) -> Option<Vec<Vec<Predicate>>> {
    let mut alternatives: Vec<Vec<Predicate>> = Vec::new();
    let mut complete = true;
    for item in node.non_empty_list(MAX_RULES, &format!("to mean any {key}"))? {
        let Some(object) = item.object() else {
            complete = false;
            continue;
        };
        let inner = object.required(key, &format!("an item of {list} is written {key}: {{…}}"));
        let predicates = inner.as_ref().and_then(|inner| {
            let inner_object = inner.object()?;
            if inner_object.is_empty() {
                inner
                    .error_as(ErrorCode::EmptyValue, format!("empty, add a field, or remove {list} to mean any {key}"));
                return None;
            }
            let predicates = read(&inner_object);
            inner_object.finish();
            predicates
        });
        object.finish();
        match predicates {
            Some(predicates) => add_alternative(&mut alternatives, predicates),
            None => complete = false,
        }
    }
    complete.then_some(alternatives)
}

fn add_alternative(alternatives: &mut Vec<Vec<Predicate>>, predicates: Vec<Predicate>) {
    if let [Predicate { values, negated: false }] = predicates.as_slice() {
        for other in alternatives.iter_mut() {
            if let [Predicate { values: known, negated: false }] = other.as_mut_slice()
                && Rc::get_mut(known).is_some_and(|known| known.merge_values(&**values))
            {
                return;
            }
        }
    }
    alternatives.push(predicates);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::diagnostics::Diagnostics;
    use crate::config::value::Value;

    /// Adds sizes one after the other. Returns for each whether it fits, and the errors.
    fn add(sizes: &[(usize, usize)]) -> (Vec<bool>, Option<String>) {
        let (diagnostics, rule, all) = (Diagnostics::default(), Value::Null, RuleSizes::default());
        let root = ConfigNode::root(&rule, &diagnostics);
        let add = |(clauses, conditions): &(usize, usize)| {
            let size = RuleSize { clauses: *clauses, conditions: *conditions };
            all.add(size, "operations", &|problem| root.error(problem)).is_some()
        };
        let fits = sizes.iter().map(add).collect();
        (fits, diagnostics.into_result(Some(())).err().map(|refusal| refusal.to_string()))
    }

    #[test]
    fn the_combinations_of_all_rules_have_a_limit() {
        let (fits, refusal) = add(&[(999_999, 0), (1, 0), (0, 0), (4, 0), (65_536, 0)]);
        assert_eq!(fits, [true, true, true, false, false]);
        assert_eq!(
            refusal.as_deref(),
            Some(
                "with this rule the configuration has 1000004 combinations of sources and operations, the limit is 1000000; sources that differ in one field count once, as do operations"
            )
        );
    }

    #[test]
    fn what_all_combinations_compare_has_a_limit() {
        let (fits, refusal) = add(&[(10, 4_999_990), (5, 10), (1, 3), (1, 1)]);
        assert_eq!(fits, [true, true, false, false]);
        assert_eq!(
            refusal.as_deref(),
            Some(
                "with this rule the configuration has 16 combinations of sources and operations that compare 5000003 fields together, the limit is 5000000; shorten `when`, or write fewer sources and operations"
            )
        );
    }

    #[test]
    fn each_combination_compares_a_source_an_operation_and_what_is_shared() {
        let size = RuleSize::of([2, 1 + 3], [3, 2 + 1], 4);
        assert_eq!(size, RuleSize { clauses: 6, conditions: 3 * (1 + 3) + 2 * (2 + 1) + 6 * 4 });
        assert_eq!(RuleSize::of([9; 2], [usize::MAX; 2], usize::MAX).conditions, usize::MAX);
    }
}
