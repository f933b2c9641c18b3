//! Claims of a validated JWT, and their location in dynamic metadata.

use std::borrow::Cow;
use std::rc::Rc;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::attributes::claims::{Claims, unreadable};
use crate::attributes::names::HeaderName;
use crate::attributes::request::Request;
use crate::config::printable::printable;
use crate::config::reader::{ConfigNode, Object};
use crate::config::value::{Number, Value};
use crate::identity::error::EvalError;

/// Metadata namespace of Envoy's JWT filter, and the key under which Istio makes it store the payload
/// (`payload_in_metadata`).
const JWT_FILTER: &str = "envoy.filters.http.jwt_authn";
const PAYLOAD: &str = "payload";

/// The claims that Istio has Envoy split at blanks (`normalize_payload_in_metadata`, as in RFC 8693, section 4.2).
const SPACE_DELIMITED: [&str; 2] = ["scope", "permission"];

/// The most keys and claims that `identity.jwt` lists.
const MAX_LISTED: usize = 64;

/// `identity.jwt`: where claims come from, and which of them are lists of words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimSource {
    location: PayloadLocation,
    space_delimited: Box<[Box<str>]>,
}

/// Location of the payload of a validated token.
#[derive(Clone, Debug, PartialEq, Eq)]
enum PayloadLocation {
    /// The metadata of `envoy.filters.http.jwt_authn`, under one of these keys.
    Metadata(Box<[Box<str>]>),
    /// A header in which a proxy before this filter forwards it, as Envoy's `forward_payload_header` does.
    Header(HeaderName),
}

impl Default for ClaimSource {
    fn default() -> Self {
        Self {
            location: PayloadLocation::Metadata([PAYLOAD.into()].into()),
            space_delimited: SPACE_DELIMITED.map(Box::from).into(),
        }
    }
}

impl ClaimSource {
    /// Reads `identity.jwt`.
    pub(crate) fn read(identity: &Object<'_>) -> Option<Self> {
        let Some(node) = identity.optional("jwt") else { return Some(Self::default()) };
        let object = node.object()?;
        let header = object
            .optional("header")
            .map(|header| HeaderName::parse(header.non_empty_str()?).map_err(|problem| header.error(problem)).ok());
        let keys = object.optional("metadataKeys").map(|node| {
            if header.is_some() {
                node.error(
                    "is for payloads in metadata, and header says that a header carries them; keep one of the two",
                );
            }
            texts(node.non_empty_list(MAX_LISTED, "to mean payload")?)
        });
        let words = object.optional("spaceDelimitedClaims").map(|node| texts(node.items_up_to(MAX_LISTED)?));
        object.finish();
        let defaults = Self::default();
        Some(Self {
            location: match (header, keys) {
                (Some(header), _) => PayloadLocation::Header(header?),
                (None, Some(keys)) => PayloadLocation::Metadata(keys?),
                (None, None) => defaults.location,
            },
            space_delimited: match words {
                Some(words) => words?,
                None => defaults.space_delimited,
            },
        })
    }

    /// Reports whether a claim is a space-delimited list; only the listed top-level claims are.
    pub(crate) fn is_space_delimited<N: AsRef<str>>(&self, names: &[N]) -> bool {
        match names {
            [name] => self.space_delimited.iter().any(|listed| **listed == *name.as_ref()),
            _ => false,
        }
    }

    /// Returns the claims of the request's token, or empty claims without a token. They are read once a request.
    ///
    /// Fails if the payload is ambiguous or invalid: it is under a key that is not listed, there are several, or it is
    /// not a JSON object.
    pub(crate) fn claims<R: Request + ?Sized>(&self, request: &mut R) -> Result<Rc<Claims>, EvalError> {
        if let Some(known) = request.memo().and_then(|memo| memo.claims.clone()) {
            return known;
        }
        let claims = self.read_claims(request).map(Rc::new);
        if let Some(memo) = request.memo() {
            memo.claims = Some(claims.clone());
        }
        claims
    }

    fn read_claims<R: Request + ?Sized>(&self, request: &mut R) -> Result<Claims, EvalError> {
        match &self.location {
            PayloadLocation::Metadata(keys) => {
                let kept = request.metadata()?.of_filter(JWT_FILTER)?;
                Ok(kept.map_or(Ok(Claims::default()), |kept| Claims::of_metadata(kept, keys))?)
            }
            PayloadLocation::Header(name) => match request.header(name.as_str())?.as_slice() {
                [] => Ok(Claims::default()),
                [payload] => {
                    let json = BASE64.decode(payload).map_err(|_| unreadable("its header is not base64"))?;
                    Claims::of_payload(&json).ok_or(unreadable("its header is not a JSON object").into())
                }
                _ => Err(unreadable("its header comes several times").into()),
            },
        }
    }

    /// The request's token in words: there is none, it was not validated, or whose it is.
    pub(crate) fn describe<R: Request + ?Sized>(&self, request: &mut R) -> Option<String> {
        let claims = self.claims(request).ok()?;
        if claims.is_none() {
            let is_bearer =
                |value: &&[u8]| value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"Bearer "));
            let unvalidated = request.header("authorization").is_ok_and(|values| values.iter().any(is_bearer));
            let token = if unvalidated { "with a token that was not validated" } else { "without a token" };
            return Some(match &self.location {
                PayloadLocation::Metadata(_) => format!("{token} (jwt_authn passed none on by payload_in_metadata)"),
                PayloadLocation::Header(name) => format!("{token} (header {} is absent)", name.as_str()),
            });
        }
        let claim = |name: &'static str| match claims.value(&[name]).and_then(Value::as_str) {
            Some(text) => format!("{name} {}", printable(text.as_bytes())),
            None => format!("no {name}"),
        };
        Some(format!("with a token of {} and {}", claim("iss"), claim("sub")))
    }
}

/// The strings of a list, none of them empty.
fn texts<'n>(items: impl Iterator<Item = ConfigNode<'n>>) -> Option<Box<[Box<str>]>> {
    let read: Vec<_> = items.map(|item| item.non_empty_str().map(Box::from)).collect();
    read.into_iter().collect()
}

/// Base64url of JWTs (RFC 7515, section 2); padding is optional because Envoy can add it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Values of a claim as policies compare them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClaimTexts<'v> {
    /// Itself, or its elements where it is a list.
    pub(crate) texts: Vec<Cow<'v, str>>,
    /// True if a number is ambiguous: its double stands for more than one integer.
    pub(crate) is_unknown: bool,
}

impl<'v> ClaimTexts<'v> {
    /// A claim is a text, `true`, `false` or a whole number in decimal digits, however that was written; in a list each
    /// element is. Of anything else nothing can be compared. A text of `space_delimited` is the list of its words.
    pub(crate) fn of(value: &'v Value, space_delimited: bool) -> Self {
        let mut found = Self::default();
        match value {
            Value::List(items) => {
                found.texts.reserve(items.len());
                items.iter().for_each(|item| found.add(item));
            }
            Value::Text(text) if space_delimited => {
                found.texts.extend(text.split(' ').filter(|word| !word.is_empty()).map(Cow::Borrowed));
            }
            value => found.add(value),
        }
        found
    }

    fn add(&mut self, value: &'v Value) {
        /// Smallest magnitude at which a double stands for more than one integer.
        const INEXACT: u64 = 1 << 53;
        let text = match value {
            Value::Text(text) => Cow::Borrowed(text.as_str()),
            Value::Bool(value) => Cow::Owned(value.to_string()),
            Value::Number(number) => match **number {
                Number::Whole(number) if number < INEXACT => Cow::Owned(number.to_string()),
                Number::Negative(number) if number.unsigned_abs() < INEXACT => Cow::Owned(number.to_string()),
                Number::NonInteger => return,
                Number::Whole(_) | Number::Negative(_) | Number::Inexact => {
                    self.is_unknown = true;
                    return;
                }
            },
            Value::Null | Value::List(_) | Value::Object(_) => return,
        };
        self.texts.push(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_a_text_a_truth_value_or_a_whole_number() {
        let rows: [(&str, bool, &[&str], bool); 22] = [
            (r#""admin""#, false, &["admin"], false),
            ("true", false, &["true"], false),
            ("false", false, &["false"], false),
            ("7", false, &["7"], false),
            ("-7", false, &["-7"], false),
            ("7.0", false, &["7"], false),
            ("1e3", false, &["1000"], false),
            ("-0", false, &["0"], false),
            ("9007199254740991", false, &["9007199254740991"], false),
            ("9007199254740993", false, &[], true),
            ("-9007199254740993", false, &[], true),
            ("1e300", false, &[], true),
            ("1.5", false, &[], false),
            ("null", false, &[], false),
            (r#"{"a": "b"}"#, false, &[], false),
            (r#"["a", 1, true, ["b"], null, 1e20]"#, false, &["a", "1", "true"], true),
            (r#""read guest""#, false, &["read guest"], false),
            (r#""read guest""#, true, &["read", "guest"], false),
            (r#""  read   guest ""#, true, &["read", "guest"], false),
            (r#"" ""#, true, &[], false),
            (r#"["read guest"]"#, true, &["read guest"], false),
            ("7", true, &["7"], false),
        ];
        for (json, space_delimited, texts, is_unknown) in rows {
            let value = Value::of_json(json.as_bytes()).expect(json);
            let expected = ClaimTexts { texts: texts.iter().map(|text| Cow::Borrowed(*text)).collect(), is_unknown };
            assert_eq!(ClaimTexts::of(&value, space_delimited), expected, "{json}");
        }
    }
}
