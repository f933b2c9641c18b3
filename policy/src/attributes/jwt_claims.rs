//! What a validated token says about the request's user, and where the proxy keeps it.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::attributes::names::{HeaderName, MetadataKey};
use crate::attributes::request::Request;
use crate::config::document::Value;
use crate::config::reader::Object;
use crate::identity::error::{AttributeError, EvalError};

/// Where Envoy's JWT filter leaves what it has validated, and the key under which Istio has it keep the payload
/// (`payload_in_metadata`).
const JWT_FILTER: &str = "envoy.filters.http.jwt_authn";
const PAYLOAD: &str = "payload";

/// Where the claims come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ClaimSource {
    /// The metadata of `envoy.filters.http.jwt_authn`.
    #[default]
    JwtFilter,
    /// A header in which a proxy before this filter forwards the payload, as Envoy's `forward_payload_header` does.
    Header(HeaderName),
}

impl ClaimSource {
    /// Reads `identity.jwt`.
    pub(crate) fn read(identity: &Object<'_>) -> Option<Self> {
        let Some(node) = identity.optional("jwt") else { return Some(Self::default()) };
        let object = node.object()?;
        let header = object.required("header", "name the header that carries the token's payload");
        let name = header.as_ref().and_then(|header| {
            HeaderName::parse(header.non_empty_str()?).map_err(|problem| header.error(problem)).ok()
        });
        object.finish();
        name.map(Self::Header)
    }

    /// The value of `key` for this request, or none.
    ///
    /// Fails where the proxy does not tell, and where what it tells cannot be read.
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

    pub(crate) fn claims<R: Request + ?Sized>(&self, request: &mut R) -> Result<Claims, EvalError> {
        let unreadable = |status| AttributeError { attribute: "the token's payload", status };
        match self {
            Self::JwtFilter => Ok(request.metadata()?.value(JWT_FILTER, PAYLOAD)?.map(Claims).unwrap_or_default()),
            Self::Header(name) => match request.header(name.as_str())?.as_slice() {
                [] => Ok(Claims::default()),
                [payload] => {
                    let json = BASE64.decode(payload).map_err(|_| unreadable("its header is not base64"))?;
                    Claims::of_payload(&json).ok_or(unreadable("its header is not a JSON object").into())
                }
                _ => Err(unreadable("its header comes several times").into()),
            },
        }
    }
}

/// As JWTs have it (RFC 7515, section 2), with or without padding, which Envoy can add.
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
    /// Reads the decoded payload of a token; none where it is not a JSON object.
    pub(crate) fn of_payload(json: &[u8]) -> Option<Self> {
        Value::of_json(json).filter(|document| matches!(document, Value::Object(_))).map(Self)
    }

    /// The claim at the end of a way of names. Quantifier a name that is given twice the last counts, as in Envoy.
    pub(crate) fn value<N: AsRef<str>>(&self, names: &[N]) -> Option<&Value> {
        names.iter().try_fold(&self.0, |value, name| match value {
            Value::Object(entries) => {
                entries.iter().rev().find(|(key, _)| key == name.as_ref()).map(|(_, value)| value)
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_found_by_the_names_on_the_way() {
        let claims = Claims::of_payload(br#"{"a": {"b": "x", "c": [1]}, "d": "y", "d": "z"}"#).expect("an object");
        let text = |names: &[&str]| claims.value(names).and_then(Value::text).map(str::to_owned);
        assert_eq!(text(&["a", "b"]).as_deref(), Some("x"));
        assert_eq!(text(&["d"]).as_deref(), Some("z"));
        assert_eq!(text(&["a", "b", "c"]), None);
        assert_eq!(text(&["b"]), None);
        assert_eq!(Claims::of_payload(b"[]"), None);
        assert_eq!(Claims::of_payload(b"{"), None);
    }
}
