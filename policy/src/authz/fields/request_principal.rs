//! `source.requestPrincipals`: issuer and subject of the request's token.

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

use crate::attributes::claims::Claims;
use crate::attributes::jwt_claims::ClaimSource;
use crate::attributes::request::Request;
use crate::authz::engine::field::{AnyFieldValues, FieldIndex, FieldValues, MatchField};
use crate::authz::fields::reader::{ConditionReader, FieldContext, FieldReader};
use crate::config::reader::ConfigNode;
use crate::config::string_list::read_values;
use crate::config::value::Value;
use crate::identity::error::{AttributeError, EvalError};
use crate::matcher::field_match::FieldMatch;
use crate::matcher::string_index::StringIndex;
use crate::matcher::string_pattern::StringPattern;
use crate::matcher::value_ids::{Matched, ValueId};

/// Separator of issuer and subject when both are looked up as one string: no policy can hold it, and a token
/// whose issuer or subject holds it has no request principal.
const BETWEEN: char = '\0';

/// A pattern for `issuer/subject`, the claims `iss` and `sub` of a validated token.
///
/// Follows Istio (1.31, `pilot/pkg/security/authz/model/generator.go`): a value is split at its last `/`, `*` before
/// it is for the issuer alone, `*` after it for the subject alone, and a star by itself stands for one character at
/// least. A value with stars elsewhere is compared with the whole text `issuer/subject`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RequestPrincipalPattern {
    text: StringPattern,
    /// True if issuer and subject are separated.
    split: bool,
}

impl RequestPrincipalPattern {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.contains(BETWEEN) {
            return Err(format!("bad request principal `{}`: no issuer contains a NUL", text.escape_default()));
        }
        let pattern = StringPattern::new(text);
        let split = !matches!(pattern, StringPattern::Glob(_));
        if !split {
            return Ok(Self { text: pattern, split });
        }
        let told_apart = match (text.rsplit_once('/'), &pattern) {
            (Some((issuer, rest)), _) if issuer.ends_with(":/") => {
                return Err(format!(
                    "bad request principal `{text}`: what follows the last slash is the subject, write `{issuer}/{rest}/*`"
                ));
            }
            (Some((issuer, subject)), _) if !issuer.is_empty() && !subject.is_empty() => {
                format!("{issuer}{BETWEEN}{subject}")
            }
            // A prefix of the issuer or a suffix of the subject.
            (None, StringPattern::Any | StringPattern::Prefix(_) | StringPattern::Suffix(_)) => text.to_owned(),
            _ => {
                return Err(format!(
                    "bad request principal `{text}`: expected issuer/subject, as in `https://issuer.example/*`"
                ));
            }
        };
        Ok(Self { text: StringPattern::new(&told_apart), split })
    }
}

impl fmt::Display for RequestPrincipalPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text.to_string().replace(BETWEEN, "/"))
    }
}

/// Issuer and subject of a token, neither of them empty.
pub(crate) struct RequestPrincipal {
    split: String,
    whole: String,
}

impl RequestPrincipal {
    /// Reads the request principal; `None` if there is no token, or it lacks an issuer or a subject.
    ///
    /// Fails if one of them is not a string (RFC 7519, section 4.1).
    pub(crate) fn of(claims: &Claims) -> Result<Option<Self>, AttributeError> {
        let claim = |name: &str| match claims.value(&[name])?.map(Cow::into_owned) {
            Some(Value::Text(text)) => Ok(Some(text).filter(|text| !text.is_empty() && !text.contains(BETWEEN))),
            None | Some(Value::Null) => Ok(None),
            Some(_) => Err(AttributeError { attribute: "the token's payload", status: "its iss or sub is not a text" }),
        };
        let (Some(issuer), Some(subject)) = (claim("iss")?, claim("sub")?) else { return Ok(None) };
        Ok(Some(Self { split: format!("{issuer}{BETWEEN}{subject}"), whole: format!("{issuer}/{subject}") }))
    }
}

pub(crate) struct Index {
    split: StringIndex,
    whole: StringIndex,
}

impl Index {
    pub(crate) fn new(patterns: impl Iterator<Item = (RequestPrincipalPattern, ValueId)>) -> Self {
        let (split, whole): (Vec<_>, Vec<_>) = patterns.partition(|(pattern, _)| pattern.split);
        let index = |patterns: Vec<(RequestPrincipalPattern, ValueId)>| {
            StringIndex::new(patterns.into_iter().map(|(pattern, id)| (pattern.text, id)).collect())
        };
        Self { split: index(split), whole: index(whole) }
    }

    pub(crate) fn lookup(&self, principal: Option<&RequestPrincipal>, matched: &mut Matched) {
        if let Some(principal) = principal {
            self.split.lookup(principal.split.as_bytes(), matched);
            self.whole.lookup(principal.whole.as_bytes(), matched);
        }
    }
}

struct PrincipalIndex {
    patterns: Index,
    claims: Rc<ClaimSource>,
}

impl FieldIndex for PrincipalIndex {
    fn lookup(&self, request: &mut dyn Request, found: &mut FieldMatch) -> Result<(), EvalError> {
        let claims = self.claims.claims(request)?;
        let principal = RequestPrincipal::of(&claims)?;
        self.patterns.lookup(principal.as_ref(), &mut found.any);
        Ok(())
    }

    fn describe_actual(&self, request: &mut dyn Request) -> Option<String> {
        self.describe_token(request)
    }

    fn describe_token(&self, request: &mut dyn Request) -> Option<String> {
        self.claims.describe(request)
    }
}

/// The issuer and the subject of the request's token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestPrincipalField {
    claims: Rc<ClaimSource>,
}

impl MatchField for RequestPrincipalField {
    type Pattern = RequestPrincipalPattern;

    const RANK: u8 = 40;

    fn subject(&self) -> Cow<'static, str> {
        "request principal".into()
    }

    fn http_key(&self) -> Option<String> {
        Some("requestPrincipals".to_owned())
    }

    fn is_short(pattern: &RequestPrincipalPattern) -> bool {
        pattern.text.is_short()
    }

    fn index(self, patterns: Vec<(RequestPrincipalPattern, ValueId)>) -> Box<dyn FieldIndex> {
        Box::new(PrincipalIndex { patterns: Index::new(patterns.into_iter()), claims: self.claims })
    }
}

/// `source.requestPrincipals` and `source.notRequestPrincipals`.
pub(crate) const SOURCE: FieldReader = FieldReader { keys: ["requestPrincipals", "notRequestPrincipals"], read };

/// `when` on `request.auth.principal`.
pub(crate) const CONDITION: ConditionReader = ConditionReader { key: "request.auth.principal", read };

fn read(node: &ConfigNode<'_>, context: &FieldContext<'_>) -> Option<Rc<dyn AnyFieldValues>> {
    let patterns = read_values(node, RequestPrincipalPattern::parse)?;
    Some(FieldValues::shared(RequestPrincipalField { claims: Rc::clone(context.claims) }, patterns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear_reading::Matches;

    fn principal(issuer: &str, subject: &str) -> Option<RequestPrincipal> {
        let payload = serde_json::json!({"iss": issuer, "sub": subject}).to_string();
        RequestPrincipal::of(&Claims::of_payload(payload.as_bytes()).expect("JSON")).expect("texts")
    }

    #[test]
    fn rows_of_istio() {
        const ISSUER: &str = "https://accounts.example";
        let rows = [
            ("*", ISSUER, "ann", true),
            ("https://accounts.example/ann", ISSUER, "ann", true),
            ("https://accounts.example/ann", ISSUER, "anna", false),
            ("https://accounts.example/*", ISSUER, "ann", true),
            ("https://accounts.example/a*", ISSUER, "ann", true),
            ("https://accounts.example/b*", ISSUER, "ann", false),
            ("*/ann", ISSUER, "ann", true),
            ("*/ann", ISSUER, "joann", false),
            ("*example/ann", ISSUER, "ann", true),
            ("*ann", ISSUER, "joann", true),
            ("*ann", ISSUER, "ann", true),
            // The suffix is of the subject alone.
            ("*example/ann", "x", "example/ann", false),
            ("https*", ISSUER, "ann", true),
            ("accounts*", ISSUER, "ann", false),
            // A prefix is of the issuer alone.
            ("accounts.example*", "accounts", ".example", false),
            // Split at the last slash: a subject with one never matches exactly.
            ("https://accounts.example/a/b", ISSUER, "a/b", false),
            ("https://accounts.example/a/b", "https://accounts.example/a", "b", true),
            // Not Istio's: every star is any run of characters.
            ("*accounts*nn", ISSUER, "ann", true),
            ("https://*/ann*", ISSUER, "anna", true),
        ];
        for (text, issuer, subject, expected) in rows {
            let pattern = RequestPrincipalPattern::parse(text).expect(text);
            let principal = principal(issuer, subject).expect("both claims");
            assert_eq!(pattern.matches(&(issuer, subject)), expected, "{text} on {issuer} {subject}");
            let mut found = Matched::new();
            let index = Index::new([(pattern.clone(), ValueId(0))].into_iter());
            index.lookup(Some(&principal), &mut found);
            assert_eq!(!found.is_empty(), expected, "the index: {text} on {issuer} {subject}");
            assert_eq!(pattern.to_string(), text);
        }
    }

    #[test]
    fn a_token_without_both_claims_has_no_principal() {
        assert!(principal("", "ann").is_none());
        assert!(principal("x", "").is_none());
        assert!(principal("x", "a\0b").is_none());
        let of =
            |payload: &[u8]| RequestPrincipal::of(&Claims::of_payload(payload).expect("JSON")).map(|one| one.is_some());
        assert_eq!(of(br#"{"sub": "ann"}"#), Ok(false));
        assert_eq!(of(br#"{"iss": null, "sub": "ann"}"#), Ok(false));
        for payload in [&br#"{"iss": 1, "sub": "ann"}"#[..], br#"{"iss": "x", "sub": ["ann"]}"#] {
            let status = "its iss or sub is not a text";
            assert_eq!(of(payload), Err(AttributeError { attribute: "the token's payload", status }));
        }
        assert!(RequestPrincipal::of(&Claims::default()).is_ok_and(|one| one.is_none()));
    }

    #[test]
    fn a_scheme_is_no_issuer() {
        let message =
            "bad request principal `https://acc*`: what follows the last slash is the subject, write `https://acc*/*`";
        assert_eq!(RequestPrincipalPattern::parse("https://acc*").err().as_deref(), Some(message));
        assert!(RequestPrincipalPattern::parse("https://acc*/*").is_ok());
    }

    #[test]
    fn a_value_that_names_no_subject_is_refused() {
        for text in ["ann", "https://accounts.example/", "/ann"] {
            let message =
                format!("bad request principal `{text}`: expected issuer/subject, as in `https://issuer.example/*`");
            assert_eq!(RequestPrincipalPattern::parse(text), Err(message));
        }
    }
}
