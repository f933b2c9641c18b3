//! Log lines of what resources hold that opens nothing here or is for others.

use super::*;

/// The notes and the warnings of a configuration, a line each.
fn lines(yaml: &str) -> (String, String) {
    let configuration = load(&json(yaml));
    let report = configuration.load_report();
    (report.notes().join("\n"), report.warnings().join("\n"))
}

/// A configuration of ServiceEntries in the namespace shop with these `spec`s.
fn entries(specs: &[&str]) -> String {
    let resource = |(number, spec): (usize, &&str)| {
        format!(
            "{{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {{name: e{number}, namespace: shop}}, spec: {{{spec}}}}}"
        )
    };
    format!("resources: [{}]", specs.iter().enumerate().map(resource).collect::<Vec<_>>().join(", "))
}

/// A configuration of CiliumNetworkPolicies in the namespace shop, each with this `egress` for all of its workloads.
fn policies(egress: &[&str]) -> String {
    let resource = |(number, egress): (usize, &&str)| {
        format!(
            "{{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {{name: c{number}, namespace: shop}}, spec: {{endpointSelector: {{}}, egress: {egress}}}}}"
        )
    };
    format!("resources: [{}]", egress.iter().enumerate().map(resource).collect::<Vec<_>>().join(", "))
}

const PUBLIC: &str = r#"hosts: [x.com], ports: [{number: 443}], exportTo: ["*"]"#;

/// One test a row: a configuration, its notes and its warnings.
macro_rules! noted {
    ($($name:ident: $configuration:expr => $notes:expr, $warnings:expr;)*) => {
        $(
            #[test]
            fn $name() {
                assert_eq!(lines(&$configuration), ($notes.to_owned(), $warnings.to_owned()));
            }
        )*
    };
}

noted! {
    nothing_to_say: entries(&[PUBLIC]) => "", "";
    keys_for_envoy: entries(&[
        &format!("{PUBLIC}, resolution: STATIC, endpoints: [{{address: 192.0.2.1}}]"),
        &format!("{PUBLIC}, workloadSelector: {{labels: {{app: vm}}}}, subjectAltNames: [x.com]"),
        r#"hosts: [x.com], ports: [{number: 80, targetPort: 8080}], exportTo: ["*"], addresses: [240.0.0.1]"#,
    ]) =>
        "hosts and ports of a ServiceEntry count here, the rest (endpoints, resolution: STATIC, workloadSelector, subjectAltNames, targetPort, addresses) is for Envoy's clusters: shop/e0, shop/e1, shop/e2", "";
    entries_that_open_nothing: entries(&[
        &format!("{PUBLIC}, location: MESH_INTERNAL"),
        r#"hosts: [x.com], exportTo: ["*"]"#,
        r#"hosts: [x.com], ports: [{number: 443}], exportTo: ["~"]"#,
        r#"hosts: [x.com], ports: [{number: 53, protocol: UDP}, {number: 443}, {number: 123, protocol: udp}], exportTo: ["*"]"#,
    ]) =>
        "passed over, ServiceEntries or parts of them that open nothing here: 1 with location: MESH_INTERNAL, 1 without ports, 1 exported to nobody, 2 ports of UDP", "";
    entries_without_export: entries(&["hosts: [x.com], ports: [{number: 443}]", "hosts: [x.com], ports: [{number: 443}], exportTo: []"]) =>
        "without exportTo a ServiceEntry is for its own namespace here, and for all in Istio, as with serviceEntryExport: all: shop/e0, shop/e1", "";
    entries_without_export_as_in_istio: format!("serviceEntryExport: all\n{}", entries(&["hosts: [x.com], ports: [{number: 443}]"])) => "", "";
    parts_that_are_not_about_hosts: policies(&[
        r#"[{toEndpoints: [{matchLabels: {app: db}}], toPorts: [{ports: [{port: "5432"}]}]}, {toCIDR: [10.0.0.0/8]}, {toEntities: [cluster, host]}]"#,
        r#"[{toEndpoints: [{}], toPorts: [{ports: [{port: "53", protocol: UDP}], rules: {dns: [{matchPattern: "*"}]}}]}, {toPorts: [{ports: [{port: "53"}], rules: {dns: [{}]}}]}]"#,
        r#"[{toFQDNs: [{matchName: x.com}], toPorts: [{ports: [{port: "443"}, {port: "443", protocol: UDP}, {port: https}]}]}, {icmps: [{fields: [{type: 8}]}]}, {}]"#,
    ]) =>
        "passed over, parts of Cilium policies that are not about outside hosts: 2 toEndpoints, 1 toCIDR, 1 toEntities, 1 DNS rules, 1 ports of UDP and the like, 1 ports by name, 1 icmps", "";
    the_world_without_names: policies(&[
        "[{toEntities: [world]}, {toEntities: [all]}]",
        r#"[{toPorts: [{ports: [{port: "443"}]}]}]"#,
        "[{toCIDRSet: [{cidr: 0.0.0.0/0, except: [10.0.0.0/8]}]}]",
        r#"[{toCIDR: ["::/0"]}]"#,
        r#"[{toEntities: [world-ipv4], toPorts: [{ports: [{port: "443"}], serverNames: [x.com]}]}]"#,
        r#"[{toEntities: [world], toPorts: [{ports: [{port: "443"}], serverNames: []}]}]"#,
        r#"[{toEntities: [world], toPorts: [{ports: [{port: "443"}], serverNames: [x.com]}]}]"#,
    ]) =>
        "", "opens the world without naming hosts, which opens nothing here; list them in toFQDNs or serverNames: shop/c0, shop/c1, shop/c2, shop/c3, shop/c4, shop/c5";
    restrictions_that_are_not_carried_out: policies(&[
        r#"[{toFQDNs: [{matchName: x.com}], toPorts: [{ports: [{port: "80"}], rules: {http: [{method: GET}]}}]}]"#,
        r#"[{toFQDNs: [{matchName: x.com}], authentication: {mode: required}}]"#,
        r#"[{toFQDNs: [{matchName: x.com}], toPorts: [{ports: [{port: "80"}], rules: {http: [{}]}}]}]"#,
    ]) =>
        "", "allows hosts under rules of layer 7, a listener or authentication, which this filter does not carry out, so those hosts are not opened here: shop/c0, shop/c1";
}

#[test]
fn sections_of_a_policy_are_counted_and_a_selector_that_picks_nobody_is_named() {
    let policy = |name: &str, spec: &str| {
        format!(
            "{{apiVersion: cilium.io/v2, kind: CiliumClusterwideNetworkPolicy, metadata: {{name: {name}}}, spec: {{{spec}}}}}"
        )
    };
    let open = "egress: [{toFQDNs: [{matchName: x.com}]}]";
    let resources = [
        policy("a", &format!("endpointSelector: {{matchLabels: {{app: web}}}}, {open}")),
        policy("b", "endpointSelector: {matchLabels: {app: web}}, ingress: [{}], ingressDeny: [{}]"),
        policy("c", &format!("nodeSelector: {{}}, {open}")),
        policy("d", &format!("endpointSelector: {{}}, enableDefaultDeny: {{egress: false}}, {open}")),
    ];
    let (notes, warnings) = lines(&format!("resources: [{}]", resources.join(", ")));
    assert_eq!(
        notes,
        "passed over, parts of Cilium policies that are not about outside hosts: 1 ingress, 1 ingressDeny, 1 nodeSelector\n\
         enableDefaultDeny leaves open what no policy allows, and here that is denied: cluster policy d"
    );
    assert_eq!(
        warnings,
        "the endpointSelector picks none of the workloads that are listed under workloads, so the policy applies to none: cluster policy a"
    );
}

#[test]
fn a_line_names_a_few_of_many() {
    let names = (0..1_000).map(|_| "[{toEntities: [world]}]").collect::<Vec<_>>();
    let (_, warnings) = lines(&policies(&names));
    assert!(
        warnings.ends_with(": shop/c0, shop/c1, shop/c2, shop/c3, shop/c4, shop/c5, shop/c6, shop/c7 and 992 more"),
        "{warnings}"
    );
}
