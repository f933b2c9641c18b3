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

/// The combinations of sources and operations of the rules that were read so far.
#[derive(Default)]
pub(crate) struct ClauseCount(Cell<usize>);

impl ClauseCount {
    /// Adds those of one rule, sources and each of `what`. Fails where they become too many, with an error for `report`;
    /// the rules after that one are reported no more.
    pub(crate) fn add(&self, clauses: usize, what: &str, report: &dyn Fn(String)) -> Option<()> {
        let before = self.0.get();
        let count = before.saturating_add(clauses);
        self.0.set(count);
        if count <= MAX_CLAUSES_IN_ALL {
            return Some(());
        }
        if before <= MAX_CLAUSES_IN_ALL {
            report(format!(
                "with this rule the configuration has {count} combinations of sources and {what}, the limit is {MAX_CLAUSES_IN_ALL}; sources that differ in one field count once, as do {what}"
            ));
        }
        None
    }
}

impl RuleFieldReader<'_> {
    pub(crate) fn read_rules(&self, node: &ConfigNode<'_>, count: &ClauseCount) -> Option<Vec<Dnf>> {
        let rules: Vec<_> = node.items_up_to(MAX_RULES)?.map(|rule| self.read_rule(&rule, count)).collect();
        rules.into_iter().collect()
    }

    /// Reads `from`, `to` and `when`: one of the sources and one of the operations and all conditions have to match.
    fn read_rule(&self, node: &ConfigNode<'_>, count: &ClauseCount) -> Option<Dnf> {
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
        count.add(sources.len() * operations.len(), "operations", &|problem| {
            node.error_as(ErrorCode::LimitExceeded, problem)
        })?;
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

    #[test]
    fn the_combinations_of_all_rules_have_a_limit() {
        let (diagnostics, rule, count) = (Diagnostics::default(), Value::Null, ClauseCount::default());
        let root = ConfigNode::root(&rule, &diagnostics);
        let add = |clauses| count.add(clauses, "operations", &|problem| root.error(problem));
        assert_eq!([add(999_999), add(1), add(0)], [Some(()); 3]);
        assert_eq!([add(4), add(65_536)], [None; 2]);
        let refusal = diagnostics.into_result(Some(())).err().map(|refusal| refusal.to_string());
        assert_eq!(
            refusal.as_deref(),
            Some(
                "with this rule the configuration has 1000004 combinations of sources and operations, the limit is 1000000; sources that differ in one field count once, as do operations"
            )
        );
    }
}
