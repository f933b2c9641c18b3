//! Index of the host entries that a destination matches.

use std::net::IpAddr;

use smallvec::SmallVec;

use crate::collections::map::OrderedMap;
use crate::egress::authority::Host;
use crate::egress::host_pattern::DestinationPattern;
use crate::egress::name_glob::{NameGlobIndex, STEPS_PER_PATTERN};
use crate::matcher::value_ids::{Matched, ValueId};

/// Host entries with their ids: hash maps for names, addresses and `*.` suffixes, a trie of labels from the right for
/// entries with wildcard labels, and an automaton for those with stars inside of labels.
#[derive(Default)]
pub(crate) struct DestinationIndex {
    names: OrderedMap<Box<str>, ValueId>,
    addresses: OrderedMap<IpAddr, ValueId>,
    any_name: Option<ValueId>,
    any_depth: OrderedMap<Box<str>, PerCharset<ValueId>>,
    /// Largest number of labels of an entry in `any_depth`: longer suffixes of a name need no lookup.
    longest: usize,
    tree: Vec<Node>,
    globs: Option<NameGlobIndex>,
}

/// One entry for wildcards that do not stand for labels with `_`, and one for those that do.
type PerCharset<T> = [Option<T>; 2];

/// Returns what applies to labels that have a `_` among them or not.
fn applying<T: Copy>(per_charset: &PerCharset<T>, has_underscore: bool) -> impl Iterator<Item = T> {
    let [plain, all] = *per_charset;
    [plain.filter(|_| !has_underscore), all].into_iter().flatten()
}

#[derive(Default)]
struct Node {
    literal: OrderedMap<Box<str>, usize>,
    wildcard: PerCharset<usize>,
    ends: Option<ValueId>,
    any_depth: PerCharset<ValueId>,
}

impl DestinationIndex {
    pub(crate) fn new(patterns: impl Iterator<Item = (DestinationPattern, ValueId)>) -> Self {
        let mut index = Self::default();
        let mut globs = Vec::new();
        for (pattern, id) in patterns {
            match pattern {
                DestinationPattern::Exactly(Host::Address(address)) => {
                    index.addresses.insert(address, id);
                }
                DestinationPattern::Exactly(Host::Name(name)) => {
                    index.names.insert(name.as_str().into(), id);
                }
                DestinationPattern::AnyName => index.any_name = Some(id),
                DestinationPattern::Labels { any_depth, labels, underscores } => {
                    index.insert(any_depth, &labels, underscores, id);
                }
                DestinationPattern::Glob(glob) => globs.push((glob, id)),
            }
        }
        index.globs = (!globs.is_empty()).then(|| NameGlobIndex::new(globs));
        index
    }

    /// Adds the entries that match `host`; some of them where it takes too many steps.
    pub(crate) fn lookup(&self, host: &Host, matched: &mut Matched) {
        let name = match host {
            Host::Address(address) => return matched.extend(self.addresses.get(address).copied()),
            Host::Name(name) => name.as_str(),
        };
        matched.extend(self.names.get(name).copied());
        matched.extend(self.any_name);
        if !self.any_depth.is_empty() {
            self.lookup_suffixes(name, matched);
        }
        if !self.tree.is_empty() {
            self.lookup_tree(name, matched);
        }
        if let Some(globs) = &self.globs {
            globs.lookup(name.as_bytes(), matched);
        }
    }

    /// Looks up the suffixes of a name that begin after a dot, the shortest first.
    fn lookup_suffixes(&self, name: &str, matched: &mut Matched) {
        for (at, _) in name.rmatch_indices('.').take(self.longest) {
            let (leading, suffix) = (name.get(..at).unwrap_or_default(), name.get(at + 1..).unwrap_or_default());
            if let Some(entries) = self.any_depth.get(suffix) {
                matched.extend(applying(entries, leading.contains('_')));
            }
        }
    }

    fn insert(&mut self, any_depth: bool, labels: &[Option<Box<str>>], underscores: bool, id: ValueId) {
        let charset = usize::from(underscores);
        let set = |entries: &mut PerCharset<ValueId>| entries.get_mut(charset).map(|entry| *entry = Some(id));
        let literals = labels.iter().map(Option::as_deref).collect::<Option<Vec<_>>>();
        if let Some(literals) = literals.filter(|_| any_depth) {
            self.longest = self.longest.max(literals.len());
            self.any_depth.entry_or_insert_with(literals.join(".").into(), PerCharset::default, set);
            return;
        }
        if self.tree.is_empty() {
            self.tree.push(Node::default());
        }
        let mut at = 0;
        for label in labels.iter().rev() {
            let next = self.tree.len();
            let Some(node) = self.tree.get_mut(at) else { return };
            at = match (label, node.wildcard.get_mut(charset)) {
                (Some(label), _) => node.literal.entry_or_insert_with(label.clone(), || next, |known| *known),
                (None, Some(wildcard)) => *wildcard.get_or_insert(next),
                (None, None) => return,
            };
            if at == next {
                self.tree.push(Node::default());
            }
        }
        match self.tree.get_mut(at) {
            Some(node) if any_depth => {
                set(&mut node.any_depth);
            }
            Some(node) => node.ends = Some(id),
            None => {}
        }
    }

    /// Descends the trie, into both the literal and the wildcard child of a node.
    fn lookup_tree(&self, name: &str, matched: &mut Matched) {
        let mut pending: SmallVec<[(usize, Option<&str>); 8]> = SmallVec::new();
        pending.push((0, Some(name)));
        while let Some((at, rest)) = pending.pop() {
            if !matched.take(STEPS_PER_PATTERN) {
                return;
            }
            let Some(node) = self.tree.get(at) else { continue };
            let Some(rest) = rest else {
                matched.extend(node.ends);
                continue;
            };
            matched.extend(applying(&node.any_depth, rest.contains('_')));
            let (before, label) = match rest.rsplit_once('.') {
                Some((before, label)) => (Some(before), label),
                None => (None, rest),
            };
            pending.extend(node.literal.get(label).map(|next| (*next, before)));
            pending.extend(applying(&node.wildcard, label.contains('_')).map(|next| (next, before)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::fqdn_pattern::parse_pattern;
    use crate::egress::host_pattern::HostSyntax;
    use crate::linear_reading::Matches;

    /// Patterns of all forms that match some of the same names.
    fn patterns() -> Vec<DestinationPattern> {
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
        let cilium = [
            "*.x.com",
            "**.x.com",
            "*.a.x.com",
            "a.*.x.com",
            "**.b.*.x.com",
            "*",
            "*.*",
            "**.*",
            "*x.com",
            "a*.x.com",
            "*a*.x.com",
            "**.*b.a.x.com",
            "*.y*.com",
            "x*",
            "_*.x.com",
        ];
        let written = texts.iter().map(|text| DestinationPattern::parse(text, HostSyntax::Rule, true));
        let patterns: Vec<_> = written.chain(cilium.iter().map(|text| parse_pattern(text))).flatten().collect();
        assert_eq!(patterns.len(), texts.len() + cilium.len());
        patterns
    }

    #[test]
    fn finds_what_each_entry_by_itself_matches() {
        let patterns = patterns();
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
