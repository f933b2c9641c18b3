//! Bounds of what all rules together may be.

use super::*;
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
