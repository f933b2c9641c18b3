//! The claims of a token, out of its payload.

use std::borrow::Cow;

use crate::collections::sort::sort_by;
use crate::config::document::struct_view::{Scalar, StructView, Unread, objects};
use crate::config::value::{Number, Value};
use crate::identity::error::AttributeError;

pub(crate) fn unreadable(status: &'static str) -> AttributeError {
    AttributeError { attribute: "the token's payload", status }
}

/// Most values in a payload: entries of its objects, items of its lists, words of its space-delimited claims. Each costs
/// more than its bytes.
const MAX_VALUES: usize = 8_192;

/// The most commas of a payload in a header. Envoy has not read that one, so all of it is read here.
const MAX_COMMAS: usize = 3_072;

const TOO_MANY_COMMAS: &str = "its header has more than 3,072 commas";

const TOO_MANY_VALUES: &str = "it has more than 8,192 values in its objects, lists and lists of words";

/// The claims of a token: a JSON object (RFC 7519, section 4).
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims {
    /// None where there is no token.
    payload: Option<Payload>,
    /// Values that it can still have.
    left: usize,
}

#[derive(Clone, Debug)]
enum Payload {
    /// The payload that Envoy keeps in metadata.
    Struct(StructView),
    /// The payload of a header. The entries of objects are sorted by key, so that many policies find their claims in one
    /// with many.
    Json(Value),
}

impl Claims {
    /// Picks the payload among all that Envoy's JWT filter has set, a Struct in its wire form.
    ///
    /// Beside payloads (`payload_in_metadata`) it keeps there, under keys that are configured too, the headers of tokens
    /// (`header_in_metadata`) and why one was not validated (`failed_status_in_metadata`).
    pub(crate) fn of_metadata(kept: &[u8], keys: &[Box<str>]) -> Result<Self, AttributeError> {
        let mut left = MAX_VALUES;
        let (mut payload, mut unlisted, mut several) = (None, false, false);
        for object in objects(kept) {
            let (key, value) = object.map_err(unread)?;
            let value = StructView::new(value, &mut left).map_err(unread)?;
            if is_failed_status(&value)? {
                continue;
            }
            match keys.iter().any(|listed| listed.as_bytes() == key) {
                // The last of repeated keys counts.
                true => several |= payload.replace((key, value)).is_some_and(|(before, _)| before != key),
                // A listed key is a payload whatever it holds; an unlisted one can hold the header of a token.
                false => unlisted |= !is_jose_header(&value)?,
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
        Ok(Self { payload: payload.map(|(_, payload)| Payload::Struct(payload)), left })
    }

    /// Reports whether there is no token.
    pub(crate) fn is_none(&self) -> bool {
        self.payload.is_none()
    }

    /// Reads the decoded payload of a token, which has to be a JSON object.
    pub(crate) fn of_payload(json: &[u8]) -> Result<Self, AttributeError> {
        if json.iter().filter(|byte| **byte == b',').count() > MAX_COMMAS {
            return Err(unreadable(TOO_MANY_COMMAS));
        }
        let payload = Value::of_json(json).filter(|document| matches!(document, Value::Object(_)));
        let mut payload = payload.ok_or(unreadable("its header is not a JSON object"))?;
        let mut left = MAX_VALUES;
        count(&payload, &mut left).ok_or(unreadable(TOO_MANY_VALUES))?;
        sort_objects(&mut payload);
        Ok(Self { payload: Some(Payload::Json(payload)), left })
    }

    /// Fails if the words of the listed claims are more values than a payload can have.
    pub(crate) fn check_words(&self, listed: &[Box<str>]) -> Result<(), AttributeError> {
        let mut left = self.left;
        for name in listed {
            if let Some(Value::Text(words)) = self.value(&[name])?.as_deref() {
                let spaces = words.bytes().filter(|byte| *byte == b' ').count();
                left = left.checked_sub(spaces).ok_or(unreadable(TOO_MANY_VALUES))?;
            }
        }
        Ok(())
    }

    /// Calls `each` with the texts of the claim at a path of names as policies compare them. Returns true if a number is
    /// ambiguous: its double stands for more than one integer.
    ///
    /// A claim is a text, `true`, `false` or a whole number in decimal digits, however that was written; in a list each
    /// element is. Of anything else nothing can be compared. A text that is a list of words is each of them.
    pub(crate) fn each_text<N: AsRef<str>>(
        &self,
        names: &[N],
        is_words: bool,
        each: &mut dyn FnMut(&str),
    ) -> Result<bool, AttributeError> {
        if is_words
            && let Some(value) = self.value(names)?
            && let Some(words) = value.as_str()
        {
            words.split(' ').filter(|word| !word.is_empty()).for_each(each);
            return Ok(false);
        }
        let mut is_ambiguous = false;
        let mut add = |scalar: Scalar<'_>| is_ambiguous |= !put_text(scalar, each);
        match &self.payload {
            None => {}
            Some(Payload::Struct(payload)) => payload.each_scalar(names, &mut add).map_err(unread)?,
            Some(Payload::Json(payload)) => match value_at(payload, names) {
                Some(Value::List(items)) => items.iter().for_each(|item| add(scalar(item))),
                one => one.into_iter().for_each(|one| add(scalar(one))),
            },
        }
        Ok(is_ambiguous)
    }

    /// Returns the claim at a path of names. The last of repeated names counts, as in Envoy.
    pub(crate) fn value<N: AsRef<str>>(&self, names: &[N]) -> Result<Option<Cow<'_, Value>>, AttributeError> {
        match &self.payload {
            None => Ok(None),
            Some(Payload::Struct(payload)) => Ok(payload.value(names).map_err(unread)?.map(Cow::Owned)),
            Some(Payload::Json(payload)) => Ok(value_at(payload, names).map(Cow::Borrowed)),
        }
    }
}

/// Gives the text of a value to `each`, if it has one. False if it is an ambiguous number.
fn put_text(value: Scalar<'_>, each: &mut dyn FnMut(&str)) -> bool {
    /// Smallest magnitude at which a double stands for more than one integer.
    const INEXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Scalar::Text(text) => each(text),
        Scalar::Bool(value) => each(if value { "true" } else { "false" }),
        Scalar::Number(number) if number.fract() == 0.0 && number.abs() < INEXACT => each(digits(number, &mut [0; 17])),
        Scalar::Number(number) => return number.is_finite() && number.fract() != 0.0,
        Scalar::Other => {}
    }
    true
}

/// Writes a whole number below 2^53 in decimal digits.
fn digits(number: f64, buffer: &mut [u8; 17]) -> &str {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, and far within the range")]
    let mut left = number.abs() as u64;
    let mut start = buffer.len();
    for (at, byte) in buffer.iter_mut().enumerate().rev() {
        let is_sign = left == 0 && start < 17;
        if is_sign && number >= 0.0 {
            break;
        }
        start = at;
        if is_sign {
            *byte = b'-';
            break;
        }
        *byte = b"0123456789".get(usize::try_from(left % 10).unwrap_or_default()).copied().unwrap_or_default();
        left /= 10;
    }
    buffer.get(start..).and_then(|digits| str::from_utf8(digits).ok()).unwrap_or_default()
}

/// A value of a JSON payload.
fn scalar(value: &Value) -> Scalar<'_> {
    match value {
        Value::Text(text) => Scalar::Text(text),
        Value::Bool(value) => Scalar::Bool(*value),
        #[expect(
            clippy::cast_precision_loss,
            reason = "an integer beyond the precision of a double is ambiguous as well"
        )]
        Value::Number(number) => Scalar::Number(match **number {
            Number::Whole(number) => number as f64,
            Number::Negative(number) => number as f64,
            Number::NonInteger => 0.5,
            Number::Inexact => f64::INFINITY,
        }),
        Value::Null | Value::List(_) | Value::Object(_) => Scalar::Other,
    }
}

fn value_at<'v, N: AsRef<str>>(payload: &'v Value, names: &[N]) -> Option<&'v Value> {
    names.iter().try_fold(payload, |value, name| match value {
        Value::Object(entries) => {
            let behind = entries.partition_point(|(key, _)| key.as_str() <= name.as_ref());
            let (key, value) = entries.get(behind.checked_sub(1)?)?;
            (key == name.as_ref()).then_some(value)
        }
        _ => None,
    })
}

fn unread(reason: Unread) -> AttributeError {
    unreadable(match reason {
        Unread::Malformed => "it is malformed",
        Unread::TooManyValues => TOO_MANY_VALUES,
    })
}

/// Reports whether an object is that of `failed_status_in_metadata`: only a number `code` and a string `message`.
fn is_failed_status(object: &StructView) -> Result<bool, AttributeError> {
    if object.len() != 2 {
        return Ok(false);
    }
    let value = |key| object.value(&[key]).map_err(unread);
    Ok(matches!((value("code")?, value("message")?), (Some(Value::Number(_)), Some(Value::Text(_)))))
}

/// Reports whether an object is a JOSE header (RFC 7515, section 4): it has an algorithm, and no issuer or subject.
fn is_jose_header(object: &StructView) -> Result<bool, AttributeError> {
    let has = |key| Ok(object.value(&[key]).map_err(unread)?.is_some());
    Ok(has("alg")? && !has("iss")? && !has("sub")?)
}

/// Takes the values within a value off the number that is left; `None` where there are more. Values are nested no deeper
/// than their readers allow.
fn count(value: &Value, left: &mut usize) -> Option<()> {
    let mut each = |value| {
        *left = left.checked_sub(1)?;
        count(value, left)
    };
    match value {
        Value::Object(entries) => entries.iter().try_for_each(|(_, value)| each(value)),
        Value::List(items) => items.iter().try_for_each(each),
        _ => Some(()),
    }
}

/// Sorts the entries of an object and of those in it; of repeated keys the last one stays the last.
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
    use crate::test_support::protobuf_writer::structure;

    #[test]
    fn claims_are_found_by_the_names_on_the_way() {
        let json = br#"{"d": "y", "a": {"c": [1], "b": "x"}, "e": 1, "d": "z", "dd": 2}"#;
        for claims in [Claims::of_payload(json), of_metadata(r#"{"payload": PAYLOAD}"#, json, &["payload"])] {
            let claims = claims.expect("an object");
            let text = |names: &[&str]| {
                let value = claims.value(names).expect("a value");
                value.and_then(|value| value.as_str().map(str::to_owned))
            };
            assert_eq!(text(&["a", "b"]).as_deref(), Some("x"));
            assert_eq!(text(&["d"]).as_deref(), Some("z"));
            assert_eq!(text(&["a", "b", "c"]), None);
            assert_eq!(text(&["b"]), None);
            assert_eq!(text(&["d", "a"]), None);
            assert_eq!(claims.value(&["a", "c"]), Ok(Some(Cow::Owned(Value::of_json(b"[1]").expect("JSON")))));
        }
        assert!(Claims::of_payload(b"[]").is_err());
        assert!(Claims::of_payload(b"{").is_err());
    }

    /// The claims of the payload in what the JWT filter keeps.
    fn of_metadata(kept: &str, payload: &[u8], keys: &[&str]) -> Result<Claims, AttributeError> {
        let kept = kept.replace("PAYLOAD", str::from_utf8(payload).expect("text"));
        let keys: Vec<Box<str>> = keys.iter().map(|key| Box::from(*key)).collect();
        Claims::of_metadata(&structure(&Value::of_json(kept.as_bytes()).expect("JSON")), &keys)
    }

    #[test]
    fn a_payload_of_many_values_stops_the_decision() {
        let payload = |before: &str, values: usize, behind: &str| {
            [before, &vec!["1"; values].join(","), behind].concat().into_bytes()
        };
        for (before, values, behind) in [
            (r#"{"a": ["#, MAX_VALUES - 1, "]}"),
            (r#"{"a": {"b": ["#, MAX_VALUES - 2, "]}}"),
            (r#"{"a": [["#, MAX_VALUES - 3, r#"]], "b": true}"#),
        ] {
            let most = payload(before, values, behind);
            let claims = of_metadata(r#"{"payload": PAYLOAD}"#, &most, &["payload"]);
            assert!(claims.is_ok(), "{before}: {:?}", claims.err());
            let more = payload(before, values + 1, behind);
            let error = Some(unreadable(TOO_MANY_VALUES));
            let claims = of_metadata(r#"{"payload": PAYLOAD}"#, &more, &["payload"]);
            assert_eq!(claims.err(), error, "{before}");
        }
        for (commas, error) in [(MAX_COMMAS, None), (MAX_COMMAS + 1, Some(unreadable(TOO_MANY_COMMAS)))] {
            let listed = payload(r#"{"a": ["#, commas + 1, "]}");
            assert_eq!(Claims::of_payload(&listed).err(), error, "{commas} commas");
        }
        let nested = [r#"{"a": ["#, &["[[1]]"; 3_000].join(","), "]}"].concat();
        assert_eq!(Claims::of_payload(nested.as_bytes()).err(), Some(unreadable(TOO_MANY_VALUES)));
        for (words, is_read) in [(MAX_VALUES, true), (MAX_VALUES + 1, false)] {
            let json = format!(r#"{{"scope": "{}"}}"#, "a ".repeat(words - 1));
            let claims = Claims::of_payload(json.as_bytes()).expect("an object");
            assert_eq!(claims.check_words(&["group".into(), "scope".into()]).is_ok(), is_read, "{words} words");
            assert_eq!(claims.check_words(&["group".into()]), Ok(()));
        }
    }

    #[test]
    fn a_payload_is_found_under_the_listed_keys_or_stops_the_decision() {
        const TOKEN: &str = r#"{"iss": "a", "sub": "ann"}"#;
        let found = |kept: &str, keys: &[&str]| match of_metadata(kept, b"", keys) {
            Ok(claims) if claims.is_none() => "none".to_owned(),
            Ok(claims) => match claims.value(&["iss"]) {
                Ok(Some(issuer)) => issuer.as_str().expect("a text").to_owned(),
                other => other.map_or_else(|error| error.to_string(), |_| "no iss".to_owned()),
            },
            Err(error) => error.status.split([' ', ',']).take(3).collect::<Vec<_>>().join(" "),
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

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
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
            let json = format!(r#"{{"a": {json}}}"#);
            let payloads = [
                Claims::of_payload(json.as_bytes()),
                of_metadata(r#"{"payload": PAYLOAD}"#, json.as_bytes(), &["payload"]),
            ];
            for claims in payloads.map(|claims| claims.expect("an object")) {
                let mut found = Vec::new();
                let is_ambiguous = claims.each_text(&["a"], space_delimited, &mut |text| found.push(text.to_owned()));
                assert_eq!((found, is_ambiguous), (owned(texts), Ok(is_unknown)), "{json}");
            }
        }
    }
}
