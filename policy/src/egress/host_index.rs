//! All the host entries that a destination matches.

use std::net::IpAddr;

use smallvec::SmallVec;

use crate::collections::map::OrderedMap;
use crate::egress::authority::Host;
use crate::egress::host_pattern::DestinationPattern;
use crate::matcher::value_ids::{Matched, ValueId};

/// Host entries, each under an id: hash maps by name, by address and by what stands below, and a tree of labels from
/// the right for entries with open labels.
#[derive(Default)]
pub(crate) struct DestinationIndex {
    names: OrderedMap<Box<str>, ValueId>,
    addresses: OrderedMap<IpAddr, ValueId>,
    below: OrderedMap<Box<str>, ValueId>,
    /// The most labels of an entry in `below`: longer ends of a name need no lookup.
    longest: usize,
    tree: Vec<Node>,
}

#[derive(Default)]
struct Node {
    given: OrderedMap<Box<str>, usize>,
    open: Option<usize>,
    ends: Option<ValueId>,
    below: Option<ValueId>,
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
                DestinationPattern::Labels { below, labels } => {
                    match labels.iter().map(Option::as_deref).collect::<Option<Vec<_>>>() {
                        Some(given) if below => {
                            index.longest = index.longest.max(given.len());
                            index.below.insert(given.join(".").into(), id);
                        }
                        _ => index.grow(below, &labels, id),
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
        if !self.below.is_empty() {
            self.lookup_below(name, matched);
        }
        if !self.tree.is_empty() {
            self.walk(name, matched);
        }
    }

    /// Looks up the ends of a name that begin behind a dot, the shortest first.
    fn lookup_below(&self, name: &str, matched: &mut Matched) {
        for (at, _) in name.rmatch_indices('.').take(self.longest) {
            let (open, end) = (name.get(..at).unwrap_or_default(), name.get(at + 1..).unwrap_or_default());
            if !open.contains('_') {
                matched.extend(self.below.get(end).copied());
            }
        }
    }

    fn grow(&mut self, below: bool, labels: &[Option<Box<str>>], id: ValueId) {
        if self.tree.is_empty() {
            self.tree.push(Node::default());
        }
        let mut at = 0;
        for label in labels.iter().rev() {
            let next = self.tree.len();
            let Some(node) = self.tree.get_mut(at) else { return };
            at = match label {
                Some(label) => node.given.entry_or_insert_with(label.clone(), || next, |known| *known),
                None => *node.open.get_or_insert(next),
            };
            if at == next {
                self.tree.push(Node::default());
            }
        }
        if let Some(node) = self.tree.get_mut(at) {
            *(if below { &mut node.below } else { &mut node.ends }) = Some(id);
        }
    }

    /// Goes down the tree, both ways where a label is given and open.
    fn walk(&self, name: &str, matched: &mut Matched) {
        let mut open: SmallVec<[(usize, Option<&str>); 8]> = SmallVec::new();
        open.push((0, Some(name)));
        while let Some((at, rest)) = open.pop() {
            let Some(node) = self.tree.get(at) else { continue };
            let Some(rest) = rest else {
                matched.extend(node.ends);
                continue;
            };
            if !rest.contains('_') {
                matched.extend(node.below);
            }
            let (before, label) = match rest.rsplit_once('.') {
                Some((before, label)) => (Some(before), label),
                None => (None, rest),
            };
            open.extend(node.given.get(label).map(|next| (*next, before)));
            open.extend(node.open.filter(|_| !label.contains('_')).map(|next| (next, before)));
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
