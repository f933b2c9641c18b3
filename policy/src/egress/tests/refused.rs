//! Refused configurations, with every line of their errors.

use super::*;

fn refusal(json: &str) -> String {
    match EgressAllowlist::parse(json.as_bytes()) {
        Ok(_) => panic!("taken: {json}"),
        Err(refusal) => refusal.to_string(),
    }
}

/// A configuration of one rule with these keys beside its name, as YAML.
fn rule(keys: &str) -> String {
    json(&format!("rules: [{{name: r, {keys}}}]"))
}

/// A configuration of one ServiceEntry with this `spec`, as YAML.
fn entry(spec: &str) -> String {
    json(&format!(
        "resources: [{{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {{name: e, namespace: shop}}, spec: {{{spec}}}}}]"
    ))
}

/// A configuration of one CiliumNetworkPolicy with this `spec`, as YAML.
fn cilium(spec: &str) -> String {
    json(&format!(
        "resources: [{{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {{name: c, namespace: shop}}, spec: {{{spec}}}}}]"
    ))
}

/// A test for each row: its name, a configuration, and all lines of its diagnostics after `$path`.
macro_rules! refused {
    ($path:literal, $($name:ident: $configuration:expr => $diagnostics:expr;)*) => {
        $(
            #[test]
            fn $name() {
                assert_eq!(refusal(&$configuration), concat!($path, $diagnostics));
            }
        )*
    };
}

refused! {
    "",
    configuration_empty: json("{}") =>
        "has neither rules nor resources; list the hosts that may be reached, or write rules: [] to deny everything";
    configuration_with_an_unknown_field: json("{rule: []}") =>
        "has neither rules nor resources; list the hosts that may be reached, or write rules: [] to deny everything\nrule: unknown field, did you mean \"rules\"?";
    ip_addresses_neither_deny_nor_allow: json(r#"{rules: [], ipAddresses: "no"}"#) =>
        "ipAddresses: unknown value `no`, expected deny or allow";
    sni_must_match_host_as_a_string: json(r#"{rules: [], sniMustMatchHost: "yes"}"#) =>
        "sniMustMatchHost: expected true or false, this is a string";
    tunnels_neither_inspect_nor_trust: json("{rules: [], tunnels: true}") =>
        "tunnels: expected inspect or trust, this is true or false";
    max_connections_zero: json("{rules: [], maxConnectionsPerClient: 0}") =>
        "maxConnectionsPerClient: expected a whole number of 1 to 1000000, this is `0`";
    allowed_policy_as_a_string: json(r#"{rules: [], allowedPolicy: "yes"}"#) =>
        "allowedPolicy: expected true or false, this is a string";
    gateway_names_empty: json("{rules: [], gatewayNames: []}") =>
        "gatewayNames: empty list, add a value, or remove the key to mean none";
    gateway_name_with_a_star: json(r#"{rules: [], gatewayNames: ["*.x.com", y.com]}"#) =>
        "gatewayNames[0]: bad host `*.x.com`: it has a character that no host name has";
    rule_without_name: json("{rules: [{hosts: [x.com]}]}") =>
        "rules[0].name: missing, name the rule; denials are reported under it";
    rule_without_hosts: rule("ports: [443]") =>
        "rules[0].hosts: missing, list the hosts, as in [\"api.x.com\", \"*.x.com\"]";
    hosts_empty: rule("hosts: []") =>
        "rules[0].hosts: empty list, add a value, or remove the key and the rule with it";
    rule_with_an_unknown_field: rule("hosts: [x.com], port: [1]") =>
        "rules[0].port: unknown field, did you mean \"ports\"?";
    rule_with_items_of_its_own: rule("hosts: [x.com], items: [{kind: Rule}]") =>
        "rules[0].items: unknown field, expected name, action, mode, from, hosts or ports";
    port_zero: rule("hosts: [x.com], ports: [0]") =>
        "rules[0].ports[0]: expected a whole number of 1 to 65535, this is `0`";
    port_as_a_string: rule(r#"hosts: [x.com], ports: ["443"]"#) =>
        "rules[0].ports[0]: expected a number of 1 to 65535, this is a string";
    ports_empty: rule("hosts: [x.com], ports: []") =>
        "rules[0].ports: empty list, add a value, or remove the key to mean 80 for HTTP and 443 for CONNECT and TLS, for a DENY every port";
    action_in_lower_case: rule("hosts: [x.com], action: Deny") =>
        "rules[0].action: unknown value `Deny`, did you mean \"DENY\"?";
    from_empty: rule("hosts: [x.com], from: []") =>
        "rules[0].from: empty list, add a value, or remove the key to mean any source";
    source_with_an_unknown_field: rule("hosts: [x.com], from: [{source: {principal: [a/b]}}]") =>
        "rules[0].from[0].source.principal: unknown field, did you mean \"principals\"?";
    service_account_without_namespace: rule("hosts: [x.com], from: [{source: {serviceAccounts: [web]}}]") =>
        "rules[0].from[0].source.serviceAccounts[0]: bad service account `web`: write its namespace before it, as in `shop/web`";
    ip_block_of_three_numbers: rule(r#"hosts: [x.com], from: [{source: {ipBlocks: ["10.0.0/8"]}}]"#) =>
        "rules[0].from[0].source.ipBlocks[0]: bad IP block `10.0.0/8`: expected an address or a CIDR, as in `10.0.0.0/8` or `2001:db8::/32`";
    host_an_ip_address: rule(r#"hosts: ["10.0.0.1"]"#) =>
        "rules[0].hosts[0]: bad host `10.0.0.1`: an IP address says nothing of who is there; list the name, or set ipAddresses: allow";
    several_faults_of_rules: json(r#"{rules: [{name: a, hosts: ["*"]}, {name: a, hosts: [x.com]}, {name: a, hosts: [y.com]}]}"#) =>
        "rules[0].hosts[0]: bad host `*`: it would let everything out; list the hosts, as in `api.x.com` or `*.x.com`\nrules[2]: the name a is that of rules[1] already, denials are reported under it";
    sources_empty: json("{rules: [], sources: []}") =>
        "sources: empty list, add a value, or remove the key to mean the mode of the filter for all";
    source_item_without_mode: json("{rules: [], sources: [{from: [{source: {namespaces: [shop]}}]}]}") =>
        "sources[0].mode: missing, write enforce, report or open";
    source_item_without_from: json("{rules: [], sources: [{mode: open}]}") =>
        "sources[0].from: missing, say whom it is about, as in [{source: {namespaces: [shop]}}]";
    source_item_of_another_mode: json("{rules: [], sources: [{from: [{source: {namespaces: [shop]}}], mode: opened}]}") =>
        "sources[0].mode: unknown value `opened`, did you mean \"open\"?";
    source_item_with_hosts: json("{rules: [], sources: [{from: [{source: {namespaces: [shop]}}], hosts: [x.com], mode: open}]}") =>
        "sources[0].hosts: unknown field, expected from or mode";
    source_item_by_remote_address: json("{rules: [], sources: [{from: [{source: {remoteIpBlocks: [10.0.0.0/8]}}], mode: open}]}") =>
        "sources[0].from[0].source.remoteIpBlocks: compares the client's address, and X-Forwarded-For lets clients choose that address unless the proxy's settings (use_remote_address, xff_num_trusted_hops, the PROXY protocol) keep them from it; see to that, then write remoteAddress: trusted, or use ipBlocks";
    more_sources_than_are_looked_at: json(&format!("{{rules: [], sources: [{}]}}", vec!["{from: [{source: {namespaces: [a], ipBlocks: [10.0.0.1]}}, {source: {namespaces: [b], ipBlocks: [10.0.0.2]}}], mode: open}"; 501].join(", "))) =>
        "sources: has 1002 sources in all, the limit is 1000; sources that differ in one field count once";
    workload_listed_twice: json("{rules: [], workloads: [{principal: cluster.local/ns/a/sa/b, labels: {}}, {principal: cluster.local/ns/a/sa/c, labels: {}}, {principal: spiffe://cluster.local/ns/a/sa/b, labels: {app: x}}]}") =>
        "workloads[2]: cluster.local/ns/a/sa/b is the workload of workloads[0] already; write its labels in one item";
    workload_listed_under_an_alias: json("{rules: [], trustDomain: ecp, trustDomainAliases: [old.example], workloads: [{principal: old.example/ns/a/sa/b, labels: {}}, {principal: ecp/ns/a/sa/b, labels: {}}, {principal: cluster.local/ns/a/sa/b, labels: {}}]}") =>
        "workloads[1]: ecp/ns/a/sa/b is the workload of workloads[0] already; write its labels in one item\nworkloads[2]: cluster.local/ns/a/sa/b is the workload of workloads[1] already; write its labels in one item";
    service_entry_addresses_unknown: json("{rules: [], serviceEntryAddresses: allow}") =>
        "serviceEntryAddresses: unknown value `allow`, expected refuse or host";
    workload_labels_without_workload: json("{rules: [], workloads: [{principal: cluster.local/billing, labels: {}}]}") =>
        "workloads[0].principal: bad principal `cluster.local/billing`: labels are those of a Kubernetes workload, write trust-domain/ns/namespace/sa/name";
    service_entry_export_unknown: json("{rules: [], serviceEntryExport: public}") =>
        "serviceEntryExport: unknown value `public`, expected namespace or all";
    kind_unknown: json("{resources: [{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicies, metadata: {name: a, namespace: b}}]}") =>
        "resources[0].kind: unknown kind `CiliumNetworkPolicies` of cilium.io, did you mean \"CiliumNetworkPolicy\"?";
    kind_of_another_group: json("{resources: [{apiVersion: cilium.io/v2, kind: ServiceEntry, metadata: {name: a, namespace: b}}]}") =>
        "resources[0].apiVersion: `cilium.io/v2` is not of the group of ServiceEntry, which is networking.istio.io; write networking.istio.io/v1 if that one is meant, or leave the resource out";
    cilium_without_spec_and_specs: json("{resources: [{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: a, namespace: b}}]}") =>
        "resources[0]: has neither spec nor specs, write endpointSelector and egress under spec";
    faults_of_a_resource_without_a_name: json("{resources: [{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {namespace: b}, spec: {endpointSelector: {}, egres: []}}, {apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {namespace: b}, spec: {ports: []}}]}") =>
        "resources[0].metadata.name: missing, name the policy; denials are reported under it\nresources[0].spec.egres: unknown field, did you mean \"egress\"?\nresources[1].metadata.name: missing, name the policy; denials are reported under it\nresources[1].spec.hosts: missing, list the hosts that may be reached";
    cluster_wide_policies_of_one_name: json("resources: [{apiVersion: cilium.io/v2, kind: CiliumClusterwideNetworkPolicy, metadata: {name: a}, spec: {endpointSelector: {}}}, {apiVersion: cilium.io/v2, kind: CiliumClusterwideNetworkPolicy, metadata: {name: a}, spec: {endpointSelector: {}}}]") =>
        "resources[1]: duplicate cluster policy a, which an earlier resource defines";
    second_of_the_specs: json("{resources: [{apiVersion: cilium.io/v2, kind: CiliumClusterwideNetworkPolicy, metadata: {name: a}, specs: [{endpointSelector: {}}, {egress: []}]}]}") =>
        "resources[0].specs[1]: needs one of endpointSelector and nodeSelector: whom it is for";
}

const ENTRY: &str = "hosts: [x.com], ports: [{number: 443, name: tls, protocol: TLS}]";

refused! {
    "resources[0].spec.",
    entry_without_hosts: entry("ports: [{number: 443}]") =>
        "hosts: missing, list the hosts that may be reached";
    entry_for_every_host: entry(r#"hosts: ["*"], ports: [{number: 443, protocol: TLS}]"#) =>
        "hosts[0]: bad host `*`: it would let everything out; list the hosts, as in `api.x.com` or `*.x.com`";
    entry_of_an_unknown_resolution: entry(&format!("{ENTRY}, resolution: Static")) =>
        "resolution: unknown value `Static`, did you mean \"STATIC\"?";
    entry_of_an_unknown_location: entry(&format!("{ENTRY}, location: external")) =>
        "location: unknown value `external`, did you mean \"MESH_EXTERNAL\"?";
    entry_with_an_unknown_field: entry(&format!("{ENTRY}, endpoint: []")) =>
        "endpoint: unknown field, did you mean \"endpoints\"?";
    export_to_no_name_of_a_namespace: entry(&format!(r#"{ENTRY}, exportTo: ["./shop"]"#)) =>
        "exportTo[0]: bad name `./shop`: Kubernetes names are of a-z, 0-9 and `-`, start and end with a letter or digit, and have at most 63 characters";
    protocol_that_istio_does_not_know: entry("hosts: [x.com], ports: [{number: 443, protocol: HTTP/2}]") =>
        "ports[0].protocol: unknown value `HTTP/2`, expected one of Istio's protocols: HTTP, HTTP2, HTTP_PROXY, HTTPS, GRPC, GRPC-WEB, TLS, TCP, MONGO, MYSQL, REDIS or UDP";
    entry_port_as_a_string: entry(r#"hosts: [x.com], ports: [{number: "443"}]"#) =>
        "ports[0].number: expected a number of 1 to 65535, this is a string";
    entry_ports_no_list: entry("hosts: [x.com], ports: 443") =>
        "ports: expected a list, this is a number";
}

/// An item of `egress` with these keys.
fn egress(keys: &str) -> String {
    cilium(&format!("endpointSelector: {{}}, egress: [{{{keys}}}]"))
}

/// An item of `egress` to x.com with these keys of `toPorts`.
fn to_ports(keys: &str) -> String {
    egress(&format!("toFQDNs: [{{matchName: x.com}}], toPorts: [{{{keys}}}]"))
}

refused! {
    "resources[0].spec.",
    denial_of_egress: cilium("endpointSelector: {}, egressDeny: [{toEntities: [cluster]}]") =>
        "egressDeny: denies, and what this filter left out of it would be open; write rules with action: DENY for hosts, keep the rest in the cluster and remove it here";
    denial_of_egress_of_nodes: cilium("nodeSelector: {}, egressDeny: [{}]") =>
        "egressDeny: denies, and what this filter left out of it would be open; write rules with action: DENY for hosts, keep the rest in the cluster and remove it here";
    default_deny_as_a_string: cilium(r#"endpointSelector: {}, enableDefaultDeny: {egress: "no"}"#) =>
        "enableDefaultDeny.egress: expected true or false, this is a string";
    policy_with_an_unknown_field: cilium("endpointSelector: {}, egres: []") =>
        "egres: unknown field, did you mean \"egress\"?";
    expression_without_values: cilium("endpointSelector: {matchExpressions: [{key: app, operator: In}]}") =>
        "endpointSelector.matchExpressions[0]: In and NotIn take values, Exists and DoesNotExist take none";
    expression_with_an_unknown_operator: cilium("endpointSelector: {matchExpressions: [{key: app, operator: Equals, values: [web]}]}") =>
        "endpointSelector.matchExpressions[0].operator: unknown value `Equals`, expected In, NotIn, Exists or DoesNotExist";
    names_beside_entities: egress("toFQDNs: [{matchName: x.com}], toEntities: [world]") =>
        "egress[0]: has toFQDNs and toEntities, and Cilium takes one of them in a rule; write a rule for each";
    names_beside_networks: egress("toFQDNs: [{matchName: x.com}], toCIDR: [192.0.2.0/24]") =>
        "egress[0]: has toFQDNs and toCIDR, and Cilium takes one of them in a rule; write a rule for each";
    names_that_are_no_list: egress("toFQDNs: x.com") =>
        "egress[0].toFQDNs: expected a list, this is a string";
    values_that_are_no_list: cilium("endpointSelector: {matchExpressions: [{key: app, operator: In, values: web}]}") =>
        "endpointSelector.matchExpressions[0].values: expected a list, this is a string";
    egress_that_is_no_list: cilium("endpointSelector: {}, egress: {}") =>
        "egress: expected a list, this is an object";
    name_with_a_star: egress(r#"toFQDNs: [{matchName: "*.x.com"}]"#) =>
        "egress[0].toFQDNs[0].matchName: bad host `*.x.com`: matchName is one name, write matchPattern for one with stars";
    name_that_is_an_address: egress("toFQDNs: [{matchName: 192.0.2.1}]") =>
        "egress[0].toFQDNs[0].matchName: bad host `192.0.2.1`: an IP address is no name, and names are compared here; leave it to toCIDR";
    name_and_pattern: egress(r#"toFQDNs: [{matchName: x.com, matchPattern: "*.x.com"}]"#) =>
        "egress[0].toFQDNs[0]: needs one of matchName and matchPattern";
    pattern_that_is_a_url: egress(r#"toFQDNs: [{matchPattern: "https://*.x.com"}]"#) =>
        "egress[0].toFQDNs[0].matchPattern: bad host `https://*.x.com`: leave out `https://`, write `*.x.com`";
    entity_unknown: egress("toEntities: [internet]") =>
        "egress[0].toEntities[0]: unknown value `internet`, expected world, all, world-ipv4, world-ipv6, cluster, host, remote-node, kube-apiserver, ingress, init, health, unmanaged or none";
    ingress_key_in_egress: egress("fromEndpoints: [{}], toFQDNs: [{matchName: x.com}]") =>
        "egress[0].fromEndpoints: unknown field, did you mean \"toEndpoints\"?";
    authentication_of_an_unknown_mode: egress("toFQDNs: [{matchName: x.com}], authentication: {mode: always}") =>
        "egress[0].authentication.mode: unknown value `always`, expected disabled, required or test-always-fail";
    interception_of_tls: to_ports("ports: [{port: \"443\"}], terminatingTLS: {secret: {name: a}}, originatingTLS: {secret: {name: b}}, rules: {http: [{}]}") =>
        "egress[0].toPorts[0].terminatingTLS: has Cilium read what is inside of TLS and deny by it, which this filter cannot; keep the policy in the cluster and remove it here\nresources[0].spec.egress[0].toPorts[0].originatingTLS: has Cilium read what is inside of TLS and deny by it, which this filter cannot; keep the policy in the cluster and remove it here";
    server_name_with_a_port: to_ports("serverNames: [\"x.com:443\"]") =>
        "egress[0].toPorts[0].serverNames[0]: bad host `x.com:443`: ports stand beside hosts: write `x.com` and ports: [443]";
    rules_of_an_unknown_kind: to_ports("rules: {htp: []}") =>
        "egress[0].toPorts[0].rules.htp: unknown field, did you mean \"http\"?";
    port_out_of_range: to_ports("ports: [{port: \"70000\"}]") =>
        "egress[0].toPorts[0].ports[0].port: bad port `70000`: expected a number of 0 to 65535, as in \"443\", or a name";
    port_number_out_of_range: to_ports("ports: [{port: 70000}]") =>
        "egress[0].toPorts[0].ports[0].port: expected a whole number of 0 to 65535, this is `70000`";
    port_missing: to_ports("ports: [{protocol: TCP}]") =>
        "egress[0].toPorts[0].ports[0].port: missing, write the port, as in \"443\"";
    range_that_ends_before_it_begins: to_ports("ports: [{port: \"8080\", endPort: 8000}]") =>
        "egress[0].toPorts[0].ports[0]: endPort 8000 is below port 8080";
    transport_protocol_unknown: to_ports("ports: [{port: \"443\", protocol: HTTPS}]") =>
        "egress[0].toPorts[0].ports[0].protocol: unknown value `HTTPS`, expected TCP, UDP, SCTP or ANY";
}
