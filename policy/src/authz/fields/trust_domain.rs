//! `source.trustDomains`: the trust domain of the peer's SPIFFE ID.

use std::borrow::Cow;
use std::rc::Rc;

use crate::authz::engine::field::{AnyFieldValues, FieldIndex, FieldValues, MatchField};
use crate::authz::fields::peer_index::PeerIndex;
use crate::authz::fields::reader::{ConditionReader, FieldContext, FieldReader};
use crate::config::reader::ConfigNode;
use crate::config::string_list::read_expanded;
use crate::identity::spiffe_id::SpiffeId;
use crate::identity::trust_domains::TrustDomains;
use crate::matcher::string_index::{StringIndex, unwrap_patterns};
use crate::matcher::string_pattern::{StringPattern, string_pattern_newtype};
use crate::matcher::value_ids::{Matched, ValueId};

/// A pattern for trust domains: with one star at most, which stands for any run of characters of a trust domain
/// (Istio 1.31, `pilot/pkg/security/authz/model/generator.go` and its validation).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TrustDomainPattern(StringPattern);

impl TrustDomainPattern {
    /// Parses a trust domain. One of the mesh stands for all of the mesh's, as in Istio
    /// (`pilot/pkg/security/trustdomain/bundle.go`), so there can be several.
    pub(crate) fn parse(text: &str, trust_domains: &TrustDomains) -> Result<Vec<Self>, String> {
        let of_a_trust_domain = |character: char| {
            character.is_ascii_lowercase() || character.is_ascii_digit() || matches!(character, '.' | '-' | '_' | '*')
        };
        if let Some(wrong) = text.chars().find(|character| !of_a_trust_domain(*character)) {
            return Err(match wrong {
                '/' | ':' => {
                    format!("bad trust domain `{text}`: write it without scheme and path, as in `cluster.local`")
                }
                'A'..='Z' => format!(
                    "bad trust domain `{text}`: trust domains are lower-case, write `{}`",
                    text.to_ascii_lowercase()
                ),
                _ => format!("bad trust domain `{text}`: no trust domain contains `{}`", wrong.escape_default()),
            });
        }
        if text.bytes().filter(|byte| *byte == b'*').count() > 1 {
            return Err(format!("bad trust domain `{text}`: Istio takes one star here"));
        }
        Ok(trust_domains.same_as(text).into_iter().map(|domain| Self(StringPattern::new(domain))).collect())
    }
}

string_pattern_newtype!(TrustDomainPattern);

/// The trust domain of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrustDomain;

impl MatchField for TrustDomain {
    type Pattern = TrustDomainPattern;

    const RANK: u8 = 13;
    const CONNECTION_SCOPED: bool = true;

    fn subject(&self) -> Cow<'static, str> {
        "trust domain".into()
    }

    fn is_short(pattern: &TrustDomainPattern) -> bool {
        pattern.0.is_short()
    }

    fn index(self, patterns: Vec<(TrustDomainPattern, ValueId)>) -> Box<dyn FieldIndex> {
        Box::new(TrustDomainIndex(StringIndex::new(unwrap_patterns(patterns))))
    }
}

struct TrustDomainIndex(StringIndex);

impl PeerIndex for TrustDomainIndex {
    fn lookup_id(&self, id: &SpiffeId, matched: &mut Matched) {
        self.0.lookup(id.trust_domain().as_bytes(), matched);
    }
}

/// `source.trustDomains` and `source.notTrustDomains`.
pub(crate) const SOURCE: FieldReader = FieldReader { keys: ["trustDomains", "notTrustDomains"], read };

/// `when` on `source.trustDomain`.
pub(crate) const CONDITION: ConditionReader = ConditionReader { key: "source.trustDomain", read };

fn read(node: &ConfigNode<'_>, context: &FieldContext<'_>) -> Option<Rc<dyn AnyFieldValues>> {
    let patterns = read_expanded(node, &|text| TrustDomainPattern::parse(text, context.trust_domains))?;
    Some(FieldValues::shared(TrustDomain, patterns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear_reading::Matches;

    fn mesh() -> TrustDomains {
        TrustDomains::new("cluster.local".to_owned(), vec!["old.example".to_owned()])
    }

    #[test]
    fn a_trust_domain_of_the_mesh_is_all_of_them() {
        let rows: [(&str, &[&str]); 4] = [
            ("cluster.local", &["cluster.local", "old.example"]),
            ("old.example", &["cluster.local", "old.example"]),
            ("new.example", &["new.example"]),
            ("*.example", &["*.example"]),
        ];
        for (text, expected) in rows {
            let found = TrustDomainPattern::parse(text, &mesh()).expect(text);
            assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{text}");
        }
    }

    #[test]
    fn rows() {
        let id = SpiffeId::parse(b"spiffe://td.prod.example/ns/shop/sa/web").expect("a SPIFFE ID");
        let rows = [
            ("td.prod.example", true),
            ("td.prod", false),
            ("*", true),
            ("*.example", true),
            ("td.*", true),
            ("td.*.example", true),
            ("td.*/ns", false),
            ("*web", false),
        ];
        for (text, expected) in rows {
            let matches = TrustDomainPattern::parse(text, &mesh())
                .is_ok_and(|patterns| patterns.iter().any(|pattern| pattern.matches(&id)));
            assert_eq!(matches, expected, "{text}");
        }
    }

    #[test]
    fn what_is_refused_says_what_to_write() {
        let rows = [
            (
                "spiffe://cluster.local",
                "bad trust domain `spiffe://cluster.local`: write it without scheme and path, as in `cluster.local`",
            ),
            ("Cluster.local", "bad trust domain `Cluster.local`: trust domains are lower-case, write `cluster.local`"),
            ("a b", "bad trust domain `a b`: no trust domain contains ` `"),
            ("*a*", "bad trust domain `*a*`: Istio takes one star here"),
        ];
        for (text, message) in rows {
            assert_eq!(TrustDomainPattern::parse(text, &mesh()).err().as_deref(), Some(message));
        }
    }
}
