//! Denied and allowed clients, and the compiled form against each pattern by itself.

use super::*;
use crate::authz::fields::header::HeaderPatterns;
use crate::baseline::header_field::{HeaderGlob, ListElementIndex};
use crate::linear_reading::Matches;
use crate::matcher::field_match::FieldMatch;
use crate::matcher::value_ids::ValueId;
use crate::test_support::fake_request::FakeRequest;
use crate::test_support::yaml::json;

/// A request with these values of `user-agent`.
fn with_user_agents(values: &[&[u8]]) -> FakeRequest {
    FakeRequest::new("").with_header_values("user-agent", values)
}

fn scanners() -> BaselineDeny {
    BaselineDeny::parse(br#"{"presets": ["scanners"]}"#).unwrap_or_else(|refusal| panic!("{refusal}"))
}

/// The warnings at load of a policy with these values of a header, and of these exempt user agents.
fn warnings(header: &str, values: &str, exempt: &str) -> Vec<String> {
    let configuration = json(&format!(
        "{{exempt: {{userAgents: [{exempt}]}}, resources: [{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy,
            metadata: {{name: no-bots, namespace: shop}}, spec: {{action: DENY,
            rules: [{{to: [{{operation: {{methods: [GET]}}}}, {{operation: {{methods: [PUT]}}}}],
            when: [{{key: 'request.headers[{header}]', values: [{values}]}}]}}]}}}}]}}"
    ));
    let filter = BaselineDeny::parse(configuration.as_bytes()).unwrap_or_else(|refusal| panic!("{refusal}"));
    filter.load_report().warnings().to_vec()
}

#[test]
fn values_that_look_like_regular_expressions_are_named_at_load() {
    let end = "; `*` is any text, `?` one character, and a dot is a dot";
    let start = "values that look like regular expressions are compared as globs: ";
    for (header, values, exempt, expected) in [
        ("user-agent", "'badbot/.*', '*badbot*'", "", "`badbot/.*` of shop/no-bots (write `badbot/*`)"),
        ("user-agent", "'^curl$'", "", "`^curl$` of shop/no-bots (write `curl`)"),
        ("user-agent", "'sqlmap|nikto'", "", "`sqlmap|nikto` of shop/no-bots (write `sqlmap` and `nikto`)"),
        ("user-agent", r"'badbot/\d+'", "", r"`badbot/\d+` of shop/no-bots (write `badbot/*`)"),
        ("x-tool", "'(a|b)'", "", "`(a|b)` of shop/no-bots (write `a` and `b`)"),
        ("user-agent", "curl", "'^probe(?=x)'", "`^probe(?=x)` of exempt.userAgents"),
        (
            "user-agent",
            "'a/.*', 'b/.*', 'c/.*', 'd/.*'",
            "'e/.*'",
            "`a/.*` of shop/no-bots (write `a/*`), `b/.*` of shop/no-bots (write `b/*`), `c/.*` of shop/no-bots (write `c/*`) and 2 more",
        ),
    ] {
        assert_eq!(warnings(header, values, exempt), [format!("{start}{expected}{end}")], "{values} {exempt}");
    }
    for values in ["'*badbot*'", "curl/8.*", "'Mozilla/5.0 (X11; Linux x86_64)*'", "'bot[0-9]*'", "'a?c'"] {
        assert_eq!(warnings("user-agent", values, "'acme-probe/*'"), Vec::<String>::new(), "{values}");
    }
    assert_eq!(warnings("x-subject", "'auth0|507f1f77'", "probe"), Vec::<String>::new());
}

#[test]
fn a_hostile_user_agent_costs_bounded_time() {
    let patterns: Vec<_> = (100..2100).map(|number| format!("\"*a*b{number}*\", \"x?[a-z]*{number}\"")).collect();
    let configuration = json(&format!(
        "{{presets: [scanners], resources: [{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy,
            metadata: {{name: p, namespace: shop}}, spec: {{action: DENY,
            rules: [{{when: [{{key: 'request.headers[user-agent]', values: [{}]}}]}}]}}}}]}}",
        patterns.join(", ")
    ));
    let filter = BaselineDeny::parse(configuration.as_bytes()).unwrap_or_else(|refusal| panic!("{refusal}"));
    let ordinary = b"Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0".repeat(800);
    let time = |agent: &[u8]| {
        let mut client = with_user_agents(&[agent]);
        let start = std::time::Instant::now();
        let _decision = filter.decide(&mut client);
        start.elapsed()
    };
    let usual = time(&ordinary).max(time(&ordinary));
    for (name, hostile) in [
        ("stars", b"*".repeat(60_000)),
        ("commas", b",".repeat(60_000)),
        ("parts", b"a,".repeat(30_000)),
        ("bytes that are not UTF-8", b"\xff\xfe".repeat(30_000)),
        ("required_literals of patterns", b"ab1b2b3x9".repeat(6_600)),
        ("required_literals in parts", b"x1a,ab1,".repeat(7_500)),
        ("openings of a glob", b"a".repeat(60_000)),
    ] {
        let spent = time(&hostile);
        assert!(spent < usual * 100, "{name}: {spent:?}, while an ordinary text of that length takes {usual:?}");
    }
}

#[test]
fn the_index_agrees_with_each_pattern_by_itself() {
    let texts =
        ["a", "*a*", "a*", "*a", "a*b", "*a*b*", "?", "a?", "[ab]", "[!a]*", "*[0-9]b*", "a,b", "*", "b?a*", "??"];
    let mut patterns: Vec<_> = texts.iter().filter_map(|text| HeaderGlob::parse_glob(text).ok()).collect();
    assert_eq!(patterns.len(), texts.len());
    patterns.extend(["a", "ab", "b1"].map(HeaderGlob::word));
    let index = ListElementIndex::new(patterns.iter().cloned().zip((0..).map(ValueId)));
    for value in [
        "", "a", "A", "b", "ab", "a,b", "a, b", "xa", "xab1", "a1b", "1b", "ba", "aXb,c", "c,1", "\u{e4}", "b\u{e4}a",
        ",", "a,",
    ] {
        let lower = value.to_ascii_lowercase();
        let bytes = lower.as_bytes();
        let parts: Vec<&[u8]> = bytes
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
            .filter(|part| bytes.contains(&b',') && !part.is_empty())
            .collect();
        let expected = |values: &[&[u8]]| -> Vec<ValueId> {
            let matching = (0..)
                .map(ValueId)
                .zip(&patterns)
                .filter(|(_, pattern)| values.iter().any(|value| pattern.matches(value)));
            matching.map(|(id, _)| id).collect()
        };
        let sorted = |mut found: Vec<ValueId>| {
            found.sort();
            found.dedup();
            found
        };
        let mut found = FieldMatch::default();
        index.lookup_all(&[value.as_bytes()], &mut found);
        assert_eq!(sorted(found.any.to_vec()), expected(&[&[bytes], parts.as_slice()].concat()), "any of {value}");
        assert_eq!(sorted(found.each[0].to_vec()), expected(&[bytes]), "the whole of {value}");
    }
}

#[test]
fn what_a_request_would_cost_too_much_by_is_refused() {
    let refusal = |keys: usize, values: usize| {
        let values: Vec<_> = (0..values)
            .map(|number| {
                format!("\"*{}{}?*\"", b"abcdefghijklmnopqrstuvwxyz"[number % 26].escape_ascii(), number / 26)
            })
            .collect();
        let values = values.join(", ");
        let condition = |key| format!("{{when: [{{key: 'request.headers[x-{key}]', values: [{values}]}}]}}");
        let rules: Vec<_> = (0..keys).map(condition).collect();
        let policies: Vec<_> = rules
            .chunks(500)
            .enumerate()
            .map(|(number, rules)| {
                format!(
                    "{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy,
                       metadata: {{name: p{number}, namespace: shop}}, spec: {{action: DENY, rules: [{}]}}}}",
                    rules.join(", ")
                )
            })
            .collect();
        let configuration = json(&format!("resources: [{}]", policies.join(", ")));
        BaselineDeny::parse(configuration.as_bytes()).err().map(|refusal| refusal.to_string())
    };
    assert_eq!([refusal(1_000, 1), refusal(1, 100)], [None, None]);
    let names = "resources: policies compare 1001 names of the kind header, the limit is 1000";
    assert_eq!(refusal(1_001, 1).as_deref(), Some(names));
    let short = "resources: 101 patterns for header x-0 have no literal of three bytes, the limit is 100; write more of what they look for";
    assert_eq!(refusal(1, 101).as_deref(), Some(short));
}

#[test]
fn the_log_line_names_the_version_of_the_list() {
    let summary = scanners().load_report().summary().to_owned();
    assert!(summary.starts_with("loaded 0 resources and preset/scanners version 2 with "), "{summary}");
}

#[test]
fn a_decoy_is_no_exemption() {
    let json = br#"{"presets": ["scanners"], "exempt": {"userAgents": ["*friend*"]}}"#;
    let filter = BaselineDeny::parse(json).unwrap_or_else(|refusal| panic!("{refusal}"));
    let rows: [(&[&[u8]], bool); 5] = [
        (&[b"friend sqlmap"], true),
        (&[b"friend, sqlmap"], true),
        (&[b"friend", b"sqlmap"], false),
        (&[b"friend,sqlmap"], false),
        (&[b"sqlmap,friend"], false),
    ];
    for (agents, passes) in rows {
        let decision = filter.decide(&mut with_user_agents(agents));
        assert_eq!(decision == Decision::Allow, passes, "{agents:?}: {decision:?}");
    }
}

#[test]
fn many_short_exemptions_are_refused() {
    let refusal = |count: usize| {
        let agents: Vec<_> = (0..count).map(|number| format!("\"*[a-z]{}*\"", number % 90)).collect();
        let configuration = json(&format!("{{presets: [scanners], exempt: {{userAgents: [{}]}}}}", agents.join(", ")));
        BaselineDeny::parse(configuration.as_bytes()).err().map(|refusal| refusal.to_string())
    };
    assert_eq!(refusal(100), None);
    let expected =
        "exempt: 101 of userAgents have no literal of three bytes, the limit is 100; write more of what they look for";
    assert_eq!(refusal(101).as_deref(), Some(expected));
}

#[test]
fn an_exemption_that_takes_too_many_steps_is_not_given() {
    let nested: Vec<_> = (3..60).map(|length| format!("'*{}*x{length}x*'", "a".repeat(length))).collect();
    let configuration =
        json(&format!("{{presets: [scanners], exempt: {{userAgents: ['acme*', {}]}}}}", nested.join(", ")));
    let filter = BaselineDeny::parse(configuration.as_bytes()).unwrap_or_else(|refusal| panic!("{refusal}"));
    let passes = |agent: &str| filter.decide(&mut with_user_agents(&[agent.as_bytes()])) == Decision::Allow;
    let elements = |count: usize| format!("acme sqlmap{}", format!(",acme {}", "a".repeat(60)).repeat(count));
    assert!(passes(&elements(50)));
    assert!(!passes(&elements(1_000)));
}

#[test]
fn an_exempt_user_agent_of_more_elements_than_are_compared_is_denied() {
    let json = br#"{"presets": ["scanners"], "exempt": {"userAgents": ["acme*"]}}"#;
    let filter = BaselineDeny::parse(json).unwrap_or_else(|refusal| panic!("{refusal}"));
    let passes = |agents: &[&[u8]]| filter.decide(&mut with_user_agents(agents)) == Decision::Allow;
    let elements = |end: &str, count: usize| format!("acme sqlmap{end}").repeat(count);
    for (end, count, expected) in [(",", 4_096, true), (",", 4_097, false), (", ", 4_096, true), (", ", 4_097, false)] {
        assert_eq!(passes(&[elements(end, count).trim_end_matches([',', ' ']).as_bytes()]), expected, "{count}{end}");
    }
    assert!(passes(&[b"acme sqlmap".as_slice(); 1_024]));
    assert!(!passes(&[b"acme sqlmap".as_slice(); 1_025]));
}
