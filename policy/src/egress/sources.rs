//! `sources`: how what a source sends is treated as a whole.

use crate::authz::engine::field_set::FieldId;
use crate::authz::engine::lookups::Lookups;
use crate::authz::engine::rule::{Action, DefaultAction, Dnf};
use crate::authz::engine::rule_set::RuleSet;
use crate::authz::engine::rule_set_builder::RuleSetBuilder;
use crate::config::diagnostics::ConfigErrors;
use crate::config::enforcement_mode::EnforcementMode;
use crate::config::reader::ConfigNode;
use crate::egress::context::EgressContext;
use crate::egress::request::EgressRequest;
use crate::egress::rule::read_sources;
use crate::identity::error::EvalError;
use crate::matcher::clause::{Clause, MatchedValues};

/// The most items, and the most sources of all items together: where the proxy does not tell who asks, each is looked
/// at.
const MAX_ITEMS: usize = 512;
const MAX_SOURCES: usize = 1_000;

/// Treatment of a request by its source, from the loosest to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceMode {
    /// It passes, whatever the rules say.
    Open,
    /// It passes, and what would be denied is reported.
    Report,
    /// What the rules deny is denied.
    Enforce,
}

impl From<EnforcementMode> for SourceMode {
    fn from(mode: EnforcementMode) -> Self {
        match mode {
            EnforcementMode::Enforce => Self::Enforce,
            EnforcementMode::Report => Self::Report,
        }
    }
}

/// An item as it is written.
pub(crate) struct SourceItem {
    sources: Dnf,
    mode: SourceMode,
}

/// The items, compiled for lookup: the first that matches a request says how that is treated.
pub(crate) struct Sources {
    rules: RuleSet,
    /// The mode of each item.
    modes: Vec<SourceMode>,
}

impl SourceItem {
    pub(crate) fn mode(&self) -> SourceMode {
        self.mode
    }

    pub(crate) fn read_all(node: &ConfigNode<'_>, context: &EgressContext<'_>) -> Option<Vec<Self>> {
        let items = node.non_empty_list(MAX_ITEMS, "to mean the mode of the filter for all")?;
        let read: Vec<_> = items.map(|item| Self::read(&item, context)).collect();
        let items = read.into_iter().collect::<Option<Vec<_>>>()?;
        let count: usize = items.iter().map(|item| item.sources.len()).sum();
        if count > MAX_SOURCES {
            node.error(format!(
                "has {count} sources in all, the limit is {MAX_SOURCES}; sources that differ in one field count once"
            ));
            return None;
        }
        Some(items)
    }

    fn read(node: &ConfigNode<'_>, context: &EgressContext<'_>) -> Option<Self> {
        let object = node.object()?;
        let from = object.required("from", "say whom it is about, as in [{source: {namespaces: [shop]}}]");
        let mode = object.required("mode", "write enforce, report or open");
        let sources = from.and_then(|from| read_sources(&from, context));
        let words = [("enforce", SourceMode::Enforce), ("report", SourceMode::Report), ("open", SourceMode::Open)];
        let mode = mode.and_then(|mode| mode.enum_value(&words));
        object.finish();
        Some(Self { sources: sources?, mode: mode? })
    }
}

impl Sources {
    pub(crate) fn new(items: &[SourceItem]) -> Self {
        let mut builder = RuleSetBuilder::default();
        for (position, item) in (0_u32..).zip(items) {
            let sources = item.sources.iter().map(Vec::as_slice);
            builder.add_rule(position, Action::Allow, EnforcementMode::Enforce, sources);
        }
        let rules = builder.finish(Vec::new(), DefaultAction::Deny, EnforcementMode::Enforce);
        Self { rules, modes: items.iter().map(|item| item.mode).collect() }
    }

    /// Fails where a request would cost too much by what the items compare.
    pub(crate) fn check_excess(&self) -> Result<(), ConfigErrors> {
        self.rules.check_excess("sources")
    }

    /// Counts the items with this mode.
    pub(crate) fn count(&self, mode: SourceMode) -> usize {
        self.modes.iter().filter(|other| **other == mode).count()
    }

    /// Returns the mode of a request, `otherwise` if no item matches.
    ///
    /// Where the proxy does not tell what an item compares, the request is treated by the strictest of the items that may
    /// be its first. Where a value takes too many steps to compare, an item before the one that matches may be that, so the
    /// request is enforced.
    pub(crate) fn mode_of(&self, request: &mut dyn EgressRequest, otherwise: SourceMode) -> SourceMode {
        let mut lookups = self.rules.lookups(None, request);
        let clauses = &self.rules.allow.enforced;
        match clauses.first(&self.rules.sets, &mut lookups) {
            _ if lookups.are_exhausted() => SourceMode::Enforce,
            Ok(Some(clause)) => self.mode_at(clause.rule),
            Ok(None) => otherwise,
            Err(_) => self.strictest(&mut lookups, otherwise),
        }
    }

    fn mode_at(&self, item: u32) -> SourceMode {
        let mode = usize::try_from(item).ok().and_then(|item| self.modes.get(item));
        mode.copied().unwrap_or(SourceMode::Enforce)
    }

    /// Returns the strictest mode of the items that may be the first that matches.
    fn strictest(&self, lookups: &mut Lookups<'_>, otherwise: SourceMode) -> SourceMode {
        let mut certain: Option<u32> = None;
        let mut possible = Vec::new();
        for clause in self.rules.allow.enforced.clauses() {
            match matches(&self.rules, clause, lookups) {
                Some(true) => certain = Some(certain.map_or(clause.rule, |item| item.min(clause.rule))),
                Some(false) => {}
                None => possible.push(clause.rule),
            }
        }
        let last = certain.map_or(otherwise, |item| self.mode_at(item));
        let before = possible.into_iter().filter(|item| certain.is_none_or(|certain| *item < certain));
        before.map(|item| self.mode_at(item)).fold(last, Ord::max)
    }
}

/// Reports whether a source matches, `None` if that cannot be known.
fn matches(rules: &RuleSet, clause: &Clause<FieldId>, lookups: &mut Lookups<'_>) -> Option<bool> {
    let mut known = true;
    for condition in clause.conditions() {
        let found: Result<_, EvalError> = lookups.matched(condition.field);
        match found {
            Ok(found) if !condition.holds(&rules.sets, found) => return Some(false),
            Ok(_) => {}
            Err(_) => known = false,
        }
    }
    known.then_some(true)
}
