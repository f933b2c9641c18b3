//! Claims of a token: its payload in the first line, then conditions, each a claim, `=` and a value.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sallyport_policy::{Decision, IdentityAuthz};

use crate::json::Json;
use crate::request::TextRequest;

/// The most conditions of one token.
const MAX_CONDITIONS: usize = 8;

/// The claims that are lists of words.
const WORD_LISTS: [&str; 2] = ["scope", "permission"];

/// Checks that a token is read alike from a header and from metadata, and that conditions on claims hold as the plain
/// reading says.
pub fn check(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let payload = lines.next().unwrap_or_default();
    let Some(json @ Json::Object(_)) = Json::parse(payload) else { return };
    if !json.is_exact() || is_another_message(&json) {
        return;
    }
    let in_metadata = TextRequest::parse(&[&[b"token ", payload].concat()]);
    let encoded = BASE64_URL_SAFE_NO_PAD.encode(payload);
    let in_header = TextRequest::parse(&[&[b"header x-payload:", encoded.as_bytes()].concat()]);
    for line in lines.take(MAX_CONDITIONS) {
        let Some((claim, value)) = str::from_utf8(line).ok().and_then(|line| line.split_once('=')) else { continue };
        // A star or a bracket is a pattern, which others compare.
        if value.is_empty() || value.contains('*') || claim.contains(['[', ']', '*']) {
            continue;
        }
        let expected = holds(&json, claim, value);
        for (identity, request) in
            [("", &in_metadata), (r#""identity": {"jwt": {"header": "x-payload"}},"#, &in_header)]
        {
            for (action, key, matches) in [
                ("ALLOW", "values", expected),
                ("ALLOW", "notValues", !expected),
                ("DENY", "values", !expected),
                ("DENY", "notValues", expected),
            ] {
                let key_and_value = Json::Object(vec![
                    ("key".to_owned(), Json::Text(format!("request.auth.claims[{claim}]"))),
                    (key.to_owned(), Json::List(vec![Json::Text(value.to_owned())])),
                ]);
                let configuration = format!(
                    r#"{{{identity} "defaultAction": "ALLOW", "resources": [{{"apiVersion": "security.istio.io/v1",
                        "kind": "AuthorizationPolicy", "metadata": {{"name": "p", "namespace": "shop"}},
                        "spec": {{"action": "{action}", "rules": [{{"when": [{key_and_value}]}}]}}}}]}}"#
                );
                let Ok(compiled) = IdentityAuthz::parse(&configuration) else { continue };
                let decision = compiled.policy().decide(&mut request.clone());
                assert_eq!(decision == Decision::Allow, matches, "{action} by {key}, {identity} {decision:?}");
            }
        }
    }
}

/// Reports whether Envoy's JWT filter could have kept this where payloads are: why a token was not validated.
fn is_another_message(payload: &Json) -> bool {
    matches!(payload, Json::Object(entries) if entries.iter().all(|(key, _)| key == "code" || key == "message"))
}

/// Reports whether a claim has a value, or a list with it.
fn holds(payload: &Json, claim: &str, value: &str) -> bool {
    match payload.get(claim) {
        Some(Json::List(items)) => items.iter().any(|item| text(item).as_deref() == Some(value)),
        Some(Json::Text(words)) if WORD_LISTS.contains(&claim) => words.split(' ').any(|word| word == value),
        Some(one) => text(one).as_deref() == Some(value),
        None => false,
    }
}

/// Returns the text that a claim is compared as: a text, `true`, `false` or a whole number.
fn text(value: &Json) -> Option<String> {
    match value {
        Json::Text(text) => Some(text.clone()),
        Json::Bool(bool) => Some(bool.to_string()),
        Json::Number(number) if number.fract() == 0.0 => Some(format!("{}", number + 0.0)),
        _ => None,
    }
}
