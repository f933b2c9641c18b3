//! A header that takes too many steps to compare: what keeps out matches, and what lets in does not.

use super::*;
use crate::attributes::request_memo::RequestMemo;

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

fn compiled(action: &str, values: &str) -> CompiledPolicy {
    let spec = format!(r#"{{{action}rules: [{{when: [{{key: "request.headers[x-role]", {values}}}]}}]}}"#);
    let everyone = read("everyone", "{rules: [{}]}");
    let policies = match action {
        "" => vec![read("p", &spec)],
        _ => vec![read("p", &spec), everyone],
    };
    compile(&policies)
}

fn decide(action: &str, values: &str, elements: usize) -> String {
    in_words(&compiled(action, values).decide(&mut request(elements)))
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

#[test]
fn a_reason_says_so() {
    const NOTE: &str = "takes too many steps";
    let lists = format!("values: [{}]", patterns());
    for (action, values, elements, is_told) in [
        ("action: DENY, ", &lists, 1_000, true),
        ("", &lists, 1_000, true),
        ("", &lists, 50, false),
        ("action: DENY, ", &format!("not{}", lists.replacen('v', "V", 1)), 50, false),
    ] {
        let policy = compiled(action, values);
        let mut request = FakeRequest { memo: Some(RequestMemo::default()), ..request(elements) };
        let Decision::Deny(denial) = policy.decide(&mut request) else { panic!("{action}{elements} is allowed") };
        let reason = policy.explain(&denial, &mut request);
        assert_eq!(reason.contains(NOTE), is_told, "{action}{elements}: {reason}");
    }
}

/// Requests with so many lines of one header and so many elements in each, of which the last line holds `admin`.
fn repeated(lines: usize, elements: usize) -> FakeRequest {
    let line = vec!["user"; elements].join(",");
    let lines: Vec<&[u8]> = vec![line.as_bytes(); lines - 1].into_iter().chain([b"admin".as_slice()]).collect();
    FakeRequest::new("").with_header_values("x-role", &lines)
}

#[test]
fn lines_and_elements_beyond_a_number_are_not_compared() {
    let decide = |action: &str, values: &str, lines, elements| {
        in_words(&compiled(action, values).decide(&mut repeated(lines, elements)))
    };
    let denied = "denied by ns[shop]-policy[p]-rule[0]";
    for (lines, elements, is_compared) in [(1_024, 1, true), (1_025, 1, false), (2, 4_095, true), (2, 4_096, false)] {
        let expected = |compared, uncompared| if is_compared { compared } else { uncompared };
        assert_eq!(decide("action: DENY, ", "values: [other]", lines, elements), expected("allowed", denied));
        assert_eq!(decide("action: DENY, ", "values: [admin]", lines, elements), denied);
        assert_eq!(decide("", "values: [\"*\"]", lines, elements), expected("allowed", "denied"));
        assert_eq!(decide("", "notValues: [other]", lines, elements), expected("allowed", "denied"));
    }
}
