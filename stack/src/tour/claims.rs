//! The four locks: deny-all, identity, the way out, the network.

use std::net::TcpListener;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Claim;
use super::answer::{expect, is, no_connection};
use super::running::Stack;

// Those with a name of their own are seen to fail in `removals`.
pub(super) const SHUT_TO_EVERYONE: Claim =
    Claim { name: "a service that no policy opens is shut to everyone", check: shut_to_everyone };
pub(super) const STRANGER_DENIED: Claim =
    Claim { name: "another workload with a good certificate is denied", check: stranger_denied };
pub(super) const OTHER_DOMAIN_REFUSED: Claim =
    Claim { name: "a certificate of another trust domain is turned away", check: |s| refused(s, "other-domain") };
pub(super) const PLAINTEXT_DENIED: Claim = Claim { name: "plaintext is turned away", check: plaintext_denied };
pub(super) const ATTACK_TOOL_DENIED: Claim = Claim {
    name: "an attack tool is turned away at the gateway",
    check: |s| expect(&s.client(&["path=/orders", "user-agent: sqlmap/1.8"])?, 403),
};
pub(super) const DATABASE_SHUT: Claim = Claim { name: "no other workload reaches the database", check: database_shut };
pub(super) const UNDECLARED_SHUT: Claim = Claim {
    name: "an undeclared host is refused at the way out",
    check: |s| expect(&tunnel(s, "app", "undeclared.example:443")?, 403),
};
pub(super) const NO_OTHER_WAY: Claim =
    Claim { name: "the application has no way out past its Envoy", check: no_other_way };
pub(super) const NOT_THE_MACHINE: Claim =
    Claim { name: "the application reaches nothing that the machine serves", check: not_the_machine };

pub(super) const CLAIMS: [Claim; 23] = [
    SHUT_TO_EVERYONE,
    Claim {
        name: "a client reads orders, through all three tiers",
        check: |s| {
            let answer = s.client(&["path=/orders"])?;
            ensure!(answer.to_string().contains("a lantern"), "{answer}");
            expect(&answer, 200)
        },
    },
    Claim {
        name: "the gateway's certificate opens GET /orders",
        check: |s| expect(&s.to_app("gateway", &["path=/orders"])?, 200),
    },
    Claim {
        name: "another method is denied",
        check: |s| expect(&s.to_app("gateway", &["path=/orders", "method=DELETE"])?, 403),
    },
    Claim {
        name: "another path is denied, however it is spelled",
        check: |s| {
            expect(&s.to_app("gateway", &["path=/admin/keys"])?, 403)?;
            expect(&s.to_app("gateway", &["path=/orders/../admin/keys"])?, 403)
        },
    },
    STRANGER_DENIED,
    Claim { name: "a certificate of another authority is turned away", check: |s| refused(s, "forged") },
    Claim { name: "an expired certificate is turned away", check: |s| refused(s, "expired") },
    OTHER_DOMAIN_REFUSED,
    Claim { name: "TLS without a certificate is turned away", check: |s| refused(s, "nobody") },
    PLAINTEXT_DENIED,
    ATTACK_TOOL_DENIED,
    Claim {
        name: "the application's certificate opens the database",
        check: |s| {
            let answer = s.ask(&["postgres", "postgres-envoy:5432", "as=app"])?;
            ensure!(is(&answer, "status", "R"), "{answer}");
            Ok("it answers".to_owned())
        },
    },
    DATABASE_SHUT,
    Claim { name: "the database sees no connection of who is denied", check: database_undisturbed },
    Claim {
        name: "the page shows the calls: two through, two shut",
        check: |s| {
            ensure!(s.client(&["path=/"])?.to_string().contains("/calls"), "no page");
            s.calls_as_declared()?;
            Ok(s.calls()?
                .iter()
                .filter(|call| call.through)
                .map(|call| call.name.as_str())
                .collect::<Vec<_>>()
                .join("; "))
        },
    },
    Claim {
        name: "the application's tunnel reaches the declared host",
        check: |s| expect(&tunnel(s, "app", "api.partner.example:443")?, 200),
    },
    UNDECLARED_SHUT,
    Claim {
        name: "an address in place of a name is refused",
        check: |s| {
            let outside = s.address("outside", "outside")?;
            expect(&tunnel(s, "app", &format!("{outside}:443"))?, 403)
        },
    },
    Claim {
        name: "the declared host is refused to another workload",
        check: |s| expect(&tunnel(s, "stranger", "api.partner.example:443")?, 403),
    },
    NO_OTHER_WAY,
    NOT_THE_MACHINE,
    Claim {
        name: "who is within the mesh reaches nothing behind an Envoy",
        check: |s| {
            for (service, network, port) in
                [("app", "app-link", 8000), ("postgres", "postgres-link", 5432), ("outside", "outside", 443)]
            {
                let address = format!("{}:{port}", s.address(service, network)?);
                no_connection(&s.ask(&["dial", &address])?)?;
            }
            Ok("application, database, outside".to_owned())
        },
    },
];

fn shut_to_everyone(s: &Stack) -> Result<String> {
    for identity in ["gateway", "app", "stranger"] {
        expect(&s.ask(&["http", "app-envoy:8002", &format!("as={identity}")])?, 403)?;
    }
    Ok("403 for gateway, application, stranger".to_owned())
}

fn stranger_denied(s: &Stack) -> Result<String> {
    expect(&s.to_app("stranger", &["path=/orders"])?, 403)?;
    let entry = s.logged("app-envoy", "the denial in the access log", |entry| {
        is(entry, "decision", "deny") && is(entry, "principal", "cluster.local/ns/demo/sa/stranger")
    })?;
    let reason = entry.get("reason").and_then(Value::as_str).unwrap_or_default();
    ensure!(reason.starts_with("no ALLOW policy matches"), "the log says {reason:?}");
    Ok("403, and the access log says why".to_owned())
}

/// Nobody gets as far as a policy with this certificate: neither to the application, nor to the database, nor out.
fn refused(s: &Stack, identity: &str) -> Result<String> {
    no_connection(&s.to_app(identity, &["path=/orders"])?)?;
    no_connection(&s.ask(&["postgres", "postgres-envoy:5432", &format!("as={identity}")])?)?;
    no_connection(&tunnel(s, identity, "api.partner.example:443")?)?;
    Ok("no connection to application, database, egress".to_owned())
}

fn plaintext_denied(s: &Stack) -> Result<String> {
    expect(&s.ask(&["http", "app-envoy:8000", "path=/orders"])?, 403)?;
    no_connection(&s.ask(&["postgres", "postgres-envoy:5432"])?)?;
    no_connection(&s.ask(&["tunnel", "egress:15008", "host=api.partner.example:443"])?)?;
    Ok("403 at the application, no connection to database, egress".to_owned())
}

fn database_shut(s: &Stack) -> Result<String> {
    for identity in ["as=gateway", "as=stranger"] {
        no_connection(&s.ask(&["postgres", "postgres-envoy:5432", identity])?)?;
    }
    Ok("closed to gateway and stranger, before a byte".to_owned())
}

fn database_undisturbed(s: &Stack) -> Result<String> {
    let before = database_connections(s)?;
    for identity in ["as=gateway", "as=stranger"] {
        no_connection(&s.ask(&["postgres", "postgres-envoy:5432", identity])?)?;
    }
    let denied = database_connections(s)?;
    ensure!(denied == before, "it saw {} of 2", denied - before);
    s.ask(&["postgres", "postgres-envoy:5432", "as=app"])?;
    ensure!(database_connections(s)? > denied, "nor of who is let in: the count does not tell");
    Ok("none of 2, and the application's".to_owned())
}

/// How many connections to the database its Envoy has opened: asked of Envoy, since a scrape may be seconds old.
fn database_connections(s: &Stack) -> Result<u64> {
    let stats = s.ask(&["http", "postgres-envoy:9902", "path=/stats/prometheus"])?;
    let metric = "envoy_cluster_upstream_cx_total{envoy_cluster_name=\"postgres\"} ";
    let mut lines = stats.get("body").and_then(Value::as_str).unwrap_or_default().lines();
    let count = lines.find_map(|line| line.strip_prefix(metric)).context("Envoy does not count them")?;
    Ok(count.parse()?)
}

fn tunnel(s: &Stack, identity: &str, host: &str) -> Result<Value> {
    s.ask(&["tunnel", "egress:15008", &format!("as={identity}"), &format!("host={host}")])
}

fn no_other_way(s: &Stack) -> Result<String> {
    for (service, network, port) in [
        ("gateway", "front", 8080),
        ("egress", "mesh", 15008),
        ("postgres", "postgres-link", 5432),
        ("outside", "outside", 443),
    ] {
        let address = format!("{}:{port}", s.address(service, network)?);
        let answer = s.ask_from("app", &["dial", &address])?;
        ensure!(answer.get("error").is_some(), "the application reached {service} at {address}");
    }
    Ok("neither gateway, egress, database nor outside".to_owned())
}

/// A server of this machine stands for all of them: Docker lets an internal network reach those unless told not to.
fn not_the_machine(s: &Stack) -> Result<String> {
    let server = TcpListener::bind("0.0.0.0:0")?;
    let port = server.local_addr()?.port();
    let mut networks = s.networks_of("app")?;
    networks.push(s.network("front"));
    for network in networks {
        let address = format!("{}:{port}", s.machine(&network)?);
        let answer = s.ask_from("app", &["dial", &address])?;
        ensure!(answer.get("error").is_some(), "the application reached the machine at {address}");
    }
    Ok("by none of its addresses".to_owned())
}
