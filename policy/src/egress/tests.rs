//! The compiled rules against a plain linear reading of the same configuration, which is the definition of what is
//! right; what is refused; and what a decision asks for.

mod bounds;
mod definition;
mod notes;
mod refused;
mod selectors;
mod sources;

use super::*;
use crate::authz::decision::Decision;
use crate::egress::decision::EgressDenial;
use crate::egress::request::EgressProtocol::{self, Connect, Http, Tls};
use crate::identity::error::AttributeError;
use crate::test_support::fake_request::FakeRequest;
use crate::test_support::yaml::json;

fn load(json: &str) -> EgressAllowlist {
    match EgressAllowlist::parse(json.as_bytes()) {
        Ok(configuration) => configuration,
        Err(refusal) => panic!("{refusal} in {json}"),
    }
}

/// The decision, by the source of the request.
fn decide<'c>(configuration: &'c EgressAllowlist, request: &mut FakeRequest) -> Decision<EgressDenial<'c>> {
    let policy = configuration.policy();
    policy.decide(policy.source_mode(request), request)
}

/// The decision in words.
fn answer(configuration: &EgressAllowlist, request: &mut FakeRequest) -> String {
    match decide(configuration, request) {
        Decision::Allow => "allowed".to_owned(),
        Decision::WouldDeny(denial) => {
            format!("would deny: {}", configuration.policy().explain(&denial, false, None, request))
        }
        Decision::Deny(denial) => format!("denied: {}", configuration.policy().explain(&denial, true, None, request)),
    }
}

const STRIPE: &str = r#"{"rules": [
    {"name": "payments", "from": [{"source": {"principals": ["cluster.local/ns/shop/sa/payments"]}}], "hosts": ["api.stripe.com", "*.stripe.com"]},
    {"name": "no-uploads", "action": "DENY", "hosts": ["uploads.stripe.com"]},
    {"name": "anyone", "hosts": ["status.example.com"], "ports": [443, 8080]},
    {"name": "watched", "action": "DENY", "mode": "report", "hosts": ["b.stripe.com"], "ports": [443]},
    {"name": "planned", "mode": "report", "hosts": ["new.example.com"]}
]}"#;

const PAYMENTS: &str = "cluster.local/ns/shop/sa/payments";

fn by_payments(protocol: EgressProtocol, authority: &str) -> FakeRequest {
    FakeRequest::egress(protocol, authority).by_principal(PAYMENTS)
}

fn with_server_name(name: Option<&str>, protocol: EgressProtocol, authority: &str) -> FakeRequest {
    FakeRequest { server_name: name.map(|name| name.as_bytes().to_vec()), ..FakeRequest::egress(protocol, authority) }
}

/// One test a row: a request and the answer of `STRIPE` with its reason.
macro_rules! decisions {
    ($($name:ident: $request:expr => $expected:expr;)*) => {
        mod decisions {
            use super::*;

            $(
                #[test]
                fn $name() {
                    assert_eq!(answer(&load(STRIPE), &mut $request), $expected);
                }
            )*
        }
    };
}

decisions! {
    listed_host: by_payments(Connect, "api.stripe.com:443") => "allowed";
    capitals_and_final_dot: by_payments(Http, "API.stripe.com.") => "allowed";
    default_port_of_tls: FakeRequest::egress(Tls, "status.example.com") => "allowed";
    listed_port: FakeRequest::egress(Http, "status.example.com:8080") => "allowed";
    other_port: FakeRequest::egress(Http, "status.example.com") =>
        "denied: no rule allows it: rules/anyone wants port 443 or 8080, this was HTTP to status.example.com:80 by a client without identity (it presented no certificate)";
    other_workload: FakeRequest::egress(Connect, "api.stripe.com:443").by_principal("cluster.local/ns/shop/sa/web") =>
        "denied: no rule allows it: rules/payments wants principal cluster.local/ns/shop/sa/payments, this was CONNECT to api.stripe.com:443 by cluster.local/ns/shop/sa/web";
    deny_rule: by_payments(Connect, "uploads.stripe.com:443") =>
        "denied: DENY rule rules/no-uploads matches: CONNECT to uploads.stripe.com:443 by cluster.local/ns/shop/sa/payments";
    unlisted_host: by_payments(Connect, "evil.test:443") =>
        "denied: no rule lists this host: CONNECT to evil.test:443 by cluster.local/ns/shop/sa/payments";
    deny_rule_in_report_mode: by_payments(Connect, "b.stripe.com:443") =>
        "would deny: DENY rule rules/watched matches: CONNECT to b.stripe.com:443 by cluster.local/ns/shop/sa/payments";
    allow_rule_in_report_mode: by_payments(Connect, "new.example.com:443") =>
        "denied: the rule rules/planned would allow it, and is in report mode: CONNECT to new.example.com:443 by cluster.local/ns/shop/sa/payments";
    connect_without_port: by_payments(Connect, "api.stripe.com") =>
        "denied: CONNECT has to name a port: CONNECT to api.stripe.com by cluster.local/ns/shop/sa/payments";
    user_information_in_the_authority: by_payments(Http, "api.stripe.com@evil.test") =>
        "denied: no destination can be read from it, it has an `@`, and what stands before that is not the host: GET to api.stripe.com@evil.test by cluster.local/ns/shop/sa/payments";
    tls_without_server_name: with_server_name(None, Tls, "") =>
        "denied: a connection that passes through has to name its server by SNI in TLS, which the listener filter tls_inspector reads: a connection without a server name by a client without identity (it presented no certificate)";
    host_differs_from_server_name: with_server_name(Some("front.example"), Http, "status.example.com:8080") =>
        "denied: the TLS connection is for SNI front.example, the request is not; list it in gatewayNames if it is a name of this gateway: GET to status.example.com:8080 by a client without identity (it presented no certificate)";
    host_equals_server_name_in_capitals: with_server_name(Some("STATUS.example.com"), Http, "status.example.com:8080") =>
        "allowed";
    connect_does_not_compare_the_server_name: with_server_name(Some("egress.example"), Connect, "status.example.com:443") =>
        "allowed";
}

#[test]
fn server_name_and_host_may_differ_if_configured() {
    let configuration = load(&STRIPE.replacen('{', r#"{"sniMustMatchHost": false, "#, 1));
    let mut request = with_server_name(Some("x.test"), Http, "status.example.com:8080");
    assert_eq!(answer(&configuration, &mut request), "allowed");
}

#[test]
fn summary_counts_rules_and_hosts() {
    assert_eq!(
        load(STRIPE).load_report().summary(),
        "loaded 5 rules and 0 resources with 6 hosts, 2 rules only report"
    );
}

#[test]
fn empty_lists_deny_everything_and_report_mode_nothing() {
    for json in [r#"{"rules": []}"#, r#"{"resources": []}"#, r#"{"rules": [], "resources": []}"#] {
        for access in [Http, Connect, Tls] {
            let host = if access == Connect { "x.com:443" } else { "x.com" };
            assert!(
                answer(&load(json), &mut FakeRequest::egress(access, host))
                    .starts_with("denied: no rule lists this host: ")
            );
        }
    }
    let report = load(r#"{"rules": [], "mode": "report"}"#);
    for host in ["x.com:443", "x.com:0443", ""] {
        assert!(answer(&report, &mut FakeRequest::egress(Connect, host)).starts_with("would deny: "));
    }
}

#[test]
fn a_failure_of_the_proxy_denies_whatever_it_is_about() {
    let configuration = load(
        r#"{"rules": [{"name": "a", "from": [{"source": {"notPrincipals": ["x/y"], "notIpBlocks": ["10.0.0.0/8"]}}], "hosts": ["x.com"]}]}"#,
    );
    for (access, attributes) in [
        (Http, &["peer", "source", "method", "host", "server name"][..]),
        (Connect, &["peer", "source", "method", "host"]),
        (Tls, &["peer", "source", "port", "server name"]),
    ] {
        let host = if access == Connect { "x.com:443" } else { "x.com" };
        assert_eq!(decide(&configuration, &mut FakeRequest::egress(access, host)), Decision::Allow);
        for attribute in attributes {
            let mut request = FakeRequest { failing: vec![attribute], ..FakeRequest::egress(access, host) };
            let failure = AttributeError { attribute, status: "it failed" };
            assert_eq!(decide(&configuration, &mut request), Decision::Deny(EgressDenial::Undecidable(failure.into())));
        }
    }
    let mut nowhere = FakeRequest { port: None, ..FakeRequest::egress(Tls, "x.com") };
    assert!(matches!(decide(&configuration, &mut nowhere), Decision::Deny(EgressDenial::Undecidable(_))));
}

#[test]
fn a_decision_asks_for_what_it_needs_and_once() {
    let rows: [(FakeRequest, &[&str]); 4] = [
        (FakeRequest::egress(Connect, "status.example.com:443"), &["method", "host"]),
        (FakeRequest::egress(Connect, "evil.test:443"), &["method", "host"]),
        (FakeRequest::egress(Tls, "status.example.com"), &["server name", "port"]),
        (
            FakeRequest::egress(Connect, "api.stripe.com:443").by_principal("cluster.local/ns/shop/sa/payments"),
            &["method", "host", "peer"],
        ),
    ];
    let configuration = load(STRIPE);
    for (mut request, expected) in rows {
        decide(&configuration, &mut request);
        assert_eq!(request.read, expected);
    }
}

/// A configuration of one cluster-wide Cilium policy with this item of `egress` for everyone.
fn cilium_for_everyone(egress: &str) -> String {
    json(&format!(
        "resources: [{{apiVersion: cilium.io/v2, kind: CiliumClusterwideNetworkPolicy, metadata: {{name: c}}, spec: {{endpointSelector: {{}}, egress: [{{{egress}}}]}}}}]"
    ))
}

#[test]
fn names_hold_for_every_port_rule_and_beside_its_server_names() {
    let configuration = load(&cilium_for_everyone(
        r#"toFQDNs: [{matchPattern: "*.x.com"}], toPorts: [
            {ports: [{port: 443}], serverNames: [a.x.com, y.com]}, {ports: [{port: 444}], serverNames: [b.x.com]},
            {ports: [{port: 80}]}, {ports: [{port: 8000, endPort: 8010}]}]"#,
    ));
    let rows = [
        ("a.x.com:443", true),
        ("b.x.com:443", false),
        ("y.com:443", false),
        ("b.x.com:444", true),
        ("a.x.com:444", false),
        ("c.x.com:80", true),
        ("c.x.com:8005", true),
        ("c.x.com:8011", false),
        ("y.com:80", false),
    ];
    for (authority, allowed) in rows {
        let mut request = by_payments(Connect, authority);
        assert_eq!(decide(&configuration, &mut request) == Decision::Allow, allowed, "{authority}");
    }
}

#[test]
fn names_times_lists_of_server_names_are_limited() {
    let names = (0..1_001).map(|n| format!("{{matchName: n{n}.x.com}}")).collect::<Vec<_>>().join(", ");
    let ports = (0..1_000)
        .map(|n| format!("{{ports: [{{port: \"443\"}}], serverNames: [s{n}.x.com]}}"))
        .collect::<Vec<_>>()
        .join(", ");
    let json = cilium_for_everyone(&format!("toFQDNs: [{names}], toPorts: [{ports}]"));
    let half = names.split(", ").take(600).collect::<Vec<_>>().join(", ");
    let item = format!("{{toFQDNs: [{half}], toPorts: [{ports}]}}");
    let twice = cilium_for_everyone(&format!("toCIDR: []}}, {item}, {}", item.trim_end_matches('}')));
    let refusal = EgressAllowlist::parse(twice.as_bytes()).err().map(|refusal| refusal.to_string()).unwrap_or_default();
    assert!(refusal.starts_with("resources[0].spec.egress[2]: has 600 names for each of 1000 lists"), "{refusal}");
    assert_eq!(
        EgressAllowlist::parse(json.as_bytes()).err().map(|refusal| refusal.to_string()).as_deref(),
        Some(
            "resources[0].spec.egress[0]: has 1001 names for each of 1000 lists of serverNames, the limit is 1000000 in all; write a rule for each list"
        )
    );
}
