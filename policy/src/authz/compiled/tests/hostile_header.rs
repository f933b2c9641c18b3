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
    assert_eq!(decide("action: DENY, ", &values, 40), "allowed");
    assert_eq!(decide("action: DENY, ", &values, 1_000), "denied by ns[shop]-policy[p]-rule[0]");
}

#[test]
fn an_allow_does_not() {
    let values = format!(r#"values: ["a*", {}]"#, patterns());
    assert_eq!(decide("", &values, 40), "allowed");
    assert_eq!(decide("", &values, 1_000), "denied");
    let not_values = format!("notValues: [{}]", patterns());
    assert_eq!(decide("", &not_values, 40), "allowed");
    assert_eq!(decide("", &not_values, 1_000), "denied");
}

#[test]
fn a_reason_says_so() {
    const NOTE: &str = "takes too many steps";
    let lists = format!("values: [{}]", patterns());
    for (action, values, elements, is_told) in [
        ("action: DENY, ", &lists, 1_000, true),
        ("", &lists, 1_000, true),
        ("", &lists, 40, false),
        ("action: DENY, ", &format!("not{}", lists.replacen('v', "V", 1)), 40, false),
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

#[test]
fn the_headers_of_a_request_share_the_steps() {
    let conditions: Vec<_> = ["x-role", "x-group"]
        .map(|name| format!(r#"{{key: "request.headers[{name}]", notValues: [{}]}}"#, patterns()))
        .into();
    let policy = compile(&[read("p", &format!("{{rules: [{{when: [{}]}}]}}", conditions.join(", ")))]);
    let value = |elements| format!("{},", "a".repeat(60)).repeat(elements);
    let decide = |role, group| {
        let headers = vec![("x-role", value(role).into()), ("x-group", value(group).into())];
        in_words(&policy.decide(&mut FakeRequest { headers, ..FakeRequest::new("") }))
    };
    assert_eq!([decide(43, 1), decide(1, 43), decide(43, 43)], ["allowed", "allowed", "denied"]);
}

#[test]
fn many_short_patterns_are_refused_for_every_field() {
    let rule = |key: &str, values: &str| match key {
        "hosts" | "methods" => format!(r#""to": [{{"operation": {{"{key}": [{values}]}}}}]"#),
        "principals" | "requestPrincipals" => format!(r#""from": [{{"source": {{"{key}": [{values}]}}}}]"#),
        _ => format!(r#""when": [{{"key": "{key}", "values": [{values}]}}]"#),
    };
    let refusal = |key: &str, count: usize| {
        let letter = |number: usize| char::from(b"abcdefghijklmnopqrstuvwxyz"[number % 26]);
        let values: Vec<_> =
            (0..count).map(|number| format!(r#""*{}{}*b*""#, letter(number), letter(number / 26))).collect();
        let policy = format!(
            r#"{{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
                "metadata": {{"name": "p", "namespace": "shop"}},
                "spec": {{"action": "DENY", "rules": [{{{}}}]}}}}"#,
            rule(key, &values.join(", "))
        );
        let configuration = format!(r#"{{"defaultAction": "ALLOW", "resources": [{policy}]}}"#);
        let refusal = crate::authz::identity_authz::IdentityAuthz::parse(configuration.as_bytes()).err();
        refusal.map(|refusal| refusal.to_string()).unwrap_or_default()
    };
    for (key, subject) in [
        ("hosts", "host"),
        ("methods", "method"),
        ("requestPrincipals", "request principal"),
        ("request.headers[x-a]", "header x-a"),
        ("request.auth.claims[a]", "claim a"),
        ("connection.sni", "SNI"),
    ] {
        let expected = format!(
            "resources: 101 patterns for {subject} have no literal of three bytes, the limit is 100; write more of what they look for"
        );
        assert_eq!([refusal(key, 100), refusal(key, 101)], [String::new(), expected]);
    }
}

#[test]
fn a_host_of_too_many_bytes_in_its_readings_is_not_compared() {
    let host =
        |bytes: usize| FakeRequest { host: Some(format!("{}.:80", "a".repeat(bytes)).into()), ..FakeRequest::new("") };
    let decide = |spec: &str, bytes| {
        let policies = [read("p", spec), read("everyone", "{rules: [{to: [{operation: {hosts: [\"a*\"]}}]}]}")];
        let policies = if spec.contains("DENY") { &policies[..] } else { &policies[..1] };
        in_words(&compile(policies).decide(&mut host(bytes)))
    };
    let deny = r#"{action: DENY, rules: [{to: [{operation: {hosts: ["*b"]}}]}]}"#;
    let allow = r#"{rules: [{to: [{operation: {hosts: ["a*"]}}]}]}"#;
    assert_eq!([decide(deny, 32_000), decide(allow, 32_000)], ["allowed", "allowed"]);
    assert_eq!(
        [decide(deny, 33_000).as_str(), &decide(allow, 33_000)],
        ["denied by ns[shop]-policy[p]-rule[0]", "denied"]
    );
}
