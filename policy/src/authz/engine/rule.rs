//! Rules as a filter's resources are read into, before they are compiled.

use std::rc::Rc;

use crate::authz::engine::field::AnyFieldValues;

/// The action of a policy or a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Allow,
    Deny,
    /// Marks a request that matches, and decides nothing.
    Audit,
    /// Asks an authorizer about a request that matches. It matches as a DENY does.
    Custom,
}

/// The answer where no ALLOW policy applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DefaultAction {
    Allow,
    Deny,
}

/// Match field with its values: the request's value is among them, or with `negated` it is not.
#[derive(Clone, Debug)]
pub(crate) struct Predicate {
    /// Shared by all conjunctions of a rule.
    pub(crate) values: Rc<dyn AnyFieldValues>,
    pub(crate) negated: bool,
}

impl Predicate {
    /// The request's value is among these.
    pub(crate) fn among(values: Rc<dyn AnyFieldValues>) -> Self {
        Self { values, negated: false }
    }
}

/// A rule in disjunctive normal form: it matches where all predicates of one conjunction hold.
pub(crate) type Dnf = Vec<Vec<Predicate>>;
