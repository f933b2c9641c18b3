//! Rules that cases reached.

use std::collections::BTreeMap;

use crate::project::{Contents, Project};

/// Rule of an AuthorizationPolicy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Policy, as `NAMESPACE/NAME`.
    pub policy: String,
    /// Index in `spec.rules`.
    pub index: usize,
}

/// Rules of the policies in files, and which of them decided a case.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    rules: BTreeMap<Rule, RuleState>,
}

#[derive(Clone, Debug)]
struct RuleState {
    file: String,
    line: usize,
    is_reached: bool,
}

impl Coverage {
    /// Takes the rules of all policies; none is reached.
    pub(super) fn new(project: &Project, contents: &Contents<'_>) -> Self {
        let mut rules = BTreeMap::new();
        for resource in contents.resources.iter().filter(|one| one.kind() == Some("AuthorizationPolicy")) {
            let namespace = resource.namespace().or(contents.default_namespace.as_deref()).unwrap_or_default();
            let policy = format!("{namespace}/{}", resource.name().unwrap_or_default());
            let of_policy = resource.node.at(&["spec", "rules"]).map_or(&[][..], |rules| rules.items());
            for (index, rule) in of_policy.iter().enumerate() {
                let span = rule.first_span();
                let Some(source) = project.sources().get(span.source) else { continue };
                let line = source.position(span).line;
                let state = RuleState { file: source.name.clone(), line, is_reached: false };
                rules.insert(Rule { policy: policy.clone(), index }, state);
            }
        }
        Self { rules }
    }

    pub(super) fn reach(&mut self, rule: &Rule) {
        if let Some(state) = self.rules.get_mut(rule) {
            state.is_reached = true;
        }
    }

    /// Adds the rules of the cases of another file.
    pub fn merge(&mut self, other: &Self) {
        for (rule, state) in &other.rules {
            let known = self.rules.entry(rule.clone()).or_insert_with(|| state.clone());
            known.is_reached |= state.is_reached;
        }
    }

    /// Returns the number of rules.
    pub fn count(&self) -> usize {
        self.rules.len()
    }

    /// Returns how many rules of a hundred were reached, rounded down; a hundred if there are none.
    pub fn percent(&self) -> usize {
        let reached = self.rules.values().filter(|state| state.is_reached).count();
        (reached * 100).checked_div(self.rules.len()).unwrap_or(100)
    }

    /// Returns the rules that no case reached, with file and line.
    pub fn unreached(&self) -> impl Iterator<Item = (&Rule, &str, usize)> {
        let unreached = self.rules.iter().filter(|(_, state)| !state.is_reached);
        unreached.map(|(rule, state)| (rule, state.file.as_str(), state.line))
    }
}
