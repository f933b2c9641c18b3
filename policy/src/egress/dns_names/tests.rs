//! Names of configurations, and every name that a configuration allows among them.

use super::*;
use crate::linear_reading::Matches;
use crate::test_support::yaml::json;

/// The names as DNS writes them, each with what lists it.
fn written(yaml: &str) -> Vec<String> {
    let mut names = DnsNames::default();
    names.add(json(yaml).as_bytes()).unwrap_or_else(|refusal| panic!("{refusal} in {yaml}"));
    let star = |name: &DnsName| if name.wildcard { "*." } else { "" };
    names.fewest().iter().map(|name| format!("{}{}. {}", star(name), name.name, name.listed_by.join(", "))).collect()
}

/// One test a row: a configuration and its names.
macro_rules! rows {
    ($($name:ident: $yaml:expr => $expected:expr;)*) => {
        $(
            #[test]
            fn $name() {
                let expected: &[&str] = &$expected;
                assert_eq!(written($yaml), expected);
            }
        )*
    };
}

rows! {
    nothing_is_listed: "rules: []" => [];
    names_without_letter_case_and_a_wildcard:
        "rules: [{name: web, hosts: [API.x.com, '*.Y.com']}]" => ["api.x.com. rules/web", "*.y.com. rules/web"];
    a_wildcard_covers_what_is_below_but_not_its_own_name:
        "rules: [{name: web, hosts: [x.com, a.x.com, a.b.x.com, '*.x.com', '*.b.x.com', x-y.com]}]"
        => ["x.com. rules/web", "*.x.com. rules/web", "x-y.com. rules/web"];
    a_name_that_looks_like_the_end_of_another:
        "rules: [{name: web, hosts: ['*.x.com', y.ax.com, b.xx.com]}]"
        => ["y.ax.com. rules/web", "*.x.com. rules/web", "b.xx.com. rules/web"];
    rules_that_list_one_name:
        "rules: [{name: a, hosts: [x.com, x.com]}, {name: b, hosts: [x.com], ports: [8443]}]" => ["x.com. rules/a, rules/b"];
    a_deny_opens_no_name_and_closes_none:
        "rules: [{name: deny, action: DENY, hosts: [x.com, a.y.com]}, {name: web, hosts: ['*.y.com']}]"
        => ["*.y.com. rules/web"];
    whoever_may_reach_it:
        "rules: [{name: web, hosts: [x.com], from: [{source: {principals: [cluster.local/ns/a/sa/b]}}]}]"
        => ["x.com. rules/web"];
    a_rule_that_reports: "rules: [{name: soon, mode: report, hosts: [x.com]}]" => ["x.com. rules/soon"];
    where_nothing_is_denied_every_name:
        "{mode: report, rules: [{name: web, hosts: [x.com, '*.y.com']}]}" => ["*.. mode: report"];
    where_a_source_passes_every_name:
        "{sources: [{from: [{source: {namespaces: [new]}}], mode: open}], rules: [{name: web, hosts: [x.com]}]}"
        => ["*.. sources"];
    where_a_source_is_reported_every_name:
        "{sources: [{from: [{source: {namespaces: [new]}}], mode: report}], rules: [{name: web, hosts: [x.com]}]}"
        => ["*.. sources"];
    where_sources_are_enforced_the_names_of_the_rules:
        "{sources: [{from: [{source: {namespaces: [new]}}], mode: enforce}], rules: [{name: web, hosts: [x.com]}]}"
        => ["x.com. rules/web"];
    addresses_have_no_name:
        "{ipAddresses: allow, rules: [{name: web, hosts: [192.0.2.1, '::1', x.com]}]}" => ["x.com. rules/web"];
    an_underscore: "rules: [{name: web, hosts: [_a.my_bucket.x.com]}]" => ["_a.my_bucket.x.com. rules/web"];
    a_star_within_a_name:
        "rules: [{name: web, hosts: ['a.*.x.com', '*.b.*.y.com']}]"
        => ["*.x.com. rules/web for a.*.x.com", "*.y.com. rules/web for *.b.*.y.com"];
    names_of_the_gateway:
        "{gatewayNames: [Egress.example, 192.0.2.7], rules: []}" => ["egress.example. gatewayNames"];
    a_service_entry:
        "resources: [{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: web, namespace: shop},
          spec: {hosts: [x.com, '*.net', '*-eu.y.com'], ports: [{number: 22, name: ssh, protocol: TCP}],
          addresses: [192.0.2.1], resolution: DNS}}]"
        => ["x.com. shop/web", "*.y.com. shop/web for *-eu.y.com", "*.net. shop/web"];
    patterns_of_cilium:
        "{workloads: [{principal: cluster.local/ns/shop/sa/web, labels: {app: web}}],
          resources: [{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: web, namespace: shop},
          spec: {endpointSelector: {}, egress: [{toFQDNs: [{matchName: x.com}, {matchPattern: '*.one.com'},
          {matchPattern: '**.deep.com'}, {matchPattern: 'api-*.part.com'}]}]}}]}"
        => [
            "*.deep.com. shop/web", "*.one.com. shop/web for *.one.com (one label)",
            "*.part.com. shop/web for api-*.part.com", "x.com. shop/web",
        ];
    a_pattern_of_cilium_for_every_name:
        "{workloads: [{principal: cluster.local/ns/shop/sa/web, labels: {app: web}}],
          resources: [{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: web, namespace: shop},
          spec: {endpointSelector: {}, egress: [{toFQDNs: [{matchName: x.com}, {matchPattern: '*'}]}]}}]}"
        => ["*.. shop/web"];
    names_that_have_to_be_in_two_lists:
        "{workloads: [{principal: cluster.local/ns/shop/sa/web, labels: {app: web}}],
          resources: [{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: web, namespace: shop},
          spec: {endpointSelector: {}, egress: [{toFQDNs: [{matchPattern: '*'}],
          toPorts: [{ports: [{port: '443'}], serverNames: [x.com, '*.y.com']}]}]}}]}"
        => ["x.com. shop/web", "*.y.com. shop/web for *.y.com (one label)"];
}

#[test]
fn what_the_filter_refuses_has_no_names() {
    let refusal = DnsNames::default().add(br#"{"rules": [{"name": "web", "hosts": ["*.com"]}]}"#);
    let refusal = refusal.expect_err("a refusal");
    assert!(refusal.to_string().starts_with("rules[0].hosts[0]: bad host `*.com`: "), "{refusal}");
}

/// Finds a name as DNS does: by itself, or by the wildcard at the closest name that exists (RFC 4592, section 3.3.1).
fn resolves(names: &[DnsName], name: &str) -> bool {
    let exists = |end: &str| {
        let is_above =
            |listed: &DnsName| end.is_empty() || listed.name == end || listed.name.ends_with(&format!(".{end}"));
        names.iter().any(is_above)
    };
    let mut end = name;
    while !exists(end) {
        end = end.split_once('.').map_or("", |(_, end)| end);
    }
    names.iter().any(|listed| listed.name == end && listed.wildcard == (end != name))
}

#[test]
fn every_name_that_a_pattern_matches_resolves() {
    use crate::egress::fqdn_pattern::parse_pattern;
    use crate::egress::host_pattern::HostSyntax::{Rule, ServiceEntry};

    let rules = ["x.com", "a.x.com", "*.a.x.com", "*.x.com", "a.*.x.com", "*.b.*.x.com", "b.b.y.com", "*.b.y.com"];
    let rules = rules.map(|text| DestinationPattern::parse(text, Rule, false));
    let entries = ["*.com", "*-a.x.com", "*.y.com"].map(|text| DestinationPattern::parse(text, ServiceEntry, false));
    let cilium = ["*.x.com", "**.y.com", "a*.x.com", "x.*", "*a*.*.com", "*.*"].map(parse_pattern);
    let patterns: Vec<_> =
        rules.into_iter().chain(entries).chain(cilium).map(|pattern| pattern.expect("a pattern")).collect();
    let labels = ["a", "b", "x-a", "aa"];
    let mut hosts: Vec<String> = ["x.com", "y.com", "com", "x.net"].map(str::to_owned).to_vec();
    for _ in 0..3 {
        let deeper = hosts.iter().flat_map(|host| labels.map(|label| format!("{label}.{host}")));
        hosts = deeper.chain(hosts.iter().cloned()).collect();
    }
    let mut met = 0;
    // Each two patterns together: what one adds must not hide what the other covers.
    for one in &patterns {
        for other in &patterns {
            let keys = [one, other].into_iter().filter_map(Covering::of).map(|covering| (covering.key, Vec::new()));
            let names = DnsNames(keys.collect()).fewest();
            for host in &hosts {
                let parsed = Host::parse(host.as_bytes()).expect("a host");
                if one.matches(&parsed) || other.matches(&parsed) {
                    met += 1;
                    assert!(resolves(&names, host), "{host} of {one} and {other} among {names:?}");
                }
            }
        }
    }
    assert!(met > 1_000, "{met} matches");
}
