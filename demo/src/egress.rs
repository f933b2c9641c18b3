//! The way out: who tries to reach which host through the egress gateway, and what comes of it.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result};
use sallyport_policy::{
    AttributeError, EgressAllowlist, EgressRequest, HeaderValues, Peer, Request, SpiffeId, UnauthenticatedReason,
};
use serde_json::Value;
use testbed::{Gateway, Reached};

use crate::running;
use crate::shop::Visit;

/// What the DNS of the demo's outside knows; every name is a TLS server on this machine.
const OUTSIDE: [(&str, Ipv4Addr); 3] = [
    ("api.partner.example", Ipv4Addr::LOCALHOST),
    ("updates.example.org", Ipv4Addr::LOCALHOST),
    ("evil.example", Ipv4Addr::LOCALHOST),
];

/// How a host is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// CONNECT in mTLS, then TLS with the host.
    Tunnel,
    /// TLS with the host, by its server name, which passes through.
    Passing,
    /// A plain request in mTLS whose server name is another.
    Fronted(&'static str),
}

struct Try {
    who: &'static str,
    /// The workload's principal; none passes through without one.
    principal: Option<&'static str>,
    way: Way,
    host: &'static str,
    /// Whether it may get there.
    allowed: bool,
}

const PAYMENTS: &str = "cluster.local/ns/shop/sa/payments";
const FRONTEND: &str = "cluster.local/ns/shop/sa/frontend";

const TRIES: [Try; 6] = [
    Try { who: "payments", principal: Some(PAYMENTS), way: Way::Tunnel, host: "api.partner.example", allowed: true },
    Try { who: "payments", principal: Some(PAYMENTS), way: Way::Tunnel, host: "evil.example", allowed: false },
    Try { who: "frontend", principal: Some(FRONTEND), way: Way::Tunnel, host: "api.partner.example", allowed: false },
    Try {
        who: "payments",
        principal: Some(PAYMENTS),
        way: Way::Fronted("updates.example.org"),
        host: "api.partner.example",
        allowed: false,
    },
    Try { who: "anyone", principal: None, way: Way::Passing, host: "updates.example.org", allowed: true },
    Try { who: "anyone", principal: None, way: Way::Passing, host: "evil.example", allowed: false },
];

/// Starts the gateway, tries everything, and ends it.
pub(crate) fn visits() -> Result<Vec<Visit>> {
    let gateway = Gateway::start(testbed::envoy_binary()?, &running::folder().join("egress"), &OUTSIDE)?;
    let rules = EgressAllowlist::parse(&serde_json::to_vec(gateway.filter())?)?;
    TRIES.iter().map(|attempt| visit(&gateway, &rules, attempt)).collect()
}

fn visit(gateway: &Gateway, rules: &EgressAllowlist, attempt: &Try) -> Result<Visit> {
    let Try { who, principal, way, host, allowed } = *attempt;
    let authority = format!("{host}:{}", gateway.port());
    let identity = principal.map(|principal| gateway.identity(principal)).transpose()?;
    let identity = identity.as_ref().context("only what passes through needs no identity");
    let (request, reached, logged) = match way {
        Way::Tunnel => {
            (format!("CONNECT {host}"), gateway.connect(identity?, host)?, ("request", format!("CONNECT {authority}")))
        }
        Way::Passing => (format!("TLS, SNI {host}"), gateway.pass(host)?, ("server_name", host.to_owned())),
        Way::Fronted(name) => (
            format!("GET {host}, SNI {name}"),
            gateway.request(identity?, name, host)?,
            ("request", format!("GET {host}")),
        ),
    };
    let answer = match &reached {
        Reached::Answer(text) => text.clone(),
        Reached::Status(status) => status.to_string(),
        Reached::Closed => "closed".to_owned(),
    };
    let got_there = matches!(reached, Reached::Answer(_));
    let (policy, why) = match got_there {
        true => (
            allowing_rule(rules, attempt, &authority, gateway.port())?,
            "an ALLOW rule lists this host for this source".to_owned(),
        ),
        false => {
            let peer = principal.map(|principal| format!("spiffe://{principal}"));
            let by = peer.as_deref().map(|peer| ("peer", peer));
            let entry =
                gateway.log_entry(&[(logged.0, logged.1.as_str())].into_iter().chain(by).collect::<Vec<_>>())?;
            let text = |key| entry.get(key).and_then(Value::as_str).map(str::to_owned);
            (text("policy").unwrap_or_else(|| "none".to_owned()), text("reason").unwrap_or_default())
        }
    };
    Ok(Visit { who, request, answer, policy, why, as_expected: got_there == allowed })
}

/// The filter does not tell which rule has let a request out; the same code decides here.
fn allowing_rule(rules: &EgressAllowlist, attempt: &Try, authority: &str, port: u16) -> Result<String> {
    let peer = match attempt.principal {
        Some(principal) => Peer::Authenticated(
            SpiffeId::parse(format!("spiffe://{principal}").as_bytes()).ok().context("no SPIFFE ID")?,
        ),
        None => Peer::Unauthenticated(UnauthenticatedReason::TlsPassthrough),
    };
    let mut asked = Asked { peer, passes: attempt.way == Way::Passing, host: attempt.host, authority, port };
    let rule = rules.policy().matching_allow_rule(&mut asked).ok().flatten();
    let rule = rule.with_context(|| format!("{} was reached, and no rule allows it", attempt.host))?;
    Ok(rule.policy().to_string())
}

/// A try as the rules see it.
struct Asked<'t> {
    peer: Peer,
    passes: bool,
    host: &'t str,
    authority: &'t str,
    port: u16,
}

impl Request for Asked<'_> {
    fn peer(&mut self) -> Result<&Peer, AttributeError> {
        Ok(&self.peer)
    }

    fn source_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        Ok(None)
    }

    fn server_name(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        Ok(Some(self.host.as_bytes()))
    }

    fn destination_port(&mut self) -> Result<Option<u16>, AttributeError> {
        Ok(Some(self.port))
    }

    fn method(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        Ok(Some(b"CONNECT"))
    }

    fn host(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        Ok(Some(self.authority.as_bytes()))
    }

    fn path(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        Ok(None)
    }

    fn header(&mut self, _: &str) -> Result<HeaderValues<'_>, AttributeError> {
        Ok(HeaderValues::new())
    }
}

impl EgressRequest for Asked<'_> {
    fn is_tls_passthrough(&self) -> bool {
        self.passes
    }
}
