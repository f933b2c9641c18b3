//! The compiled rules against a plain linear reading of the same configuration, which is the definition of what is
//! right; what is refused; and what a decision asks for.

mod definition;
mod refused;

use super::*;
use crate::authz::decision::Decision;
use crate::egress::decision::EgressDenial;
use crate::egress::request::EgressProtocol;
use crate::identity::error::AttributeError;
use crate::test_support::fake_request::FakeRequest;

fn load(json: &str) -> EgressAllowlist {
    match EgressAllowlist::parse(json.as_bytes()) {
        Ok(configuration) => configuration,
        Err(refusal) => panic!("{refusal} in {json}"),
    }
}

/// The decision in words.
fn answer(configuration: &EgressAllowlist, request: &mut FakeRequest) -> String {
    match configuration.policy().decide(request) {
        Decision::Allow => "allowed".to_owned(),
        Decision::WouldDeny(denial) => {
            format!("would deny: {}", configuration.policy().explain(&denial, request))
        }
        Decision::Deny(denial) => format!("denied: {}", configuration.policy().explain(&denial, request)),
    }
}

const STRIPE: &str = r#"{"rules": [
    {"name": "payments", "from": [{"source": {"principals": ["cluster.local/ns/shop/sa/payments"]}}], "hosts": ["api.stripe.com", "*.stripe.com"]},
    {"name": "no-uploads", "action": "DENY", "hosts": ["uploads.stripe.com"]},
    {"name": "anyone", "hosts": ["status.example.com"], "ports": [443, 8080]},
    {"name": "watched", "action": "DENY", "mode": "report", "hosts": ["b.stripe.com"], "ports": [443]},
    {"name": "planned", "mode": "report", "hosts": ["new.example.com"]}
]}"#;

#[test]
fn decisions_with_their_reasons() {
    let payments = "cluster.local/ns/shop/sa/payments";
    let rows = [
        (FakeRequest::egress(EgressProtocol::Connect, "api.stripe.com:443").by_principal(payments), "allowed"),
        (FakeRequest::egress(EgressProtocol::Http, "API.stripe.com.").by_principal(payments), "allowed"),
        (FakeRequest::egress(EgressProtocol::Tls, "status.example.com"), "allowed"),
        (FakeRequest::egress(EgressProtocol::Http, "status.example.com:8080"), "allowed"),
        (
            FakeRequest::egress(EgressProtocol::Http, "status.example.com"),
            "denied: no rule allows it: rules/anyone wants port 443 or 8080, this was HTTP to status.example.com:80 by a client without identity (it presented no certificate)",
        ),
        (
            FakeRequest::egress(EgressProtocol::Connect, "api.stripe.com:443")
                .by_principal("cluster.local/ns/shop/sa/web"),
            "denied: no rule allows it: rules/payments wants principal cluster.local/ns/shop/sa/payments, this was CONNECT to api.stripe.com:443 by cluster.local/ns/shop/sa/web",
        ),
        (
            FakeRequest::egress(EgressProtocol::Connect, "uploads.stripe.com:443").by_principal(payments),
            "denied: DENY rule rules/no-uploads matches: CONNECT to uploads.stripe.com:443 by cluster.local/ns/shop/sa/payments",
        ),
        (
            FakeRequest::egress(EgressProtocol::Connect, "evil.test:443").by_principal(payments),
            "denied: no rule lists this host: CONNECT to evil.test:443 by cluster.local/ns/shop/sa/payments",
        ),
        (
            FakeRequest::egress(EgressProtocol::Connect, "b.stripe.com:443").by_principal(payments),
            "would deny: DENY rule rules/watched matches: CONNECT to b.stripe.com:443 by cluster.local/ns/shop/sa/payments",
        ),
        (
            FakeRequest::egress(EgressProtocol::Connect, "new.example.com:443").by_principal(payments),
            "denied: the rule rules/planned would allow it, and is in report mode: CONNECT to new.example.com:443 by cluster.local/ns/shop/sa/payments",
        ),
        (
            FakeRequest::egress(EgressProtocol::Connect, "api.stripe.com").by_principal(payments),
            "denied: CONNECT has to name a port: CONNECT to api.stripe.com by cluster.local/ns/shop/sa/payments",
        ),
        (
            FakeRequest::egress(EgressProtocol::Http, "api.stripe.com@evil.test").by_principal(payments),
            "denied: no destination can be read from it, it has an `@`, and what stands before that is not the host: GET to api.stripe.com@evil.test by cluster.local/ns/shop/sa/payments",
        ),
        (
            FakeRequest { server_name: None, ..FakeRequest::egress(EgressProtocol::Tls, "") },
            "denied: a connection that passes through has to name its server by SNI in TLS, which the listener filter tls_inspector reads: a connection without a server name by a client without identity (it presented no certificate)",
        ),
        (
            FakeRequest {
                server_name: Some(b"front.example".to_vec()),
                ..FakeRequest::egress(EgressProtocol::Http, "status.example.com:8080")
            },
            "denied: the TLS connection is for SNI front.example, the request is not: GET to status.example.com:8080 by a client without identity (it presented no certificate)",
        ),
        (
            FakeRequest {
                server_name: Some(b"STATUS.example.com".to_vec()),
                ..FakeRequest::egress(EgressProtocol::Http, "status.example.com:8080")
            },
            "allowed",
        ),
        // The server name of CONNECT is that of the proxy.
        (
            FakeRequest {
                server_name: Some(b"egress.example".to_vec()),
                ..FakeRequest::egress(EgressProtocol::Connect, "status.example.com:443")
            },
            "allowed",
        ),
    ];
    let configuration = load(STRIPE);
    for (mut request, expected) in rows {
        assert_eq!(answer(&configuration, &mut request), expected, "{request:?}");
    }
    let loose = load(&STRIPE.replacen('{', r#"{"sniMustMatchHost": false, "#, 1));
    let mut fronted = FakeRequest {
        server_name: Some(b"x.test".to_vec()),
        ..FakeRequest::egress(EgressProtocol::Http, "status.example.com:8080")
    };
    assert_eq!(answer(&loose, &mut fronted), "allowed");
    assert_eq!(configuration.summary(), "loaded 5 rules and 0 resources with 6 hosts, 2 rules only report");
}

#[test]
fn empty_lists_deny_everything_and_report_mode_nothing() {
    for json in [r#"{"rules": []}"#, r#"{"resources": []}"#, r#"{"rules": [], "resources": []}"#] {
        for access in [EgressProtocol::Http, EgressProtocol::Connect, EgressProtocol::Tls] {
            let host = if access == EgressProtocol::Connect { "x.com:443" } else { "x.com" };
            assert!(
                answer(&load(json), &mut FakeRequest::egress(access, host))
                    .starts_with("denied: no rule lists this host: ")
            );
        }
    }
    let report = load(r#"{"rules": [], "mode": "report"}"#);
    for host in ["x.com:443", "x.com:0443", ""] {
        assert!(answer(&report, &mut FakeRequest::egress(EgressProtocol::Connect, host)).starts_with("would deny: "));
    }
}

#[test]
fn a_failure_of_the_proxy_denies_whatever_it_is_about() {
    let configuration = load(
        r#"{"rules": [{"name": "a", "from": [{"source": {"notPrincipals": ["x/y"], "notIpBlocks": ["10.0.0.0/8"]}}], "hosts": ["x.com"]}]}"#,
    );
    for (access, attributes) in [
        (EgressProtocol::Http, &["peer", "source", "method", "host", "server name"][..]),
        (EgressProtocol::Connect, &["peer", "source", "method", "host"]),
        (EgressProtocol::Tls, &["peer", "source", "port", "server name"]),
    ] {
        let host = if access == EgressProtocol::Connect { "x.com:443" } else { "x.com" };
        assert_eq!(configuration.policy().decide(&mut FakeRequest::egress(access, host)), Decision::Allow);
        for attribute in attributes {
            let mut request = FakeRequest { failing: vec![attribute], ..FakeRequest::egress(access, host) };
            let failure = AttributeError { attribute, status: "it failed" };
            assert_eq!(
                configuration.policy().decide(&mut request),
                Decision::Deny(EgressDenial::Undecidable(failure.into()))
            );
        }
    }
    let mut nowhere = FakeRequest { port: None, ..FakeRequest::egress(EgressProtocol::Tls, "x.com") };
    assert!(matches!(configuration.policy().decide(&mut nowhere), Decision::Deny(EgressDenial::Undecidable(_))));
}

#[test]
fn a_decision_asks_for_what_it_needs_and_once() {
    let rows: [(FakeRequest, &[&str]); 4] = [
        (FakeRequest::egress(EgressProtocol::Connect, "status.example.com:443"), &["method", "host"]),
        (FakeRequest::egress(EgressProtocol::Connect, "evil.test:443"), &["method", "host"]),
        (FakeRequest::egress(EgressProtocol::Tls, "status.example.com"), &["server name", "port"]),
        (
            FakeRequest::egress(EgressProtocol::Connect, "api.stripe.com:443")
                .by_principal("cluster.local/ns/shop/sa/payments"),
            &["method", "host", "peer"],
        ),
    ];
    let configuration = load(STRIPE);
    for (mut request, expected) in rows {
        configuration.policy().decide(&mut request);
        assert_eq!(request.read, expected);
    }
}
