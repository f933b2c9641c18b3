use super::*;
use crate::IdentityAuthz;
use crate::authz::decision::Decision;
use crate::test_support::fake_request::FakeRequest;
use crate::test_support::yaml::json;

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

/// A configuration with a CUSTOM policy of the provider `opa` with this rule, and what follows as YAML.
fn configuration(rule: &str, rest: &str) -> IdentityAuthz {
    let text = json(&format!(
        "{{customProviders: [opa], remoteAddress: trusted, {rest}, resources: [
            {{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {{name: ask, namespace: shop}},
              spec: {{action: CUSTOM, provider: {{name: opa}}, rules: [{rule}]}}}},
            {{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {{name: web, namespace: shop}},
              spec: {{rules: [{{from: [{{source: {{principals: [cluster.local/ns/shop/sa/web]}}}}]}}]}}}}]}}"
    ));
    IdentityAuthz::parse(text).expect("a valid configuration")
}

fn mark(rule: &str, request: &mut FakeRequest) -> String {
    let configuration = configuration(rule, "stage: custom");
    configuration.marking().expect("an instance that marks").required(request).mark()
}

#[test]
fn what_cannot_be_read_is_asked_about() {
    let condition = |key: &str, value: &str| format!("{{when: [{{key: '{key}', values: ['{value}']}}]}}");
    let rows = [
        ("peer", condition("source.principal", "a/b")),
        ("source", condition("source.ip", "10.0.0.0/8")),
        ("remote", condition("remote.ip", "10.0.0.0/8")),
        ("port", condition("destination.port", "1")),
        ("destination", condition("destination.ip", "10.9.0.0/16")),
        ("server name", condition("connection.sni", "x")),
        ("time", condition("request.time", "Fri 09:00-17:00")),
        ("metadata", condition("request.auth.claims[group]", "x")),
        ("header", condition("request.headers[x]", "y")),
        ("method", "{to: [{operation: {methods: [PUT]}}]}".to_owned()),
        ("host", "{to: [{operation: {hosts: [x]}}]}".to_owned()),
        ("path", "{to: [{operation: {paths: [/x]}}]}".to_owned()),
    ];
    for (attribute, rule) in rows {
        assert_eq!(mark(&rule, &mut FakeRequest::new(WEB)), "none", "{rule}");
        let mut failing = FakeRequest { failing: vec![attribute], ..FakeRequest::new(WEB) };
        assert_eq!(mark(&rule, &mut failing), "opa", "{rule}");
    }
}

#[test]
fn nothing_that_is_cached_of_a_connection_skips_the_mark() {
    let configuration = configuration("{to: [{operation: {paths: [/x]}}]}", "stage: decide");
    let policy = configuration.policy();
    assert!(!policy.needs().connection_scoped, "each request has a mark of its own");
    let marked = |mark: Option<&str>| FakeRequest {
        mark: mark.map(|mark| mark.as_bytes().to_vec()),
        ..FakeRequest::new(WEB).with_path("/y")
    };
    let cache = policy.precompute_connection(&mut marked(None)).expect("a connection that can be cached");
    for cache in [None, Some(&cache)] {
        let decide = |mark| policy.evaluate(cache, &mut marked(mark)).decision;
        assert_eq!(decide(Some("none")), Decision::Allow);
        assert_eq!(decide(Some("opa")), Decision::Allow);
        assert!(matches!(decide(None), Decision::Deny(Denial::Custom(CustomDenial::NoMark(_)))));
        for invalid in ["", "None", "opa,", ",", "opa,none", "other"] {
            let decision = decide(Some(invalid));
            assert!(matches!(decision, Decision::Deny(Denial::Custom(CustomDenial::InvalidMark(_)))), "{invalid}");
        }
        let unreadable = &mut FakeRequest { failing: vec!["mark"], ..marked(Some("none")) };
        let decision = policy.evaluate(cache, unreadable).decision;
        assert!(matches!(&decision, Decision::Deny(denial) if denial.is_failure()), "{decision:?}");
    }
}

#[test]
fn what_an_instance_that_decides_cannot_read_needs_the_provider_in_its_mark() {
    let configuration = configuration("{to: [{operation: {methods: [PUT]}}]}", "stage: decide");
    let decide = |mark: &str| {
        let failing = vec!["method"];
        let request = FakeRequest { failing, mark: Some(mark.as_bytes().to_vec()), ..FakeRequest::new(WEB) };
        configuration.policy().decide(&mut { request })
    };
    assert!(matches!(decide("none"), Decision::Deny(Denial::Undecidable(_))));
    assert_eq!(decide("opa"), Decision::Allow);
}

#[test]
fn what_becomes_of_custom_policies_is_said_in_the_line_at_load() {
    let line = |rest: &str| configuration("{}", rest).load_report().summary().to_owned();
    assert_eq!(
        line("stage: decide"),
        "loaded 2 resources, 2 apply here, 2 enforced, 0 only reported, 1 of them CUSTOM, so a request without a mark is denied"
    );
    assert_eq!(
        line("stage: custom"),
        "loaded 2 resources, 1 apply here, 1 enforced, 0 only reported, stage: custom, requests are marked and not decided"
    );
    let elsewhere = line("stage: custom, workload: {namespace: pay}");
    assert!(elsewhere.ends_with(", stage: custom, every request is marked none"), "{elsewhere}");
}
