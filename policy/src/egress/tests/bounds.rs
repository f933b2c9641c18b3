//! Bounds of what all rules together may be.

use super::*;
use crate::attributes::request_memo::RequestMemo;
use crate::authz::resources::rules::RuleSize;
use crate::config::value::Value;
use crate::egress::rule::Rule;
use crate::identity::trust_domains::TrustDomains;

#[test]
fn the_combinations_of_all_rules_have_a_limit() {
    let trust_domains = TrustDomains::new("cluster.local".to_owned(), Vec::new());
    let workloads = Workloads::default();
    let context = EgressContext {
        trust_domains: &trust_domains,
        workloads: &workloads,
        addresses: false,
        remote_address_is_trusted: false,
        default_export: DefaultExport::Namespace,
        leads_to_hosts: false,
        repeated_names: Cell::default(),
        rule_sizes: RuleSizes::default(),
    };
    let read = |sources: &[&str]| {
        let sources: Vec<_> = sources
            .iter()
            .map(|of| format!(r#"{{"source": {{"namespaces": ["{of}"], "ipBlocks": ["10.0.0.1"]}}}}"#))
            .collect();
        let rule = format!(r#"{{"name": "r", "hosts": ["x.com", "y.com"], "from": [{}]}}"#, sources.join(", "));
        let document = Value::parse(rule.as_bytes()).expect("JSON");
        let diagnostics = Diagnostics::default();
        let rule = Rule::read(&ConfigNode::root(&document, &diagnostics), 0, &context).map(|rule| rule.sources.len());
        diagnostics.into_result(rule).map_err(|refusal| refusal.to_string())
    };
    let before = RuleSize { clauses: 999_997, conditions: 0 };
    assert_eq!(context.rule_sizes.add(before, "lists of hosts", &|_| ()), Some(()));
    assert_eq!(read(&["a", "b"]), Ok(2));
    assert_eq!(read(&["a"]), Ok(1));
    assert_eq!(
        read(&["a", "b"]),
        Err("with this rule the configuration has 1000002 combinations of sources and lists of hosts, the limit is 1000000; sources that differ in one field count once, as do lists of hosts".to_owned())
    );
}

/// Hosts with a star or an `a` in each of so many labels below `x.com`.
fn masks(labels: usize) -> Vec<String> {
    let mask = |number: usize| (0..labels).map(move |label| if number >> label & 1 == 1 { "*." } else { "a." });
    (0..1 << labels).map(|number| format!("\"a.{}x.com\"", mask(number).collect::<String>())).collect()
}

fn below(labels: usize) -> FakeRequest {
    FakeRequest {
        memo: Some(RequestMemo::default()),
        ..FakeRequest::egress(Http, &format!("a.{}x.com", "a.".repeat(labels)))
    }
}

#[test]
fn a_host_that_thousands_of_wildcards_may_match_is_not_compared() {
    let rules = |labels: usize, more: &str| {
        load(&format!(r#"{{"rules": [{more}{{"name": "r", "hosts": [{}]}}]}}"#, masks(labels).join(", ")))
    };
    assert_eq!(answer(&rules(8, ""), &mut below(8)), "allowed");
    let denied = "denied: a value takes too many steps to compare with all patterns: it counts as matched to deny, and as not matched to allow: HTTP to a.a.a.a.a.a.a.a.a.a.a.a.x.com:80 by a client without identity (it presented no certificate)";
    assert_eq!(answer(&rules(11, ""), &mut below(11)), denied);
    // Another host is compared with the same patterns.
    assert_eq!(answer(&rules(11, ""), &mut below(5)).split(':').nth(1), Some(" no rule lists this host"));
    let deny = r#"{"name": "no", "action": "DENY", "hosts": ["other.com"]}, "#;
    assert_eq!(answer(&rules(8, deny), &mut below(8)), "allowed");
    assert_eq!(answer(&rules(11, deny), &mut below(11)).split(':').nth(1), Some(" DENY rule rules/no matches"));
}

#[test]
fn many_short_patterns_are_refused() {
    let letter = |number: usize| char::from(b"abcdefghijklmnopqrstuvwxyz"[number % 26]);
    let principals = |count: usize| -> Vec<_> {
        (0..count).map(|number| format!("\"*{}{}*c*\"", letter(number), letter(number / 26))).collect()
    };
    let refusal = |count: usize| {
        let source = format!(r#"{{"source": {{"principals": [{}]}}}}"#, principals(count).join(", "));
        let rule = format!(r#"{{"rules": [{{"name": "r", "hosts": ["x.com"], "from": [{source}]}}]}}"#);
        EgressAllowlist::parse(rule.as_bytes()).err().map(|refusal| refusal.to_string())
    };
    assert_eq!(refusal(100), None);
    assert!(refusal(101).is_some_and(|text| text.starts_with("rules: 101 patterns for ")), "{:?}", refusal(101));
}
