//! A header that takes too many steps to compare: what keeps out matches, and what lets in does not.

use super::*;

/// Patterns whose first literals hold each other, at the start of an element and anywhere, so that each byte of one ends
/// two of them.
fn patterns() -> String {
    let nested: Vec<String> = (3..60)
        .map(|length| {
            let literal = "a".repeat(length);
            format!(r#""{literal}*x{length}x", "*{literal}*y{length}y""#)
        })
        .collect();
    nested.join(", ")
}

fn request(elements: usize) -> FakeRequest {
    let value = format!("{},", "a".repeat(60)).repeat(elements);
    FakeRequest::new("").with_header_values("x-role", &[value.as_bytes()])
}

fn decide(action: &str, values: &str, elements: usize) -> String {
    let spec = format!(r#"{{{action}rules: [{{when: [{{key: "request.headers[x-role]", {values}}}]}}]}}"#);
    let everyone = read("everyone", "{rules: [{}]}");
    let policies = match action {
        "" => vec![read("p", &spec)],
        _ => vec![read("p", &spec), everyone],
    };
    in_words(&compile(&policies).decide(&mut request(elements)))
}

#[test]
fn a_deny_matches_what_is_too_expensive_to_compare() {
    let values = format!("values: [{}]", patterns());
    assert_eq!(decide("action: DENY, ", &values, 50), "allowed");
    assert_eq!(decide("action: DENY, ", &values, 1_000), "denied by ns[shop]-policy[p]-rule[0]");
}

#[test]
fn an_allow_does_not() {
    let values = format!(r#"values: ["a*", {}]"#, patterns());
    assert_eq!(decide("", &values, 50), "allowed");
    assert_eq!(decide("", &values, 1_000), "denied");
    let not_values = format!("notValues: [{}]", patterns());
    assert_eq!(decide("", &not_values, 50), "allowed");
    assert_eq!(decide("", &not_values, 1_000), "denied");
}
