//! The names that DNS has to answer with the address of a gateway, so that clients connect to it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::authz::engine::rule::Action;
use crate::config::diagnostics::{ConfigErrors, MAX_ERRORS_KEPT};
use crate::config::enforcement_mode::EnforcementMode;
use crate::egress::authority::Host;
use crate::egress::entry::Entry;
use crate::egress::host_pattern::DestinationPattern;
use crate::egress::rule::Rule;
use crate::egress::sources::SourceMode;
use crate::egress::{Configuration, load};

/// Name that leads to the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsName {
    /// The name in lower case without its final dot, of letters, digits, `-`, `_` and dots. Empty for the root.
    pub name: String,
    /// True if the names below are meant, at any depth, and not the name itself: a wildcard of DNS (RFC 4592, section 2).
    pub wildcard: bool,
    /// Sources of the name: policies, each with its pattern where DNS has none that is as narrow, or a setting.
    pub listed_by: Vec<String>,
}

/// Labels from the right, and whether the names below are meant. In this order a wildcard comes directly before what it
/// covers.
type Key = (Vec<String>, bool);

/// Names that configurations of `egress-allowlist` allow.
///
/// A name is covered if an ALLOW rule lists it, whoever the rule is for, on whatever port, and in report mode too, since
/// what does not arrive at the gateway is not reported. DENY rules take nothing away. Where DNS has no pattern that is as
/// narrow as the configuration's, more names are covered. Each is safe: the gateway decides, DNS only leads there. Where
/// nothing is denied, every name is covered.
///
/// ```
/// let mut names = sallyport_policy::DnsNames::default();
/// names.add(br#"{"rules": [{"name": "web", "hosts": ["API.x.com", "*.y.com", "a.y.com"]}]}"#)?;
/// let written: Vec<_> = names.fewest().into_iter().map(|name| (name.wildcard, name.name)).collect();
/// assert_eq!(written, [(false, "api.x.com".to_owned()), (true, "y.com".to_owned())]);
/// # Ok::<(), sallyport_policy::ConfigErrors>(())
/// ```
#[derive(Debug, Default)]
pub struct DnsNames(BTreeMap<Key, Vec<String>>);

impl DnsNames {
    /// Adds the names of a configuration. Fails with all diagnostics, as the filter does.
    pub fn add(&mut self, json: &[u8]) -> Result<(), ConfigErrors> {
        let rules = RefCell::new(Vec::new());
        let add = |rule| rules.borrow_mut().push(rule);
        let Configuration { settings, sources, .. } = load(json, MAX_ERRORS_KEPT, &add)?;
        if settings.mode == EnforcementMode::Report {
            self.put((Vec::new(), true), "mode: report".to_owned());
        }
        // DNS cannot tell which source asks.
        if sources.iter().flatten().any(|source| source.mode() != SourceMode::Enforce) {
            self.put((Vec::new(), true), "sources".to_owned());
        }
        for name in &settings.gateway_names {
            if let Some(covering) = Covering::of(&DestinationPattern::Exactly(name.clone())) {
                self.put(covering.key, "gatewayNames".to_owned());
            }
        }
        for rule in rules.into_inner().iter().filter(|rule: &&Rule| rule.action == Action::Allow) {
            let policy = rule.name.policy();
            for pattern in rule.entries.iter().flat_map(narrowest_list) {
                if let Some(covering) = Covering::of(pattern) {
                    let by = if covering.is_wider { format!("{policy} for {pattern}") } else { policy.to_string() };
                    self.put(covering.key, by);
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, key: Key, by: String) {
        let listed_by = self.0.entry(key).or_default();
        if !listed_by.contains(&by) {
            listed_by.push(by);
        }
    }

    /// Returns the fewest names and wildcards that cover all, in the order of their labels from the right.
    ///
    /// What a wildcard covers is left out. It would be answered alike, but a name that exists hides a wildcard above it
    /// from the names below it (RFC 4592, section 4.3).
    pub fn fewest(self) -> Vec<DnsName> {
        let mut names = Vec::new();
        let mut above: Option<Vec<String>> = None;
        for ((labels, wildcard), listed_by) in self.0 {
            let is_below = |above: &Vec<String>| labels.len() > above.len() && labels.starts_with(above);
            if above.as_ref().is_some_and(is_below) {
                continue;
            }
            let name = labels.iter().rev().map(String::as_str).collect::<Vec<_>>().join(".");
            names.push(DnsName { name, wildcard, listed_by });
            if wildcard {
                above = Some(labels);
            }
        }
        names
    }
}

/// Returns the list of an entry that covers the fewest names. A host has to be in each of them, so one is enough.
fn narrowest_list(entry: &Entry) -> &[DestinationPattern] {
    let widest = |list: &Vec<DestinationPattern>| {
        let widths = list.iter().filter_map(Covering::of);
        widths.map(|Covering { key: (labels, wildcard), .. }| if wildcard { labels.len() } else { usize::MAX }).min()
    };
    // A list of addresses covers no name at all.
    let narrowest = entry.hosts.iter().max_by_key(|list| widest(list).unwrap_or(usize::MAX));
    // Without a list every host is meant.
    narrowest.map_or(&[DestinationPattern::AnyName], Vec::as_slice)
}

/// The narrowest name or wildcard of DNS that covers a pattern.
struct Covering {
    key: Key,
    /// True if it covers names that the pattern does not match.
    is_wider: bool,
}

impl Covering {
    /// Returns `None` for an address, which nobody looks up.
    fn of(pattern: &DestinationPattern) -> Option<Self> {
        let own = |label: &str| label.to_owned();
        Some(match pattern {
            DestinationPattern::Exactly(Host::Address(_)) => return None,
            DestinationPattern::Exactly(Host::Name(name)) => {
                Self { key: (name.as_str().rsplit('.').map(own).collect(), false), is_wider: false }
            }
            DestinationPattern::AnyName => Self { key: (Vec::new(), true), is_wider: false },
            DestinationPattern::Labels { any_depth, labels, .. } => {
                let literals: Vec<_> = labels.iter().rev().map_while(Option::as_deref).map(own).collect();
                let is_wider = !any_depth || literals.len() < labels.len();
                Self { key: (literals, true), is_wider }
            }
            DestinationPattern::Glob(glob) => {
                let literals = glob.text().rsplit('.').take_while(|label| !label.contains('*')).map(own).collect();
                Self { key: (literals, true), is_wider: true }
            }
        })
    }
}

#[cfg(test)]
mod tests;
