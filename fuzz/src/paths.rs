//! Readings of paths: patterns in the first lines, a path in the last.

use sallyport_policy::{BaselineDeny, Decision, IdentityAuthz, LinearBaselineDeny, LinearIdentityAuthz};

use crate::agreement::{assert_agrees, outcome};
use crate::json::Json;
use crate::request::TextRequest;

/// The most patterns of a list.
const MAX_PATTERNS: usize = 4;

/// Longest path with several readings that is compared, in bytes.
const MAX_COMPARED: usize = 8_192;

/// Compares every use of a list of paths with the linear reading, for a path and for another spelling of it.
pub fn check(data: &[u8]) {
    let mut lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let path = lines.pop().unwrap_or_default();
    let patterns: Option<Vec<Json>> = lines
        .iter()
        .take(MAX_PATTERNS)
        .map(|line| str::from_utf8(line).ok().map(|text| Json::Text(text.to_owned())))
        .collect();
    let Some(patterns) = patterns.filter(|patterns| !patterns.is_empty()) else { return };
    let patterns = Json::List(patterns).to_string();
    let request = of_path(path);
    // Longer ones are not compared where they can be read in several ways.
    let respelled = Some(respelled(path)).filter(|path| path.len() <= MAX_COMPARED).map(|path| of_path(&path));
    for (action, key) in [("DENY", "paths"), ("DENY", "notPaths"), ("ALLOW", "paths"), ("ALLOW", "notPaths")] {
        let configuration = format!(
            r#"{{"defaultAction": "ALLOW", "resources": [{{"apiVersion": "security.istio.io/v1",
                "kind": "AuthorizationPolicy", "metadata": {{"name": "p", "namespace": "shop"}},
                "spec": {{"action": "{action}", "rules": [{{"to": [{{"operation": {{"{key}": {patterns}}}}}]}}]}}}}]}}"#
        );
        let Ok(compiled) = IdentityAuthz::parse(&configuration) else { continue };
        let decided = outcome(&compiled.policy().decide(&mut request.clone()));
        let linear = LinearIdentityAuthz::parse(configuration.as_bytes());
        if let Some(linear) = linear {
            assert_agrees(&linear.decide(&mut request.clone()), &decided);
        }
        if let Some(respelled) = &respelled {
            let again = outcome(&compiled.policy().decide(&mut respelled.clone()));
            assert_eq!(again, decided, "{action} by {key}: another spelling of the path on the left");
        }
    }
    check_exemption(&patterns, &request);
}

fn check_exemption(patterns: &str, request: &TextRequest) {
    let configuration = format!(r#"{{"userAgent": {{"missing": "deny"}}, "exempt": {{"paths": {patterns}}}}}"#);
    let Ok(compiled) = BaselineDeny::parse(configuration.as_bytes()) else { return };
    let decision = compiled.decide(&mut request.clone());
    if let Some(linear) = LinearBaselineDeny::parse(configuration.as_bytes()) {
        assert_agrees(&linear.decide(&mut request.clone()), &outcome(&decision));
    }
    assert!(!matches!(decision, Decision::WouldDeny(_)), "nothing is only reported");
}

fn of_path(path: &[u8]) -> TextRequest {
    TextRequest::parse(&[&[b"path ", path].concat()])
}

/// Returns an equivalent spelling of a path (RFC 3986, section 6.2.2): letters and digits encoded, hex digits in lower
/// case. Query and fragment stay.
fn respelled(path: &[u8]) -> Vec<u8> {
    let end = path.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(path.len());
    let (mut rest, query) = path.split_at(end);
    let mut spelled = Vec::new();
    while let [byte, after @ ..] = rest {
        rest = after;
        match (byte, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                spelled.extend([b'%', high.to_ascii_lowercase(), low.to_ascii_lowercase()]);
                rest = after;
            }
            // An escape of what follows a lone `%` would make it another text.
            (b'%', _) => {
                spelled.extend(path_end(rest, byte));
                break;
            }
            (byte, _) if byte.is_ascii_alphanumeric() => spelled.extend(format!("%{byte:02x}").into_bytes()),
            (byte, _) => spelled.push(*byte),
        }
    }
    [&spelled, query].concat()
}

/// Returns the bytes from a lone `%` on.
fn path_end(rest: &[u8], percent: &u8) -> Vec<u8> {
    [&[*percent], rest].concat()
}
