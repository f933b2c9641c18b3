//! The claims of a token, out of its payload.

use crate::collections::sort::sort_by;
use crate::config::value::Value;
use crate::identity::error::AttributeError;

pub(crate) fn unreadable(status: &'static str) -> AttributeError {
    AttributeError { attribute: "the token's payload", status }
}

/// The claims of a token: a JSON object (RFC 7519, section 4). None at all where there is no token.
///
/// The entries of objects are sorted by key, so that many policies find their claims in one with many.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Claims(Value);

impl Default for Claims {
    fn default() -> Self {
        Self(Value::Null)
    }
}

impl Claims {
    fn new(mut payload: Value) -> Self {
        sort_objects(&mut payload);
        Self(payload)
    }

    /// Picks the payload among all that Envoy's JWT filter has set.
    ///
    /// Beside payloads (`payload_in_metadata`) it keeps there, under keys that are configured too, the headers of tokens
    /// (`header_in_metadata`) and why one was not validated (`failed_status_in_metadata`).
    pub(crate) fn of_metadata(kept: Value, keys: &[Box<str>]) -> Result<Self, AttributeError> {
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
        Ok(payload.map(|(_, payload)| Self::new(payload)).unwrap_or_default())
    }

    /// Reports whether there is no token.
    pub(crate) fn is_none(&self) -> bool {
        self.0 == Value::Null
    }

    /// Reads the decoded payload of a token; none where it is not a JSON object.
    pub(crate) fn of_payload(json: &[u8]) -> Option<Self> {
        Value::of_json(json).filter(|document| matches!(document, Value::Object(_))).map(Self::new)
    }

    /// Returns the claim at a path of names. The last of repeated names counts, as in Envoy.
    pub(crate) fn value<N: AsRef<str>>(&self, names: &[N]) -> Option<&Value> {
        names.iter().try_fold(&self.0, |value, name| match value {
            Value::Object(entries) => {
                let behind = entries.partition_point(|(key, _)| key.as_str() <= name.as_ref());
                let (key, value) = entries.get(behind.checked_sub(1)?)?;
                (key == name.as_ref()).then_some(value)
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

/// Sorts the entries of an object and of those in it; of repeated keys the last one stays the last. Values are nested no
/// deeper than their readers allow.
fn sort_objects(value: &mut Value) {
    let Value::Object(entries) = value else { return };
    for (_, value) in entries.iter_mut() {
        sort_objects(value);
    }
    sort_by(entries, |(one, _), (other, _)| one.cmp(other));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_found_by_the_names_on_the_way() {
        let claims = Claims::of_payload(br#"{"d": "y", "a": {"c": [1], "b": "x"}, "e": 1, "d": "z", "dd": 2}"#)
            .expect("an object");
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
}
