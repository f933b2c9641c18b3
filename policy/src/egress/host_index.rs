//! Index of the host entries that a destination matches.

use std::net::IpAddr;

use smallvec::SmallVec;

use crate::collections::map::OrderedMap;
use crate::egress::authority::Host;
use crate::egress::host_pattern::DestinationPattern;
use crate::matcher::value_ids::{Matched, ValueId};

/// Host entries with their ids: hash maps for names, addresses and `*.` suffixes, and a trie of labels from the right for
/// entries with wildcard labels.
#[derive(Default)]
pub(crate) struct DestinationIndex {
    names: OrderedMap<Box<str>, ValueId>,
    addresses: OrderedMap<IpAddr, ValueId>,
    any_depth: OrderedMap<Box<str>, ValueId>,
    /// Largest number of labels of an entry in `any_depth`: longer suffixes of a name need no lookup.
    longest: usize,
    tree: Vec<Node>,
}

#[derive(Default)]
struct Node {
    literal: OrderedMap<Box<str>, usize>,
    wildcard: Option<usize>,
    ends: Option<ValueId>,
    any_depth: Option<ValueId>,
}

impl DestinationIndex {
    pub(crate) fn new(patterns: impl Iterator<Item = (DestinationPattern, ValueId)>) -> Self {
        let mut index = Self::default();
        for (pattern, id) in patterns {
            match pattern {
                DestinationPattern::Exactly(Host::Address(address)) => {
                    index.addresses.insert(address, id);
                }
                DestinationPattern::Exactly(Host::Name(name)) => {
                    index.names.insert(name.as_str().into(), id);
                }
                DestinationPattern::Labels { any_depth, labels } => {
                    match labels.iter().map(Option::as_deref).collect::<Option<Vec<_>>>() {
                        Some(literals) if any_depth => {
                            index.longest = index.longest.max(literals.len());
                            index.any_depth.insert(literals.join(".").into(), id);
                        }
                        _ => index.insert(any_depth, &labels, id),
                    }
                }
            }
        }
        index
    }

    /// Adds the entries that match `host`.
    pub(crate) fn lookup(&self, host: &Host, matched: &mut Matched) {
        let name = match host {
            Host::Address(address) => return matched.extend(self.addresses.get(address).copied()),
            Host::Name(name) => name.as_str(),
        };
        matched.extend(self.names.get(name).copied());
        if !self.any_depth.is_empty() {
            self.lookup_suffixes(name, matched);
        }
        if !self.tree.is_empty() {
            self.lookup_tree(name, matched);
        }
    }

    /// Looks up the suffixes of a name that begin after a dot, the shortest first.
    fn lookup_suffixes(&self, name: &str, matched: &mut Matched) {
        for (at, _) in name.rmatch_indices('.').take(self.longest) {
            let (leading, suffix) = (name.get(..at).unwrap_or_default(), name.get(at + 1..).unwrap_or_default());
            if !leading.contains('_') {
                matched.extend(self.any_depth.get(suffix).copied());
            }
        }
    }

    fn insert(&mut self, any_depth: bool, labels: &[Option<Box<str>>], id: ValueId) {
        if self.tree.is_empty() {
            self.tree.push(Node::default());
        }
        let mut at = 0;
        for label in labels.iter().rev() {
            let next = self.tree.len();
            let Some(node) = self.tree.get_mut(at) else { return };
            at = match label {
                Some(label) => node.literal.entry_or_insert_with(label.clone(), || next, |known| *known),
                None => *node.wildcard.get_or_insert(next),
            };
            if at == next {
                self.tree.push(Node::default());
            }
        }
        if let Some(node) = self.tree.get_mut(at) {
            *(if any_depth { &mut node.any_depth } else { &mut node.ends }) = Some(id);
        }
    }

    /// Descends the trie, into both the literal and the wildcard child of a node.
    fn lookup_tree(&self, name: &str, matched: &mut Matched) {
        let mut pending: SmallVec<[(usize, Option<&str>); 8]> = SmallVec::new();
        pending.push((0, Some(name)));
        while let Some((at, rest)) = pending.pop() {
            let Some(node) = self.tree.get(at) else { continue };
            let Some(rest) = rest else {
                matched.extend(node.ends);
                continue;
            };
            if !rest.contains('_') {
                matched.extend(node.any_depth);
            }
            let (before, label) = match rest.rsplit_once('.') {
                Some((before, label)) => (Some(before), label),
                None => (None, rest),
            };
            pending.extend(node.literal.get(label).map(|next| (*next, before)));
            pending.extend(node.wildcard.filter(|_| !label.contains('_')).map(|next| (next, before)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::host_pattern::WildcardScope;
    use crate::linear_reading::Matches;

    #[test]
    fn finds_what_each_entry_by_itself_matches() {
        let texts = [
            "x.com",
            "a.x.com",
            "*.x.com",
            "*.a.x.com",
            "a.*.x.com",
            "*.b.*.x.com",
            "b.*.*.x.com",
            "*.b.a.x.com",
            "y.x.com",
            "x",
            "_a.x.com",
            "*.y.com",
            "192.0.2.1",
            "::1",
            "a.b.x.com",
            "*.a.b.a.x.com",
        ];
        let mut patterns: Vec<_> =
            texts.iter().map(|text| DestinationPattern::parse(text, WildcardScope::AnyDepth, true)).collect();
        patterns.push(DestinationPattern::parse("*.x.com", WildcardScope::OneLabel, false));
        patterns.push(DestinationPattern::parse("*.a.x.com", WildcardScope::OneLabel, false));
        let patterns: Vec<_> = patterns.into_iter().flatten().collect();
        assert_eq!(patterns.len(), texts.len() + 2);
        let index = DestinationIndex::new(patterns.iter().cloned().zip((0..).map(ValueId)));

        let labels = ["x", "a", "b", "_a", "y"];
        let mut hosts: Vec<String> = vec!["192.0.2.1".to_owned(), "[::1]".to_owned(), "x.com.evil.test".to_owned()];
        for depth in 0..5_u32 {
            for mut number in 0..labels.len().pow(depth) {
                let mut name = String::new();
                for _ in 0..depth {
                    name.push_str(labels.get(number % labels.len()).unwrap_or(&""));
                    name.push('.');
                    number /= labels.len();
                }
                hosts.extend(["x.com", "y.com", "xx.com", "com", "x"].map(|end| format!("{name}{end}")));
            }
        }
        let mut met = 0;
        for host in hosts {
            let Ok(host) = Host::parse(host.as_bytes()) else { continue };
            let expected: Vec<_> = (0..)
                .map(ValueId)
                .zip(&patterns)
                .filter(|(_, pattern)| pattern.matches(&host))
                .map(|(id, _)| id)
                .collect();
            let mut found = Matched::new();
            index.lookup(&host, &mut found);
            found.sort();
            assert_eq!(found.to_vec(), expected, "{host}");
            met += found.len();
        }
        assert!(met > 1000, "{met} matches only");
    }
}
