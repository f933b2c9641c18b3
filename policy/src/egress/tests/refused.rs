//! What is refused, with every line that says why.

use super::*;
use crate::authz::decision::Decision;
use crate::egress::request::EgressProtocol;

fn refusal(json: &str) -> String {
    match EgressAllowlist::parse(json.as_bytes()) {
        Ok(_) => panic!("taken: {json}"),
        Err(refusal) => refusal.to_string(),
    }
}

fn rule(keys: &str) -> String {
    format!(r#"{{"rules": [{{"name": "r", {keys}}}]}}"#)
}

fn entry(spec: &str) -> String {
    format!(
        r#"{{"resources": [{{"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": {{"name": "e", "namespace": "shop"}}, "spec": {{{spec}}}}}]}}"#
    )
}

fn cilium(spec: &str) -> String {
    format!(
        r#"{{"resources": [{{"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": {{"name": "c", "namespace": "shop"}}, "spec": {{{spec}}}}}]}}"#
    )
}

const ALL: &str = r#""endpointSelector": {}, "egress""#;

#[test]
fn configurations_and_rules() {
    let rows = [
        (
            "{}".to_owned(),
            "has neither rules nor resources; list the hosts that may be reached, or write rules: [] to deny everything",
        ),
        (r#"{"rule": []}"#.to_owned(), "has neither rules nor resources; list the hosts that may be reached, or write rules: [] to deny everything\nrule: unknown field, did you mean \"rules\"?"),
        (r#"{"rules": [], "ipAddresses": "no"}"#.to_owned(), "ipAddresses: unknown value `no`, expected deny or allow"),
        (r#"{"rules": [], "sniMustMatchHost": "yes"}"#.to_owned(), "sniMustMatchHost: expected true or false, this is a string"),
        (r#"{"rules": [{"hosts": ["x.com"]}]}"#.to_owned(), "rules[0].name: missing, name the rule; denials are reported under it"),
        (rule(r#""ports": [443]"#), "rules[0].hosts: missing, list the hosts, as in [\"api.x.com\", \"*.x.com\"]"),
        (rule(r#""hosts": []"#), "rules[0].hosts: empty list, add a value, or remove the key and the rule with it"),
        (rule(r#""hosts": ["x.com"], "port": [1]"#), "rules[0].port: unknown field, did you mean \"ports\"?"),
        (rule(r#""hosts": ["x.com"], "ports": [0]"#), "rules[0].ports[0]: expected a whole number of 1 to 65535, this is `0`"),
        (rule(r#""hosts": ["x.com"], "ports": ["443"]"#), "rules[0].ports[0]: expected a number of 1 to 65535, this is a string"),
        (rule(r#""hosts": ["x.com"], "ports": []"#), "rules[0].ports: empty list, add a value, or remove the key to mean 80 for HTTP and 443 for CONNECT and TLS"),
        (rule(r#""hosts": ["x.com"], "action": "Deny""#), "rules[0].action: unknown value `Deny`, did you mean \"DENY\"?"),
        (rule(r#""hosts": ["x.com"], "from": []"#), "rules[0].from: empty list, add a value, or remove the key to mean any source"),
        (
            rule(r#""hosts": ["x.com"], "from": [{"source": {"principal": ["a/b"]}}]"#),
            "rules[0].from[0].source.principal: unknown field, did you mean \"principals\"?",
        ),
        (
            rule(r#""hosts": ["x.com"], "from": [{"source": {"serviceAccounts": ["web"]}}]"#),
            "rules[0].from[0].source.serviceAccounts[0]: bad service account `web`: write its namespace before it, as in `shop/web`",
        ),
        (
            rule(r#""hosts": ["x.com"], "from": [{"source": {"ipBlocks": ["10.0.0/8"]}}]"#),
            "rules[0].from[0].source.ipBlocks[0]: bad IP block `10.0.0/8`: expected an address or a CIDR, as in `10.0.0.0/8` or `2001:db8::/32`",
        ),
        (
            rule(r#""hosts": ["10.0.0.1"]"#),
            "rules[0].hosts[0]: bad host `10.0.0.1`: an IP address says nothing of who is there; list the name, or set ipAddresses: allow",
        ),
        (
            r#"{"rules": [{"name": "a", "hosts": ["*"]}, {"name": "a", "hosts": ["x.com"]}, {"name": "a", "hosts": ["y.com"]}]}"#.to_owned(),
            "rules[0].hosts[0]: bad host `*`: it would let everything out; list the hosts, as in `api.x.com` or `*.x.com`\nrules[2]: the name a is that of rules[1] already, denials are reported under it",
        ),
        (
            r#"{"rules": [], "workloads": [{"principal": "cluster.local/billing", "labels": {}}]}"#.to_owned(),
            "workloads[0].principal: bad principal `cluster.local/billing`: labels are those of a Kubernetes workload, write trust-domain/ns/namespace/sa/name",
        ),
        (
            r#"{"resources": [{"apiVersion": "v1", "kind": "NetworkPolicy", "metadata": {"name": "a", "namespace": "b"}}]}"#.to_owned(),
            "resources[0].kind: unknown kind `NetworkPolicy`, expected ServiceEntry or CiliumNetworkPolicy",
        ),
        (
            r#"{"resources": [{"apiVersion": "cilium.io/v2", "kind": "ServiceEntry", "metadata": {"name": "a", "namespace": "b"}}]}"#.to_owned(),
            "resources[0].apiVersion: `cilium.io/v2` has no ServiceEntry, write networking.istio.io/v1",
        ),
    ];
    for (json, expected) in rows {
        assert_eq!(refusal(&json), expected, "{json}");
    }
}

#[test]
fn service_entries() {
    let good = r#""hosts": ["x.com"], "ports": [{"number": 443, "name": "tls", "protocol": "TLS"}]"#;
    load(&entry(good));
    load(&entry(&format!(r#"{good}, "addresses": ["240.0.0.1"], "resolution": "NONE", "location": "MESH_EXTERNAL""#)));
    let rows = [
        (r#""hosts": ["x.com"]"#.to_owned(), "ports: missing, list the ports that may be reached"),
        (
            format!(r#"{good}, "location": "MESH_INTERNAL""#),
            "location: MESH_INTERNAL is a part of the mesh, and this filter decides what leaves it; leave the entry out here",
        ),
        (
            format!(r#"{good}, "resolution": "STATIC""#),
            "resolution: STATIC sends to endpoints of its own, which no filter can; the gateway resolves the host, write DNS",
        ),
        (
            format!(r#"{good}, "endpoints": [{{"address": "10.0.0.1"}}]"#),
            "endpoints: the gateway resolves the host itself and sends to nothing else; remove it, and route in Envoy",
        ),
        (
            format!(r#"{good}, "subjectAltNames": ["x"]"#),
            "subjectAltNames: no filter sees the server's certificate; check it in the upstream TLS context, and remove it here",
        ),
        (
            format!(r#"{good}, "exportTo": []"#),
            "exportTo: empty list, add a value, or remove the key to mean the entry's own namespace",
        ),
        (format!(r#"{good}, "exportTo": ["~"]"#), "exportTo[0]: `~` shows it to nobody; leave the entry out"),
        (
            r#""hosts": ["*"], "ports": [{"number": 443, "protocol": "TLS"}]"#.to_owned(),
            "hosts[0]: bad host `*`: it would let everything out; list the hosts, as in `api.x.com` or `*.x.com`",
        ),
        (
            r#""hosts": ["x.com"], "ports": [{"number": 443, "protocol": "https"}]"#.to_owned(),
            "ports[0].protocol: unknown value `https`, did you mean \"HTTPS\"?",
        ),
        (
            r#""hosts": ["x.com"], "ports": [{"number": 443, "targetPort": 8443}]"#.to_owned(),
            "ports[0].targetPort: the gateway sends to the port that the client names; remove it, and route in Envoy",
        ),
    ];
    for (spec, expected) in rows {
        assert_eq!(refusal(&entry(&spec)), format!("resources[0].spec.{expected}"), "{spec}");
    }
}

#[test]
fn cilium_network_policies() {
    let good = r#"[{"toEntities": ["world"], "toPorts": [{"ports": [{"port": "443", "protocol": "TCP"}], "serverNames": ["x.com"]}]}]"#;
    load(&cilium(&format!("{ALL}: {good}")));
    let rows = [
        (
            format!(r#""endpointSelector": {{"matchLabels": {{"app": "web"}}}}, "egress": {good}"#),
            "endpointSelector: no entry of workloads in the namespace shop has what it asks of `app`, so it cannot be told whom it picks; add {principal: cluster.local/ns/shop/sa/…, labels: {…}} to workloads, or select by io.cilium.k8s.policy.serviceaccount",
        ),
        (
            format!(
                r#"{ALL}: [{{"toEndpoints": [{{"matchLabels": {{"app": "db"}}}}], "toPorts": [{{"ports": [{{"port": "5432", "protocol": "TCP"}}], "serverNames": ["x.com"]}}]}}]"#
            ),
            "egress[0].toEndpoints: is about traffic within the cluster, and this filter decides what leaves it by serverNames; keep it in the cluster and remove it here",
        ),
        (
            format!(r#"{ALL}: [{{"toEntities": ["world"], "toPorts": [{{"ports": [{{"port": "443"}}]}}]}}]"#),
            "egress[0].toPorts[0].serverNames: missing, without them it is about addresses, which this filter does not decide by; list the hosts",
        ),
        (
            format!(r#"{ALL}: [{{"toEntities": ["world"]}}]"#),
            "egress[0]: lists no host; write toPorts with serverNames, or leave the rule out here",
        ),
        (
            format!(r#"{ALL}: {}"#, good.replace("world", "cluster")),
            "egress[0].toEntities[0]: `cluster` is not the world outside, and this filter decides what leaves the cluster; write world",
        ),
        (
            format!(r#"{ALL}: {good}, "ingress": []"#),
            "ingress: is about what comes in, and this filter decides what leaves; keep it in the cluster and remove it here",
        ),
        (
            format!(r#"{ALL}: {}"#, good.replace("TCP", "UDP")),
            "egress[0].toPorts[0].ports[0].protocol: server names are seen on TCP alone, write TCP",
        ),
        (
            format!(r#"{ALL}: {}"#, good.replace("\"443\"", "\"https\"")),
            "egress[0].toPorts[0].ports[0].port: bad port `https`: expected a number of 1 to 65535, as in \"443\"",
        ),
        (
            format!(r#"{ALL}: {}"#, good.replace("x.com", "sub*.x.com")),
            "egress[0].toPorts[0].serverNames[0]: bad host `sub*.x.com`: a star stands for a whole label, `sub*` is part of one; list the hosts, or write `*` there",
        ),
        (
            format!(r#"{ALL}: {good}, "enableDefaultDeny": {{"egress": false}}"#),
            "enableDefaultDeny.egress: here everything is denied that nothing allows; remove it",
        ),
    ];
    for (spec, expected) in rows {
        assert_eq!(refusal(&cilium(&spec)), format!("resources[0].spec.{expected}"), "{spec}");
    }
}

#[test]
fn selectors_pick_by_service_account_and_by_label() {
    let egress = r#"[{"toPorts": [{"ports": [{"port": "443"}], "serverNames": ["x.com"]}]}]"#;
    let workloads = r#""workloads": [
        {"principal": "cluster.local/ns/shop/sa/web", "labels": {"app": "web", "tier": "front"}},
        {"principal": "cluster.local/ns/shop/sa/api", "labels": {"app": "api"}},
        {"principal": "cluster.local/ns/pay/sa/web", "labels": {"app": "web"}}]"#;
    let rows: [(&str, &[&str]); 8] = [
        (r#"{}"#, &["shop/web", "shop/api", "shop/other"]),
        (r#"{"matchLabels": {"io.cilium.k8s.policy.serviceaccount": "other"}}"#, &["shop/other"]),
        (r#"{"matchLabels": {"k8s:io.cilium.k8s.policy.serviceaccount": "web"}}"#, &["shop/web"]),
        (r#"{"matchLabels": {"app": "web"}}"#, &["shop/web"]),
        (r#"{"matchLabels": {"k8s:app": "web", "tier": "front"}}"#, &["shop/web"]),
        (
            r#"{"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "api"]}]}"#,
            &["shop/web", "shop/api"],
        ),
        (r#"{"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}"#, &["shop/api"]),
        (r#"{"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}"#, &["shop/api"]),
    ];
    for (selector, picked) in rows {
        let json = cilium(&format!(r#""endpointSelector": {selector}, "egress": {egress}"#)).replacen(
            '{',
            &format!("{{{workloads}, "),
            1,
        );
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
