//! The lines about configurations that are loaded.

use crate::IdentityAuthz;
use crate::test_support::yaml::json;

/// The notes and the warnings about a configuration with these resources; `keys` and `resources` are YAML.
fn lines(keys: &str, resources: &str) -> (Vec<String>, Vec<String>) {
    let configuration = json(&format!("{{defaultAction: DENY, {keys} resources: [{resources}]}}"));
    let loaded = IdentityAuthz::parse(configuration.as_bytes()).unwrap_or_else(|errors| panic!("{errors}"));
    let report = loaded.load_report();
    (report.notes().to_vec(), report.warnings().to_vec())
}

/// An AuthorizationPolicy of this name and namespace; `spec` is YAML.
fn policy(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {{name: {name}, namespace: {namespace}}}, spec: {spec}}}"
    )
}

const WORKLOAD: &str = "workload: {namespace: shop, labels: {app: orders, tier: back}, service: orders},";

#[test]
fn what_does_not_apply_is_named_with_the_difference() {
    let rows = [
        (
            "{selector: {matchLabels: {app: orderz}}, action: DENY, rules: [{}]}",
            "1 do not apply here: shop/p: its selector asks for `app: orderz`, this workload has `app: orders`",
        ),
        (
            "{selector: {matchLabels: {apps: orders, tier: back}}}",
            "1 do not apply here: shop/p: its selector asks for `apps: orders`, this workload has no label `apps`, but `app`",
        ),
        (
            "{selector: {matchLabels: {version: v1}}}",
            "1 do not apply here: shop/p: its selector asks for `version: v1`, this workload has no label `version`",
        ),
        (
            "{targetRefs: [{kind: Service, name: web}]}",
            "1 do not apply here: shop/p: it is for the Service `web`, this is `orders`",
        ),
        (
            "{targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: edge}]}",
            "1 do not apply here: shop/p: it is for the Gateway `edge`, this is none",
        ),
    ];
    for (spec, expected) in rows {
        assert_eq!(lines(WORKLOAD, &policy("shop", "p", spec)), (vec![expected.to_owned()], Vec::new()), "{spec}");
    }
    assert_eq!(lines(WORKLOAD, &policy("shop", "p", "{selector: {matchLabels: {app: orders}}}")).0, [""; 0]);
}

#[test]
fn many_that_do_not_apply_are_counted() {
    let elsewhere = (0..30).map(|number| policy(&format!("ns{}", number % 7), &format!("p{number}"), "{}"));
    let here = (0..14).map(|number| policy("shop", &format!("p{number}"), "{selector: {matchLabels: {app: x}}}"));
    let all: Vec<_> = elsewhere.chain(here).collect();
    let (notes, _) = lines(WORKLOAD, &all.join(", "));
    let [line] = notes.as_slice() else { panic!("{notes:?}") };
    assert!(
        line.starts_with(
            "44 do not apply here: shop/p0: its selector asks for `app: x`, this workload has `app: orders`; shop/p1: "
        ),
        "{line}"
    );
    assert!(line.ends_with("; 30 of the namespaces ns0, ns1, ns2, ns3, ns4 and others; 4 more"), "{line}");
    assert!(line.len() < 1700, "{line}");
}

#[test]
fn without_a_workload_policies_for_several_are_warned_of() {
    let warning = |of: &str| {
        vec![format!(
            "no workload is set, so the policies of {of} all apply here, whatever they select, and what one of them allows is allowed; write workload: {{namespace, labels}}"
        )]
    };
    let none = Vec::new();
    let rows = [
        (policy("shop", "p", "{}"), none.clone()),
        (format!("{}, {}", policy("shop", "p", "{}"), policy("istio-system", "q", "{}")), none),
        (format!("{}, {}", policy("shop", "p", "{}"), policy("web", "q", "{}")), warning("the namespaces shop, web")),
        (policy("shop", "p", "{selector: {matchLabels: {app: x}}}"), warning("the namespace shop")),
        (policy("istio-system", "p", "{selector: {matchLabels: {app: x}}}"), warning("the root namespace")),
    ];
    for (resources, expected) in rows {
        assert_eq!(lines("", &resources), (Vec::new(), expected), "{resources}");
    }
}

/// A PeerAuthentication for the whole namespace `shop`, with this creation time.
fn strict(name: &str, created: &str) -> String {
    format!(
        r#"{{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {{name: {name}, namespace: shop, creationTimestamp: "{created}"}}, spec: {{mtls: {{mode: STRICT}}}}}}"#
    )
}

#[test]
fn of_several_peer_authentications_the_oldest_counts() {
    let passed_over = |newer: &str, older: &str| {
        format!(
            "PeerAuthentication shop/{newer} is passed over: PeerAuthentication shop/{older} is for its whole namespace too and older, so that one counts, as in Istio"
        )
    };
    let (old, new) = ("2024-05-01T10:00:00Z", "2024-05-01T10:00:01Z");
    let rows = [
        ([("a", old), ("b", new), ("c", new)], [passed_over("b", "a"), passed_over("c", "a")]),
        ([("a", new), ("b", new), ("c", old)], [passed_over("b", "a"), passed_over("a", "c")]),
        // Of one second: by name.
        ([("c", old), ("b", old), ("a", old)], [passed_over("c", "b"), passed_over("b", "a")]),
    ];
    for (resources, expected) in rows {
        let resources = resources.map(|(name, created)| strict(name, created)).join(", ");
        assert_eq!(lines(WORKLOAD, &resources).1, expected, "{resources}");
    }
}

#[test]
fn where_a_time_is_missing_or_in_another_form_both_are_refused() {
    for time in ["", "yesterday", "2024-05-01T10:00:00+01", "2024-05-01 10:00:00Z"] {
        let resources = [strict("a", "2024-05-01T10:00:00Z"), strict("b", time)].join(", ");
        let configuration = json(&format!("{{defaultAction: DENY, {WORKLOAD} resources: [{resources}]}}"));
        let refusal = IdentityAuthz::parse(configuration.as_bytes()).err().map(|errors| errors.to_string());
        assert_eq!(
            refusal.as_deref(),
            Some(
                "resources: PeerAuthentication shop/a and PeerAuthentication shop/b are both for its whole namespace; Istio picks the older one, and metadata.creationTimestamp does not say which; keep one"
            ),
            "{time}"
        );
    }
}

#[test]
fn an_exception_from_strict_is_warned_of_without_a_workload() {
    let peers = |namespace: &str, name: &str, spec: &str| {
        format!(
            "{{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {{name: {name}, namespace: {namespace}}}, spec: {spec}}}"
        )
    };
    let mesh = peers("istio-system", "default", "{mtls: {mode: STRICT}}");
    let loose = peers("shop", "default", "{mtls: {mode: PERMISSIVE}}");
    let warning = "PeerAuthentication shop/default takes back what PeerAuthentication istio-system/default requires, and no workload is set, so it counts here, whatever it selects; write workload: {namespace, labels}";
    assert_eq!(lines("", &format!("{mesh}, {loose}")).1, [warning]);
    assert_eq!(lines(WORKLOAD, &format!("{mesh}, {loose}")).1, [""; 0]);
    let strict = peers("shop", "default", "{mtls: {mode: STRICT}}");
    assert_eq!(lines("", &format!("{mesh}, {strict}")).1, [""; 0]);
}
