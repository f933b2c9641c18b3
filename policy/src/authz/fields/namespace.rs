//! `source.namespaces`: the namespace that the peer's SPIFFE ID names after `/ns/`.

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

use crate::authz::engine::field::{AnyFieldValues, FieldIndex, FieldValues, MatchField};
use crate::authz::fields::peer_index::PeerIndex;
use crate::authz::fields::reader::{ConditionReader, FieldContext, FieldReader};
use crate::collections::map::OrderedMap;
use crate::config::reader::ConfigNode;
use crate::config::string_list::read_values;
use crate::identity::spiffe_id::SpiffeId;
use crate::matcher::string_index::StringIndex;
use crate::matcher::string_pattern::StringPattern;
use crate::matcher::value_ids::{Matched, ValueId};

/// A pattern for namespaces. Istio turns it into `.*/ns/…/.*` over the whole ID, each star any run of characters, `/`
/// included (Istio 1.31, `pilot/pkg/security/authz/model/generator.go`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NamespacePattern(String);

impl NamespacePattern {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if matches!(text, "." | "..") {
            return Err(format!("bad namespace `{text}`: no SPIFFE ID has `.` or `..` in its path"));
        }
        match text
            .chars()
            .find(|character| !(character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_' | '*')))
        {
            Some(wrong) => Err(format!("bad namespace `{text}`: no namespace contains `{}`", wrong.escape_default())),
            None => Ok(Self(text.to_owned())),
        }
    }

    fn over_the_id(&self) -> StringPattern {
        StringPattern::new(&format!("*/ns/{}/*", self.0))
    }
}

impl fmt::Display for NamespacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) struct Index {
    exact: OrderedMap<Box<[u8]>, ValueId>,
    starred: StringIndex,
}

impl Index {
    pub(crate) fn new(patterns: impl Iterator<Item = (NamespacePattern, ValueId)>) -> Self {
        let (starred, exact): (Vec<_>, Vec<_>) = patterns.partition(|(pattern, _)| pattern.0.contains('*'));
        Self {
            exact: exact.into_iter().map(|(pattern, id)| (pattern.0.into_bytes().into(), id)).collect(),
            starred: StringIndex::new(starred.into_iter().map(|(pattern, id)| (pattern.over_the_id(), id)).collect()),
        }
    }
}

impl PeerIndex for Index {
    fn lookup_id(&self, id: &SpiffeId, matched: &mut Matched) {
        for namespace in namespaces(id) {
            matched.extend(self.exact.get(namespace).copied());
        }
        self.starred.lookup(id.uri().as_bytes(), matched);
    }
}

/// Returns each segment of the URI that follows a segment `ns` and precedes a slash; usually one.
fn namespaces(id: &SpiffeId) -> impl Iterator<Item = &[u8]> {
    let segments = || id.uri().as_bytes().split(|byte| *byte == b'/');
    segments()
        .zip(segments().skip(1))
        .zip(segments().skip(2))
        .filter(|((marker, _), _)| *marker == b"ns")
        .map(|((_, namespace), _)| namespace)
}

/// The namespace of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Namespace;

impl MatchField for Namespace {
    type Pattern = NamespacePattern;

    const RANK: u8 = 11;
    const CONNECTION_SCOPED: bool = true;

    fn subject(&self) -> Cow<'static, str> {
        "namespace".into()
    }

    fn index(self, patterns: Vec<(NamespacePattern, ValueId)>) -> Box<dyn FieldIndex> {
        Box::new(Index::new(patterns.into_iter()))
    }
}

/// `source.namespaces` and `source.notNamespaces`.
pub(crate) const SOURCE: FieldReader = FieldReader { keys: ["namespaces", "notNamespaces"], read };

/// `when` on `source.namespace`.
pub(crate) const CONDITION: ConditionReader = ConditionReader { key: "source.namespace", read };

fn read(node: &ConfigNode<'_>, _: &FieldContext<'_>) -> Option<Rc<dyn AnyFieldValues>> {
    Some(FieldValues::shared(Namespace, read_values(node, NamespacePattern::parse)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear_reading::Matches;
    use crate::matcher::field_match::FieldMatch;
    use crate::test_support::fake_request::FakeRequest;

    #[test]
    fn the_index_agrees_with_istios_expression() {
        let patterns: Vec<_> = ["shop", "ns", "*", "sh*", "*op", "*ho*", "s*p", "sa", "x"]
            .into_iter()
            .filter_map(|text| NamespacePattern::parse(text).ok())
            .collect();
        let index = Index::new(patterns.iter().cloned().zip((0..).map(ValueId)));
        for uri in [
            "spiffe://cluster.local/ns/shop/sa/web",
            "spiffe://cluster.local/ns/shop",
            "spiffe://cluster.local/team/ns/shop/sa/web",
            "spiffe://ns/shop/sa/web",
            "spiffe://ns/ns/ns/ns/x",
            "spiffe://cluster.local/ns/a/ns/shop/b",
            "spiffe://cluster.local/ns/shopping/sa/web",
            "spiffe://cluster.local/billing",
        ] {
            let Ok(id) = SpiffeId::parse(uri.as_bytes()) else { continue };
            let expected: Vec<_> = (0..)
                .map(ValueId)
                .zip(&patterns)
                .filter(|(_, pattern)| pattern.matches(&id))
                .map(|(number, _)| number)
                .collect();
            let mut found = Matched::new();
            index.lookup_id(&id, &mut found);
            found.sort();
            found.dedup();
            assert_eq!(found.to_vec(), expected, "{uri}");
        }
    }

    #[test]
    fn no_identity_is_in_no_namespace() {
        let index = Index::new(NamespacePattern::parse("*").into_iter().zip([ValueId(0)]));
        let mut found = FieldMatch::default();
        index.lookup(&mut FakeRequest::new(""), &mut found).expect("a peer without a certificate");
        assert!(found.any.is_empty());
    }

    #[test]
    fn what_cannot_be_a_namespace_is_refused() {
        assert_eq!(
            NamespacePattern::parse("shop/web").err().as_deref(),
            Some("bad namespace `shop/web`: no namespace contains `/`")
        );
        assert_eq!(
            NamespacePattern::parse("..").err().as_deref(),
            Some("bad namespace `..`: no SPIFFE ID has `.` or `..` in its path")
        );
    }
}
