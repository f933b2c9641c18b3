//! The egress scenarios: outbound requests of workloads through the egress gateway.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use sallyport_policy::{EgressAllowlist, Peer, SpiffeId, UnauthenticatedReason};
use serde_json::Value;
use testbed::{EgressGateway, EgressOutcome};

use crate::detached;
use crate::egress_request::OutboundRequest;
use crate::outcome::Outcome;

/// A records of the demo's DNS server; every name is a TLS server on this machine.
const HOSTS: [(&str, Ipv4Addr); 3] = [
    ("api.partner.example", Ipv4Addr::LOCALHOST),
    ("updates.example.org", Ipv4Addr::LOCALHOST),
    ("evil.example", Ipv4Addr::LOCALHOST),
];

/// The protocol of an outbound request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    /// CONNECT over mTLS, then TLS to the host.
    Connect,
    /// TLS passthrough by SNI.
    TlsPassthrough,
    /// A request over mTLS whose SNI is another host: domain fronting.
    DomainFronting {
        /// The other host.
        sni: &'static str,
    },
}

/// An outbound request of a client, with the expected outcome.
struct Scenario {
    client: &'static str,
    /// The workload's principal; `None` for TLS passthrough, which has no client certificate.
    principal: Option<&'static str>,
    protocol: Protocol,
    host: &'static str,
    /// True if the request is expected to reach the host.
    allowed: bool,
}

const PAYMENTS: &str = "cluster.local/ns/shop/sa/payments";
const FRONTEND: &str = "cluster.local/ns/shop/sa/frontend";

const SCENARIOS: [Scenario; 6] = [
    Scenario {
        client: "payments",
        principal: Some(PAYMENTS),
        protocol: Protocol::Connect,
        host: "api.partner.example",
        allowed: true,
    },
    Scenario {
        client: "payments",
        principal: Some(PAYMENTS),
        protocol: Protocol::Connect,
        host: "evil.example",
        allowed: false,
    },
    Scenario {
        client: "frontend",
        principal: Some(FRONTEND),
        protocol: Protocol::Connect,
        host: "api.partner.example",
        allowed: false,
    },
    Scenario {
        client: "payments",
        principal: Some(PAYMENTS),
        protocol: Protocol::DomainFronting { sni: "updates.example.org" },
        host: "api.partner.example",
        allowed: false,
    },
    Scenario {
        client: "any client",
        principal: None,
        protocol: Protocol::TlsPassthrough,
        host: "updates.example.org",
        allowed: true,
    },
    Scenario {
        client: "any client",
        principal: None,
        protocol: Protocol::TlsPassthrough,
        host: "evil.example",
        allowed: false,
    },
];

/// Starts the gateway, runs every scenario, and stops the gateway.
pub(crate) fn run_all() -> Result<Vec<Outcome>> {
    let gateway = EgressGateway::start(testbed::envoy_binary()?, &detached::folder().join("egress"), &HOSTS)?;
    let rules = EgressAllowlist::parse(&serde_json::to_vec(gateway.filter())?)?;
    SCENARIOS.iter().map(|scenario| run(&gateway, &rules, scenario)).collect()
}

fn run(gateway: &EgressGateway, rules: &EgressAllowlist, scenario: &Scenario) -> Result<Outcome> {
    let Scenario { client, principal, protocol, host, allowed } = *scenario;
    let authority = format!("{host}:{}", gateway.port());
    let identity = || gateway.identity(principal.context("only TLS passthrough works without a principal")?);
    let (request, outcome, log_key) = match protocol {
        Protocol::Connect => (
            format!("CONNECT {host}"),
            gateway.connect(&identity()?, host)?,
            ("request", format!("CONNECT {authority}")),
        ),
        Protocol::TlsPassthrough => {
            (format!("TLS, SNI {host}"), gateway.tls_passthrough(host)?, ("server_name", host.to_owned()))
        }
        Protocol::DomainFronting { sni } => (
            format!("GET {host}, SNI {sni}"),
            gateway.request(&identity()?, sni, host)?,
            ("request", format!("GET {host}")),
        ),
    };
    let response = match &outcome {
        EgressOutcome::Upstream(body) => body.clone(),
        EgressOutcome::Status(status) => status.to_string(),
        EgressOutcome::Closed => "closed".to_owned(),
    };
    let reached = matches!(outcome, EgressOutcome::Upstream(_));
    let (policy, reason) = if reached {
        let rule = allowing_rule(rules, scenario, &authority, gateway.port())?;
        (rule, "an ALLOW rule lists this host for this source".to_owned())
    } else {
        let peer = principal.map(|principal| format!("spiffe://{principal}"));
        let peer = peer.as_deref().map(|peer| ("peer", peer));
        let entry = gateway.log_entry(&[(log_key.0, &*log_key.1)].into_iter().chain(peer).collect::<Vec<_>>())?;
        let text = |key| entry.get(key).and_then(Value::as_str).map(str::to_owned);
        (text("policy").unwrap_or_else(|| "none".to_owned()), text("reason").unwrap_or_default())
    };
    Ok(Outcome { client, request, response, policy, reason, is_allowed: reached, as_expected: reached == allowed })
}

/// The rule that allows a scenario. The filter does not report it, so the policy engine evaluates the request again.
fn allowing_rule(rules: &EgressAllowlist, scenario: &Scenario, authority: &str, port: u16) -> Result<String> {
    let peer = match scenario.principal {
        Some(principal) => Peer::Authenticated(
            SpiffeId::parse(format!("spiffe://{principal}").as_bytes()).ok().context("not a SPIFFE ID")?,
        ),
        None => Peer::Unauthenticated(UnauthenticatedReason::TlsPassthrough),
    };
    let passthrough = scenario.protocol == Protocol::TlsPassthrough;
    let mut request = OutboundRequest { peer, passthrough, host: scenario.host, authority, port };
    let rule = rules.policy().matching_allow_rule(&mut request).ok().flatten();
    let rule = rule.with_context(|| format!("{} was reached, but no rule allows it", scenario.host))?;
    Ok(rule.policy().to_string())
}
