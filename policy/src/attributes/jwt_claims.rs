//! Claims of a validated JWT, and their location in dynamic metadata.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::attributes::names::{HeaderName, MetadataKey};
use crate::attributes::request::Request;
use crate::config::printable::printable;
use crate::config::reader::{ConfigNode, Object};
use crate::config::value::{Number, Value};
use crate::identity::error::{AttributeError, EvalError};

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

    /// The value of `key` for this request, or none.
    ///
    /// Fails if the proxy does not supply the metadata, or if it is malformed.
    pub(crate) fn value<R: Request + ?Sized>(
        &self,
        key: &MetadataKey,
        request: &mut R,
    ) -> Result<Option<Value>, EvalError> {
        match key {
            MetadataKey::Claim(names) => Ok(self.claims(request)?.value(names).cloned()),
            MetadataKey::Filter { filter, key } => Ok(request.metadata()?.value(filter, key)?),
        }
    }

    /// Returns the claims of the request's token, or empty claims without a token.
    ///
    /// Fails if the payload is ambiguous or invalid: it is under a key that is not listed, there are several, or it is
    /// not a JSON object.
    pub(crate) fn claims<R: Request + ?Sized>(&self, request: &mut R) -> Result<Claims, EvalError> {
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

fn unreadable(status: &'static str) -> AttributeError {
    AttributeError { attribute: "the token's payload", status }
}

/// Base64url of JWTs (RFC 7515, section 2); padding is optional because Envoy can add it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The claims of a token: a JSON object (RFC 7519, section 4). None at all where there is no token.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Claims(Value);

impl Default for Claims {
    fn default() -> Self {
        Self(Value::Null)
    }
}

impl Claims {
    /// Picks the payload among all that Envoy's JWT filter has set.
    ///
    /// Beside payloads (`payload_in_metadata`) it keeps there, under keys that are configured too, the headers of tokens
    /// (`header_in_metadata`) and why one was not validated (`failed_status_in_metadata`).
    fn of_metadata(kept: Value, keys: &[Box<str>]) -> Result<Self, AttributeError> {
        let Value::Object(entries) = kept else { return Ok(Self::default()) };
        let (mut payload, mut unlisted, mut several) = (None, false, false);
        for (key, value) in entries {
            if !matches!(value, Value::Object(_)) || is_failed_status(&value) {
                continue;
            }
            match keys.iter().any(|listed| **listed == *key) {
                // The last of repeated keys counts.
                true => several |= payload.replace((key.clone(), value)).is_some_and(|(before, _)| before != key),
                // A listed key is a payload whatever it holds; an unlisted one can hold the header of a token.
                false => unlisted |= !is_jose_header(&value),
            }
        }
        if unlisted {
            return Err(unreadable(
                "Envoy keeps it under a key that identity.jwt.metadataKeys does not list, as the name of the provider with Envoy Gateway; list that key, or have payload_in_metadata name one that is listed",
            ));
        }
        if several {
            return Err(unreadable("there are several, under several keys of identity.jwt.metadataKeys"));
        }
        Ok(payload.map(|(_, payload)| Self(payload)).unwrap_or_default())
    }

    /// Reports whether there is no token.
    pub(crate) fn is_none(&self) -> bool {
        self.0 == Value::Null
    }

    /// Reads the decoded payload of a token; none where it is not a JSON object.
    pub(crate) fn of_payload(json: &[u8]) -> Option<Self> {
        Value::of_json(json).filter(|document| matches!(document, Value::Object(_))).map(Self)
    }

    /// Returns the claim at a path of names. The last of repeated names counts, as in Envoy.
    pub(crate) fn value<N: AsRef<str>>(&self, names: &[N]) -> Option<&Value> {
        names.iter().try_fold(&self.0, |value, name| match value {
            Value::Object(entries) => {
                entries.iter().rev().find(|(key, _)| key == name.as_ref()).map(|(_, value)| value)
            }
            _ => None,
        })
    }
}

/// Reports whether a value is that of `failed_status_in_metadata`: only a number `code` and a string `message`.
fn is_failed_status(value: &Value) -> bool {
    let Value::Object(entries) = value else { return false };
    entries.len() == 2
        && entries.iter().all(|(key, value)| match key.as_str() {
            "code" => matches!(value, Value::Number(_)),
            "message" => value.as_str().is_some(),
            _ => false,
        })
}

/// Reports whether a value is a JOSE header (RFC 7515, section 4): it has an algorithm, and no issuer or subject.
fn is_jose_header(value: &Value) -> bool {
    let Value::Object(entries) = value else { return false };
    let has = |name: &str| entries.iter().any(|(key, _)| key == name);
    has("alg") && !has("iss") && !has("sub")
}

/// Values of a claim as policies compare them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClaimTexts {
    /// Itself, or its elements where it is a list.
    pub(crate) texts: Vec<String>,
    /// True if a number is ambiguous: its double stands for more than one integer.
    pub(crate) is_unknown: bool,
}

impl ClaimTexts {
    /// A claim is a text, `true`, `false` or a whole number in decimal digits, however that was written; in a list each
    /// element is. Of anything else nothing can be compared. A text of `space_delimited` is the list of its words.
    pub(crate) fn of(value: &Value, space_delimited: bool) -> Self {
        let mut found = Self::default();
        match value {
            Value::List(items) => items.iter().for_each(|item| found.add(item)),
            Value::Text(text) if space_delimited => {
                found.texts.extend(text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned));
            }
            value => found.add(value),
        }
        found
    }

    fn add(&mut self, value: &Value) {
        /// Smallest magnitude at which a double stands for more than one integer.
        const INEXACT: u64 = 1 << 53;
        let text = match value {
            Value::Text(text) => text.clone(),
            Value::Bool(value) => value.to_string(),
            Value::Number(number) => match **number {
                Number::Whole(number) if number < INEXACT => number.to_string(),
                Number::Negative(number) if number.unsigned_abs() < INEXACT => number.to_string(),
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
    fn claims_are_found_by_the_names_on_the_way() {
        let claims = Claims::of_payload(br#"{"a": {"b": "x", "c": [1]}, "d": "y", "d": "z"}"#).expect("an object");
        let text = |names: &[&str]| claims.value(names).and_then(Value::as_str).map(str::to_owned);
        assert_eq!(text(&["a", "b"]).as_deref(), Some("x"));
        assert_eq!(text(&["d"]).as_deref(), Some("z"));
        assert_eq!(text(&["a", "b", "c"]), None);
        assert_eq!(text(&["b"]), None);
        assert_eq!(Claims::of_payload(b"[]"), None);
        assert_eq!(Claims::of_payload(b"{"), None);
    }

    #[test]
    fn a_payload_is_found_under_the_listed_keys_or_stops_the_decision() {
        const TOKEN: &str = r#"{"iss": "a", "sub": "ann"}"#;
        let found = |kept: &str, keys: &[&str]| {
            let keys: Vec<Box<str>> = keys.iter().map(|key| Box::from(*key)).collect();
            match Claims::of_metadata(Value::of_json(kept.as_bytes()).expect("JSON"), &keys) {
                Ok(claims) if claims.is_none() => "none".to_owned(),
                Ok(claims) => claims.value(&["iss"]).and_then(Value::as_str).unwrap_or("no iss").to_owned(),
                Err(error) => error.status.split([' ', ',']).take(3).collect::<Vec<_>>().join(" "),
            }
        };
        let unlisted = "Envoy keeps it";
        let rows: [(String, &[&str], &str); 13] = [
            ("{}".to_owned(), &["payload"], "none"),
            (format!(r#"{{"payload": {TOKEN}}}"#), &["payload"], "a"),
            (format!(r#"{{"corp": {TOKEN}}}"#), &["payload"], unlisted),
            (format!(r#"{{"corp": {TOKEN}}}"#), &["payload", "corp"], "a"),
            (format!(r#"{{"corp": {TOKEN}, "payload": {{"iss": "b"}}}}"#), &["payload"], unlisted),
            (format!(r#"{{"corp": {TOKEN}, "payload": {{"iss": "b"}}}}"#), &["payload", "corp"], "there are several"),
            (r#"{"failed": {"code": 13, "message": "Jwt is expired"}}"#.to_owned(), &["payload"], "none"),
            (r#"{"payload": {"code": 13, "message": "Jwt is expired"}}"#.to_owned(), &["payload"], "none"),
            (r#"{"payload": {"code": 13, "message": "x", "iss": "c"}}"#.to_owned(), &["payload"], "c"),
            (r#"{"header": {"alg": "RS256", "kid": "1"}}"#.to_owned(), &["payload"], "none"),
            (r#"{"corp": {"alg": "RS256", "iss": "x"}}"#.to_owned(), &["payload"], unlisted),
            (r#"{"corp": "text", "payload": null}"#.to_owned(), &["payload"], "none"),
            (r#"{"payload": {"alg": "RS256", "group": "x"}}"#.to_owned(), &["payload"], "no iss"),
        ];
        for (kept, keys, expected) in rows {
            assert_eq!(found(&kept, keys), expected, "{kept} under {keys:?}");
        }
    }

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
            let expected = ClaimTexts { texts: texts.iter().map(|text| (*text).to_owned()).collect(), is_unknown };
            assert_eq!(ClaimTexts::of(&value, space_delimited), expected, "{json}");
        }
    }
}
