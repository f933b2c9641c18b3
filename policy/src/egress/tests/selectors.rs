//! Whom the selectors of Cilium policies pick.

use super::*;

const WORKLOADS: &str = "[
    {principal: cluster.local/ns/shop/sa/web, labels: {app: web, tier: front}},
    {principal: cluster.local/ns/shop/sa/api, labels: {app: api}},
    {principal: cluster.local/ns/pay/sa/web, labels: {app: web}}]";

/// The callers of the tests; `other` is not among the workloads.
const CALLERS: [&str; 5] = ["shop/web", "shop/api", "shop/other", "pay/web", "pay/other"];

/// The callers that a policy of this kind in the namespace shop lets reach x.com.
fn picked(kind: &str, selector: &str) -> Vec<&'static str> {
    let configuration = load(&json(&format!(
        "workloads: {WORKLOADS}
resources: [{{apiVersion: cilium.io/v2, kind: {kind}, metadata: {{name: c, namespace: shop}},
  spec: {{endpointSelector: {selector}, egress: [{{toFQDNs: [{{matchName: x.com}}]}}]}}}}]"
    )));
    let allowed = |caller: &&str| {
        let (namespace, account) = caller.split_once('/').expect("two parts");
        let principal = format!("cluster.local/ns/{namespace}/sa/{account}");
        let mut request = FakeRequest::egress(Connect, "x.com:443").by_principal(&principal);
        decide(&configuration, &mut request) == Decision::Allow
    };
    CALLERS.into_iter().filter(allowed).collect()
}

#[test]
fn selectors_of_a_namespace() {
    let rows: [(&str, &[&str]); 20] = [
        ("{}", &["shop/web", "shop/api", "shop/other"]),
        ("{matchLabels: {}}", &["shop/web", "shop/api", "shop/other"]),
        ("{matchLabels: {io.cilium.k8s.policy.serviceaccount: other}}", &["shop/other"]),
        (r#"{matchLabels: {"k8s:io.cilium.k8s.policy.serviceaccount": web}}"#, &["shop/web"]),
        ("{matchLabels: {app: web}}", &["shop/web"]),
        (r#"{matchLabels: {"k8s:app": web, tier: front}}"#, &["shop/web"]),
        (r#"{matchLabels: {"any:app": api}}"#, &["shop/api"]),
        (r#"{matchLabels: {"container:app": api}}"#, &[]),
        ("{matchLabels: {app: nobody}}", &[]),
        ("{matchExpressions: [{key: app, operator: In, values: [web, api]}]}", &["shop/web", "shop/api"]),
        ("{matchExpressions: [{key: app, operator: NotIn, values: [web]}]}", &["shop/api"]),
        ("{matchExpressions: [{key: tier, operator: Exists}]}", &["shop/web"]),
        ("{matchExpressions: [{key: tier, operator: Exists, values: []}]}", &["shop/web"]),
        ("{matchExpressions: [{key: tier, operator: DoesNotExist}]}", &["shop/api"]),
        ("{matchLabels: {app: web}, matchExpressions: [{key: tier, operator: DoesNotExist}]}", &[]),
        ("{matchLabels: {io.kubernetes.pod.namespace: shop}}", &["shop/web", "shop/api", "shop/other"]),
        ("{matchLabels: {io.kubernetes.pod.namespace: pay}}", &[]),
        ("{matchExpressions: [{key: io.kubernetes.pod.namespace, operator: DoesNotExist}]}", &[]),
        (
            "{matchExpressions: [{key: io.cilium.k8s.policy.serviceaccount, operator: NotIn, values: [web]}]}",
            &["shop/api", "shop/other"],
        ),
        ("{matchLabels: {io.cilium.k8s.policy.serviceaccount: \"*\"}}", &[]),
    ];
    for (selector, callers) in rows {
        assert_eq!(picked("CiliumNetworkPolicy", selector), callers, "{selector}");
    }
}

#[test]
fn selectors_of_the_cluster() {
    let rows: [(&str, &[&str]); 11] = [
        ("{}", &CALLERS),
        (r#"{matchLabels: {"k8s:io.kubernetes.pod.namespace": pay}}"#, &["pay/web", "pay/other"]),
        ("{matchLabels: {io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name: pay}}", &["pay/web", "pay/other"]),
        (
            "{matchExpressions: [{key: io.kubernetes.pod.namespace, operator: NotIn, values: [shop, kube-system]}]}",
            &["pay/web", "pay/other"],
        ),
        ("{matchExpressions: [{key: io.kubernetes.pod.namespace, operator: Exists}]}", &CALLERS),
        (
            "{matchLabels: {io.cilium.k8s.policy.serviceaccount: other}, matchExpressions: [{key: io.kubernetes.pod.namespace, operator: In, values: [shop, pay]}]}",
            &["shop/other", "pay/other"],
        ),
        ("{matchLabels: {io.cilium.k8s.policy.serviceaccount: web}}", &["shop/web", "pay/web"]),
        (
            "{matchLabels: {io.kubernetes.pod.namespace: shop}, matchExpressions: [{key: io.kubernetes.pod.namespace, operator: In, values: [pay]}]}",
            &[],
        ),
        ("{matchLabels: {app: web}}", &["shop/web", "pay/web"]),
        ("{matchLabels: {app: web, io.kubernetes.pod.namespace: pay}}", &["pay/web"]),
        ("{matchExpressions: [{key: app, operator: NotIn, values: [api]}]}", &["shop/web", "pay/web"]),
    ];
    for (selector, callers) in rows {
        assert_eq!(picked("CiliumClusterwideNetworkPolicy", selector), callers, "{selector}");
    }
}

#[test]
fn whom_a_selector_does_not_pick_is_nobody_without_an_identity_or_of_another_trust_domain() {
    let configuration = load(&json(
        "resources: [{apiVersion: cilium.io/v2, kind: CiliumClusterwideNetworkPolicy, metadata: {name: c}, spec: {endpointSelector: {}, egress: [{toFQDNs: [{matchName: x.com}]}]}}]",
    ));
    for mut request in [
        FakeRequest::egress(Connect, "x.com:443"),
        FakeRequest::egress(Connect, "x.com:443").by_principal("evil.example/ns/shop/sa/web"),
        FakeRequest::egress(Connect, "x.com:443").by_principal("cluster.local/vm/a"),
    ] {
        assert!(matches!(decide(&configuration, &mut request), Decision::Deny(_)), "{request:?}");
    }
}
