//! `source.principals`: the SPIFFE ID that the peer's certificate proves.

use std::borrow::Cow;
use std::rc::Rc;

use crate::authz::engine::field::{AnyFieldValues, FieldIndex, FieldValues, MatchField};
use crate::authz::fields::peer_index::PeerIndex;
use crate::authz::fields::reader::{ConditionReader, FieldContext, FieldReader};
use crate::config::reader::ConfigNode;
use crate::config::string_list::read_expanded;
use crate::identity::spiffe_id::{MAX_PRINCIPAL, MAX_TRUST_DOMAIN, SpiffeId};
use crate::identity::trust_domains::{MESH, TrustDomains};
use crate::matcher::string_index::{StringIndex, unwrap_patterns};
use crate::matcher::string_pattern::{StringPattern, string_pattern_newtype};
use crate::matcher::value_ids::{Matched, ValueId};

/// A pattern for SPIFFE IDs, with or without their scheme.
///
/// `*` is any SPIFFE ID; in Istio it is any validated certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PrincipalPattern(StringPattern);

impl PrincipalPattern {
    /// Parses a principal. One in a trust domain of the mesh holds in all of the mesh's trust domains, so there can be
    /// several.
    pub(crate) fn parse(text: &str, trust_domains: &TrustDomains) -> Result<Vec<Self>, String> {
        let id = text.strip_prefix("spiffe://").unwrap_or(text);
        if id.is_empty() {
            return Err("`spiffe://` names no identity".to_owned());
        }
        check_characters(text, id)?;
        let (domain, path) = id.split_once('/').unwrap_or((id, ""));
        if domain.is_empty() {
            return Err(format!(
                "bad principal `{text}`: it has no trust domain, write `{MESH}/{path}` for that of this mesh or `*/{path}` for any"
            ));
        }
        if id.starts_with("spiffe*") {
            return Err(format!("bad principal `{text}`: principals are compared without `spiffe://`, leave it out"));
        }
        if !id.contains('/') && !id.contains('*') {
            return Err(format!(
                "bad principal `{text}`: it has no path and so names no workload, write `{domain}/*` for all of a trust domain"
            ));
        }
        // A star can stand for slashes, and so what stands between slashes without one is a whole segment.
        if id.split('/').skip(1).any(is_no_segment) {
            return Err(format!("bad principal `{text}`: no SPIFFE ID has an empty segment, `.` or `..` in its path"));
        }
        if domain.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(format!(
                "bad principal `{text}`: trust domains are lower-case, write `{}/{path}`",
                domain.to_ascii_lowercase()
            ));
        }
        let literal = id.bytes().filter(|byte| *byte != b'*').count();
        if literal > MAX_PRINCIPAL {
            return Err(format!(
                "bad principal `{text}`: it has {literal} bytes, a SPIFFE ID without its scheme has {MAX_PRINCIPAL} at most"
            ));
        }
        if !domain.contains('*') && domain.len() > MAX_TRUST_DOMAIN {
            return Err(format!(
                "bad principal `{text}`: its trust domain has {} bytes, the most are {MAX_TRUST_DOMAIN}",
                domain.len()
            ));
        }
        let ids = match id.contains('/') {
            true => trust_domains.expand(domain, path, &|known| StringPattern::new(domain).matches(known.as_bytes())),
            false => vec![id.to_owned()],
        };
        Ok(ids.iter().map(|id| Self(StringPattern::new(id))).collect())
    }
}

string_pattern_newtype!(PrincipalPattern);

/// Fails on a character that no SPIFFE ID has (SPIFFE-ID, section 2).
fn check_characters(text: &str, id: &str) -> Result<(), String> {
    let of_an_id =
        |character: &char| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_' | '/' | '*');
    match id.chars().find(|character| !of_an_id(character)) {
        None => Ok(()),
        Some(':') => Err(format!(
            "bad principal `{text}`: write the SPIFFE ID as `trust-domain/path`, as in `cluster.local/ns/shop/sa/web`"
        )),
        Some(wrong) => Err(format!("bad principal `{text}`: no SPIFFE ID contains `{}`", wrong.escape_default())),
    }
}

/// Reports whether a path of a SPIFFE ID cannot contain the segment (SPIFFE-ID, section 2.2).
fn is_no_segment(segment: &str) -> bool {
    matches!(segment, "" | "." | "..")
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

    fn is_short(pattern: &PrincipalPattern) -> bool {
        pattern.0.is_short()
    }

    fn index(self, patterns: Vec<(PrincipalPattern, ValueId)>) -> Box<dyn FieldIndex> {
        Box::new(PrincipalIndex(StringIndex::new(unwrap_patterns(patterns))))
    }
}

struct PrincipalIndex(StringIndex);

impl PeerIndex for PrincipalIndex {
    fn lookup_id(&self, id: &SpiffeId, matched: &mut Matched) {
        self.0.lookup(id.principal().as_bytes(), matched);
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
    use crate::linear_reading::Matches;

    fn mesh() -> TrustDomains {
        TrustDomains::new("prod.example".to_owned(), vec!["old.example".to_owned()])
    }

    #[test]
    fn a_principal_of_the_mesh_holds_in_all_its_trust_domains() {
        let rows: [(&str, &[&str]); 17] = [
            ("*.example/ns/a/sa/b", &["*.example/ns/a/sa/b"]),
            ("prod*/ns/a/sa/b", &["prod*/ns/a/sa/b", "old.example/ns/a/sa/b"]),
            ("prod.example/ns/a/sa/b", &["prod.example/ns/a/sa/b", "old.example/ns/a/sa/b"]),
            ("spiffe://old.example/ns/a/sa/b", &["prod.example/ns/a/sa/b", "old.example/ns/a/sa/b"]),
            ("cluster.local/ns/a/sa/b", &["prod.example/ns/a/sa/b", "old.example/ns/a/sa/b"]),
            ("other.example/ns/a/sa/b", &["other.example/ns/a/sa/b"]),
            ("*/ns/a/sa/b", &["*/ns/a/sa/b"]),
            ("prod.example/billing", &["prod.example/billing", "old.example/billing"]),
            ("cluster.local/ns/a/*", &["prod.example/ns/a/*", "old.example/ns/a/*"]),
            ("old.example/*", &["prod.example/*", "old.example/*"]),
            ("cluster.local/ns/*/sa/b", &["prod.example/ns/*/sa/b", "old.example/ns/*/sa/b"]),
            ("prod.example/a/b/c/d/e/f", &["prod.example/a/b/c/d/e/f", "old.example/a/b/c/d/e/f"]),
            ("prod*/ns/*", &["prod*/ns/*", "old.example/ns/*"]),
            ("other.example/ns/*", &["other.example/ns/*"]),
            ("*/ns/a/*", &["*/ns/a/*"]),
            ("prod.example*", &["prod.example*"]),
            ("*", &["*"]),
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
                "/ns/shop/sa/web",
                "bad principal `/ns/shop/sa/web`: it has no trust domain, write `cluster.local/ns/shop/sa/web` for that of this mesh or `*/ns/shop/sa/web` for any",
            ),
            (
                "spiffe:///ns/shop/*",
                "bad principal `spiffe:///ns/shop/*`: it has no trust domain, write `cluster.local/ns/shop/*` for that of this mesh or `*/ns/shop/*` for any",
            ),
            (
                "/*",
                "bad principal `/*`: it has no trust domain, write `cluster.local/*` for that of this mesh or `*/*` for any",
            ),
            ("*/../a", "bad principal `*/../a`: no SPIFFE ID has an empty segment, `.` or `..` in its path"),
            (
                "cluster.local/*/.",
                "bad principal `cluster.local/*/.`: no SPIFFE ID has an empty segment, `.` or `..` in its path",
            ),
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

    #[test]
    fn a_principal_is_no_longer_than_a_spiffe_id() {
        let longest = format!("td/{}", "x".repeat(MAX_PRINCIPAL - 3));
        for text in [longest.clone(), format!("spiffe://{longest}"), format!("{longest}*")] {
            assert!(PrincipalPattern::parse(&text, &mesh()).is_ok());
        }
        for text in [format!("{longest}x"), format!("*{longest}x")] {
            let refusal = PrincipalPattern::parse(&text, &mesh()).err().unwrap_or_default();
            let end = "`: it has 2040 bytes, a SPIFFE ID without its scheme has 2039 at most";
            assert!(refusal.ends_with(end), "{refusal}");
        }
        let refusal = PrincipalPattern::parse(&format!("{}/x", "t".repeat(256)), &mesh()).err().unwrap_or_default();
        assert!(refusal.ends_with("`: its trust domain has 256 bytes, the most are 255"), "{refusal}");
    }

    #[test]
    fn the_patterns_agree_with_comparing_trust_domain_and_path_apart() {
        let domains = ["prod.example", "old.example", "cluster.local", "other.example"];
        let paths = ["ns/a/sa/b", "ns/*", "*", "billing", "ns/*/sa/b", "a/b/c/d/e"];
        let of_the_mesh = |domain: &str| ["prod.example", "old.example"].contains(&domain);
        for (domain, path) in domains.iter().flat_map(|domain| paths.map(|path| (*domain, path))) {
            let patterns = PrincipalPattern::parse(&format!("{domain}/{path}"), &mesh()).expect("a principal");
            for (other, asked) in domains.iter().flat_map(|other| paths.map(|path| (*other, path.replace('*', "x")))) {
                let id = format!("spiffe://{other}/{asked}");
                let id = crate::identity::spiffe_id::SpiffeId::parse(id.as_bytes()).expect("a SPIFFE ID");
                let same_domain = match domain {
                    "other.example" => other == domain,
                    _ => of_the_mesh(other),
                };
                let expected = same_domain && StringPattern::new(path).matches(asked.as_bytes());
                assert_eq!(patterns.iter().any(|one| one.matches(&id)), expected, "{domain}/{path} on {id}");
            }
        }
    }
}
