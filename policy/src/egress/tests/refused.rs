//! Refused configurations, with every line of their errors.

use super::*;
use crate::authz::decision::Decision;
use crate::egress::request::EgressProtocol;
use crate::test_support::yaml::json;

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

const ALL: &str = "endpointSelector: {}, egress";

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
    rule_without_name: json("{rules: [{hosts: [x.com]}]}") =>
        "rules[0].name: missing, name the rule; denials are reported under it";
    rule_without_hosts: rule("ports: [443]") =>
        "rules[0].hosts: missing, list the hosts, as in [\"api.x.com\", \"*.x.com\"]";
    hosts_empty: rule("hosts: []") =>
        "rules[0].hosts: empty list, add a value, or remove the key and the rule with it";
    rule_with_an_unknown_field: rule("hosts: [x.com], port: [1]") =>
        "rules[0].port: unknown field, did you mean \"ports\"?";
    port_zero: rule("hosts: [x.com], ports: [0]") =>
        "rules[0].ports[0]: expected a whole number of 1 to 65535, this is `0`";
    port_as_a_string: rule(r#"hosts: [x.com], ports: ["443"]"#) =>
        "rules[0].ports[0]: expected a number of 1 to 65535, this is a string";
    ports_empty: rule("hosts: [x.com], ports: []") =>
        "rules[0].ports: empty list, add a value, or remove the key to mean 80 for HTTP and 443 for CONNECT and TLS";
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
    workload_labels_without_workload: json("{rules: [], workloads: [{principal: cluster.local/billing, labels: {}}]}") =>
        "workloads[0].principal: bad principal `cluster.local/billing`: labels are those of a Kubernetes workload, write trust-domain/ns/namespace/sa/name";
    kind_unknown: json("{resources: [{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicies, metadata: {name: a, namespace: b}}]}") =>
        "resources[0].kind: unknown kind `CiliumNetworkPolicies` of cilium.io, did you mean \"CiliumNetworkPolicy\"?";
    kind_of_another_group: json("{resources: [{apiVersion: cilium.io/v2, kind: ServiceEntry, metadata: {name: a, namespace: b}}]}") =>
        "resources[0].apiVersion: `cilium.io/v2` is not of the group of ServiceEntry, which is networking.istio.io; write networking.istio.io/v1 if that one is meant, or leave the resource out";
}

const ENTRY: &str = "hosts: [x.com], ports: [{number: 443, name: tls, protocol: TLS}]";

#[test]
fn a_service_entry_with_addresses_and_location_is_read() {
    load(&entry(ENTRY));
    load(&entry(&format!(r#"{ENTRY}, addresses: ["240.0.0.1"], resolution: NONE, location: MESH_EXTERNAL"#)));
}

refused! {
    "resources[0].spec.",
    entry_without_ports: entry("hosts: [x.com]") =>
        "ports: missing, list the ports that may be reached";
    entry_within_the_mesh: entry(&format!("{ENTRY}, location: MESH_INTERNAL")) =>
        "location: MESH_INTERNAL is a part of the mesh, and this filter decides what leaves it; leave the entry out here";
    entry_of_static_resolution: entry(&format!("{ENTRY}, resolution: STATIC")) =>
        "resolution: STATIC sends to endpoints of its own, which no filter can; the gateway resolves the host, write DNS";
    entry_with_endpoints: entry(&format!(r#"{ENTRY}, endpoints: [{{address: "10.0.0.1"}}]"#)) =>
        "endpoints: the gateway resolves the host itself and sends to nothing else; remove it, and route in Envoy";
    entry_with_subject_alt_names: entry(&format!("{ENTRY}, subjectAltNames: [x]")) =>
        "subjectAltNames: no filter sees the server's certificate; check it in the upstream TLS context, and remove it here";
    export_to_empty: entry(&format!("{ENTRY}, exportTo: []")) =>
        "exportTo: empty list, add a value, or remove the key to mean the entry's own namespace";
    export_to_nobody: entry(&format!(r#"{ENTRY}, exportTo: ["~"]"#)) =>
        "exportTo[0]: `~` shows it to nobody; leave the entry out";
    entry_for_every_host: entry(r#"hosts: ["*"], ports: [{number: 443, protocol: TLS}]"#) =>
        "hosts[0]: bad host `*`: it would let everything out; list the hosts, as in `api.x.com` or `*.x.com`";
    protocol_in_lower_case: entry("hosts: [x.com], ports: [{number: 443, protocol: https}]") =>
        "ports[0].protocol: unknown value `https`, did you mean \"HTTPS\"?";
    entry_with_a_target_port: entry("hosts: [x.com], ports: [{number: 443, targetPort: 8443}]") =>
        "ports[0].targetPort: the gateway sends to the port that the client names; remove it, and route in Envoy";
}

const EGRESS: &str =
    r#"[{toEntities: [world], toPorts: [{ports: [{port: "443", protocol: TCP}], serverNames: [x.com]}]}]"#;

#[test]
fn a_cilium_network_policy_for_the_world_is_read() {
    load(&cilium(&format!("{ALL}: {EGRESS}")));
}

refused! {
    "resources[0].spec.",
    selector_of_an_unknown_workload: cilium(&format!("endpointSelector: {{matchLabels: {{app: web}}}}, egress: {EGRESS}")) =>
        "endpointSelector: no entry of workloads in the namespace shop has what it asks of `app`, so it cannot be told whom it picks; add {principal: cluster.local/ns/shop/sa/…, labels: {…}} to workloads, or select by io.cilium.k8s.policy.serviceaccount";
    egress_to_endpoints: cilium(&format!(r#"{ALL}: [{{toEndpoints: [{{matchLabels: {{app: db}}}}], toPorts: [{{ports: [{{port: "5432", protocol: TCP}}], serverNames: [x.com]}}]}}]"#)) =>
        "egress[0].toEndpoints: is about traffic within the cluster, and this filter decides what leaves it by serverNames; keep it in the cluster and remove it here";
    egress_without_server_names: cilium(&format!(r#"{ALL}: [{{toEntities: [world], toPorts: [{{ports: [{{port: "443"}}]}}]}}]"#)) =>
        "egress[0].toPorts[0].serverNames: missing, without them it is about addresses, which this filter does not decide by; list the hosts";
    egress_without_hosts: cilium(&format!("{ALL}: [{{toEntities: [world]}}]")) =>
        "egress[0]: lists no host; write toPorts with serverNames, or leave the rule out here";
    egress_to_the_cluster: cilium(&format!("{ALL}: {}", EGRESS.replace("world", "cluster"))) =>
        "egress[0].toEntities[0]: `cluster` is not the world outside, and this filter decides what leaves the cluster; write world";
    policy_with_ingress: cilium(&format!("{ALL}: {EGRESS}, ingress: []")) =>
        "ingress: is about what comes in, and this filter decides what leaves; keep it in the cluster and remove it here";
    egress_by_udp: cilium(&format!("{ALL}: {}", EGRESS.replace("TCP", "UDP"))) =>
        "egress[0].toPorts[0].ports[0].protocol: server names are seen on TCP alone, write TCP";
    port_by_name: cilium(&format!("{ALL}: {}", EGRESS.replace("\"443\"", "\"https\""))) =>
        "egress[0].toPorts[0].ports[0].port: bad port `https`: expected a number of 1 to 65535, as in \"443\"";
    server_name_with_half_a_star: cilium(&format!("{ALL}: {}", EGRESS.replace("x.com", "sub*.x.com"))) =>
        "egress[0].toPorts[0].serverNames[0]: bad host `sub*.x.com`: a star stands for a whole label, `sub*` is part of one; list the hosts, or write `*` there";
    default_deny_switched_off: cilium(&format!("{ALL}: {EGRESS}, enableDefaultDeny: {{egress: false}}")) =>
        "enableDefaultDeny.egress: here everything is denied that nothing allows; remove it";
}

#[test]
fn selectors_pick_by_service_account_and_by_label() {
    let egress = r#"[{toPorts: [{ports: [{port: "443"}], serverNames: [x.com]}]}]"#;
    let workloads = json(
        "[
        {principal: cluster.local/ns/shop/sa/web, labels: {app: web, tier: front}},
        {principal: cluster.local/ns/shop/sa/api, labels: {app: api}},
        {principal: cluster.local/ns/pay/sa/web, labels: {app: web}}]",
    );
    let rows: [(&str, &[&str]); 8] = [
        ("{}", &["shop/web", "shop/api", "shop/other"]),
        ("{matchLabels: {io.cilium.k8s.policy.serviceaccount: other}}", &["shop/other"]),
        (r#"{matchLabels: {"k8s:io.cilium.k8s.policy.serviceaccount": web}}"#, &["shop/web"]),
        ("{matchLabels: {app: web}}", &["shop/web"]),
        (r#"{matchLabels: {"k8s:app": web, tier: front}}"#, &["shop/web"]),
        ("{matchExpressions: [{key: app, operator: In, values: [web, api]}]}", &["shop/web", "shop/api"]),
        ("{matchExpressions: [{key: app, operator: NotIn, values: [web]}]}", &["shop/api"]),
        ("{matchExpressions: [{key: tier, operator: DoesNotExist}]}", &["shop/api"]),
    ];
    for (selector, picked) in rows {
        let json = cilium(&format!("endpointSelector: {selector}, egress: {egress}"));
        let json = json.replacen('{', &format!(r#"{{"workloads": {workloads}, "#), 1);
        let configuration = load(&json);
        for account in ["shop/web", "shop/api", "shop/other", "pay/web"] {
            let (namespace, name) = account.split_once('/').expect("two parts");
            let mut request = FakeRequest::egress(EgressProtocol::Connect, "x.com:443")
                .by_principal(&format!("cluster.local/ns/{namespace}/sa/{name}"));
            let allowed = configuration.policy().decide(&mut request) == Decision::Allow;
            assert_eq!(allowed, picked.contains(&account), "{selector} for {account}");
        }
    }
}
