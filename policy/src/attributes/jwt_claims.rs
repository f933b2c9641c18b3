//! Claims of a validated JWT, and their location in dynamic metadata.

use std::rc::Rc;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::attributes::claims::{Claims, unreadable};
use crate::attributes::names::HeaderName;
use crate::attributes::request::Request;
use crate::config::printable::printable;
use crate::config::reader::{ConfigNode, Object};
use crate::config::value::Value;
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
        let claims = self.read_claims(request).and_then(|claims| {
            claims.check_words(&self.space_delimited)?;
            Ok(Rc::new(claims))
        });
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
                    Ok(Claims::of_payload(&json)?)
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
        let claim = |name: &'static str| match claims.value(&[name]).ok().flatten().as_deref() {
            Some(Value::Text(text)) => format!("{name} {}", printable(text.as_bytes())),
            _ => format!("no {name}"),
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
