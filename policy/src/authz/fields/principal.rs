//! `source.principals`: the SPIFFE ID that the peer's certificate proves.

use std::borrow::Cow;
use std::rc::Rc;

use crate::attributes::request::Request;
use crate::attributes::wording::describe_peer;
use crate::authz::engine::field::{AnyFieldValues, FieldIndex, FieldValues, MatchField};
use crate::authz::fields::{ConditionReader, FieldContext, FieldReader, unwrap_patterns};
use crate::config::reader::ConfigNode;
use crate::config::string_list::read_expanded;
use crate::identity::error::EvalError;
use crate::identity::trust_domains::TrustDomains;
use crate::matcher::field_match::FieldMatch;
use crate::matcher::string_index::StringIndex;
use crate::matcher::string_pattern::StringPattern;
use crate::matcher::value_ids::ValueId;

/// A pattern for SPIFFE IDs, with or without their scheme.
///
/// `*` is any SPIFFE ID; in Istio it is any validated certificate (design, section 2.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PrincipalPattern(StringPattern);

impl PrincipalPattern {
    /// Parses a principal. One of the form `trust-domain/ns/…/sa/…` in the mesh's own trust domain stands for that
    /// workload in all of the mesh's trust domains, so there can be several.
    pub(crate) fn parse(text: &str, trust_domains: &TrustDomains) -> Result<Vec<Self>, String> {
        let id = text.strip_prefix("spiffe://").unwrap_or(text);
        if id.is_empty() {
            return Err("`spiffe://` names no identity".to_owned());
        }
        if let Some(wrong) = id.chars().find(|character| !is_of_an_id(*character)) {
            return Err(match wrong {
                ':' => format!(
                    "bad principal `{text}`: write the SPIFFE ID as `trust-domain/path`, as in `cluster.local/ns/shop/sa/web`"
                ),
                _ => format!("bad principal `{text}`: no SPIFFE ID contains `{}`", wrong.escape_default()),
            });
        }
        let between_slashes = |piece: &str| -> Option<bool> {
            let (segments, _) = piece.split_once('/')?.1.rsplit_once('/')?;
            Some(segments.split('/').any(is_no_segment))
        };
        if id.split('*').any(|piece| between_slashes(piece) == Some(true)) || id.ends_with('/') {
            return Err(format!("bad principal `{text}`: no SPIFFE ID has an empty segment, `.` or `..` in its path"));
        }
        if id.starts_with("spiffe*") {
            return Err(format!("bad principal `{text}`: principals are compared without `spiffe://`, leave it out"));
        }
        let (domain, path) = id.split_once('/').unwrap_or((id, ""));
        if !id.contains('*') && path.is_empty() {
            return Err(format!(
                "bad principal `{text}`: it has no path and so names no workload, write `{domain}/*` for all of a trust domain"
            ));
        }
        if !id.contains('*') && path.split('/').any(is_no_segment) {
            return Err(format!("bad principal `{text}`: no SPIFFE ID has an empty segment, `.` or `..` in its path"));
        }
        if domain.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(format!(
                "bad principal `{text}`: trust domains are lower-case, write `{}/{path}`",
                domain.to_ascii_lowercase()
            ));
        }
        Ok(trust_domains.expand(domain, path, id).iter().map(|id| Self(StringPattern::new(id))).collect())
    }

    #[cfg(test)]
    pub(crate) fn matches(&self, id: &crate::identity::spiffe_id::SpiffeId) -> bool {
        self.0.matches(id.principal().as_bytes())
    }
}

string_pattern_newtype!(PrincipalPattern);

/// Whether no path of a SPIFFE ID has it between slashes (SPIFFE-ID, section 2.2).
fn is_no_segment(segment: &str) -> bool {
    matches!(segment, "" | "." | "..")
}

fn is_of_an_id(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_' | '/' | '*')
}

/// The SPIFFE ID of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principal;

impl MatchField for Principal {
    type Pattern = PrincipalPattern;

    const RANK: u8 = 10;
    const CONNECTION_SCOPED: bool = true;

    fn subject(&self) -> Cow<'static, str> {
        "principal".into()
    }

    fn index(self, patterns: Vec<(PrincipalPattern, ValueId)>) -> Box<dyn FieldIndex> {
        Box::new(PrincipalIndex(StringIndex::new(unwrap_patterns(patterns))))
    }
}

struct PrincipalIndex(StringIndex);

impl FieldIndex for PrincipalIndex {
    fn lookup(&self, request: &mut dyn Request, found: &mut FieldMatch) -> Result<(), EvalError> {
        if let Some(id) = request.peer()?.require_verified()?.id() {
            self.0.lookup(id.principal().as_bytes(), &mut found.any);
        }
        Ok(())
    }

    fn describe_actual(&self, request: &mut dyn Request) -> Option<String> {
        Some(describe_peer(request))
    }
}

/// `source.principals` and `source.notPrincipals`.
pub(crate) const SOURCE: FieldReader = FieldReader { keys: ["principals", "notPrincipals"], read };

/// `when` on `source.principal`.
pub(crate) const CONDITION: ConditionReader = ConditionReader { key: "source.principal", read };

fn read(node: &ConfigNode<'_>, context: &FieldContext<'_>) -> Option<Rc<dyn AnyFieldValues>> {
    let patterns = read_expanded(node, &|text| PrincipalPattern::parse(text, context.trust_domains))?;
    Some(FieldValues::shared(Principal, patterns))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mesh() -> TrustDomains {
        TrustDomains::new("prod.example".to_owned(), vec!["old.example".to_owned()])
    }

    #[test]
    fn a_principal_of_the_mesh_holds_in_all_its_trust_domains() {
        let rows: [(&str, &[&str]); 8] = [
            ("*.example/ns/a/sa/b", &["*.example/ns/a/sa/b"]),
            ("prod*/ns/a/sa/b", &["prod*/ns/a/sa/b", "old.example/ns/a/sa/b"]),
            ("prod.example/ns/a/sa/b", &["prod.example/ns/a/sa/b", "old.example/ns/a/sa/b"]),
            ("spiffe://old.example/ns/a/sa/b", &["prod.example/ns/a/sa/b", "old.example/ns/a/sa/b"]),
            ("cluster.local/ns/a/sa/b", &["prod.example/ns/a/sa/b", "old.example/ns/a/sa/b"]),
            ("other.example/ns/a/sa/b", &["other.example/ns/a/sa/b"]),
            ("*/ns/a/sa/b", &["*/ns/a/sa/b"]),
            ("prod.example/billing", &["prod.example/billing"]),
        ];
        for (text, expected) in rows {
            let found: Vec<_> = PrincipalPattern::parse(text, &mesh())
                .into_iter()
                .flatten()
                .map(|pattern| pattern.to_string())
                .collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn what_is_refused_says_what_to_write() {
        let rows = [
            ("spiffe://", "`spiffe://` names no identity"),
            (
                "cluster.local",
                "bad principal `cluster.local`: it has no path and so names no workload, write `cluster.local/*` for all of a trust domain",
            ),
            (
                "https://cluster.local/ns/a",
                "bad principal `https://cluster.local/ns/a`: write the SPIFFE ID as `trust-domain/path`, as in `cluster.local/ns/shop/sa/web`",
            ),
            ("cluster.local/ns/a b", "bad principal `cluster.local/ns/a b`: no SPIFFE ID contains ` `"),
            ("cluster.local/ns/ä", "bad principal `cluster.local/ns/ä`: no SPIFFE ID contains `\\u{e4}`"),
            (
                "cluster.local//a",
                "bad principal `cluster.local//a`: no SPIFFE ID has an empty segment, `.` or `..` in its path",
            ),
            (
                "Cluster.local/ns/a",
                "bad principal `Cluster.local/ns/a`: trust domains are lower-case, write `cluster.local/ns/a`",
            ),
        ];
        for (text, message) in rows {
            assert_eq!(PrincipalPattern::parse(text, &mesh()).err().as_deref(), Some(message));
        }
    }
}
