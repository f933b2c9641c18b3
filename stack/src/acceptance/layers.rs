//! The layers of defence: deny by default, workload identity, egress control, network isolation.

use std::net::TcpListener;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::wait;

use super::Check;
use super::assertions::{expect_no_connection, expect_status, has};
use super::stack::{Stack, TIMEOUT};

// `ablation` shows that the named checks fail without their protection.
pub(super) const DENIED_BY_DEFAULT: Check =
    Check { claim: "a service without an ALLOW policy is denied to everyone", run: denied_by_default };
pub(super) const STRANGER_DENIED: Check =
    Check { claim: "another workload with a valid certificate is denied", run: stranger_denied };
pub(super) const OTHER_DOMAIN_REFUSED: Check =
    Check { claim: "a certificate of another trust domain is rejected", run: |s| rejected(s, "other-domain") };
pub(super) const PLAINTEXT_DENIED: Check = Check { claim: "plaintext is denied", run: plaintext_denied };
pub(super) const ATTACK_TOOL_DENIED: Check = Check {
    claim: "an attack tool is denied at the gateway",
    run: |s| expect_status(&s.request(&["path=/orders", "user-agent: sqlmap/1.8"])?, 403),
};
pub(super) const DATABASE_DENIED: Check =
    Check { claim: "other workloads cannot reach the database", run: database_denied };
pub(super) const UNDECLARED_HOST_DENIED: Check = Check {
    claim: "an undeclared host is denied at the egress gateway",
    run: |s| expect_status(&tunnel(s, "app", "undeclared.example:443")?, 403),
};
pub(super) const UNDECLARED_NAME_MISSING: Check =
    Check { claim: "an undeclared name does not exist for the application", run: undeclared_name_missing };
pub(super) const NO_EGRESS_BYPASS: Check =
    Check { claim: "the application cannot bypass its Envoy", run: no_egress_bypass };
pub(super) const HOST_UNREACHABLE: Check =
    Check { claim: "the application cannot reach the host machine", run: host_unreachable };

pub(super) const CHECKS: [Check; 26] = [
    DENIED_BY_DEFAULT,
    Check {
        claim: "a client reads orders through all three tiers",
        run: |s| {
            let answer = s.request(&["path=/orders"])?;
            ensure!(answer.to_string().contains("a lantern"), "{answer}");
            expect_status(&answer, 200)
        },
    },
    Check {
        claim: "the gateway's certificate allows GET /orders",
        run: |s| expect_status(&s.request_app("gateway", &["path=/orders"])?, 200),
    },
    Check {
        claim: "another method is denied",
        run: |s| expect_status(&s.request_app("gateway", &["path=/orders", "method=DELETE"])?, 403),
    },
    Check {
        claim: "another path is denied, also with dot segments",
        run: |s| {
            expect_status(&s.request_app("gateway", &["path=/admin/keys"])?, 403)?;
            expect_status(&s.request_app("gateway", &["path=/orders/../admin/keys"])?, 403)
        },
    },
    STRANGER_DENIED,
    Check { claim: "a certificate of another authority is rejected", run: |s| rejected(s, "forged") },
    Check { claim: "an expired certificate is rejected", run: |s| rejected(s, "expired") },
    OTHER_DOMAIN_REFUSED,
    Check { claim: "TLS without a certificate is rejected", run: |s| rejected(s, "none") },
    PLAINTEXT_DENIED,
    ATTACK_TOOL_DENIED,
    Check {
        claim: "the application's certificate allows the database",
        run: |s| {
            let answer = s.probe(&["postgres", "postgres-envoy:5432", "as=app"])?;
            ensure!(has(&answer, "status", "R"), "{answer}");
            Ok("the database answers".to_owned())
        },
    },
    DATABASE_DENIED,
    Check { claim: "the database sees no connection of a denied client", run: denied_before_database },
    Check {
        claim: "the page shows two successful and two failed calls",
        run: |s| {
            ensure!(s.request(&["path=/"])?.to_string().contains("/calls"), "no page");
            s.check_calls()?;
            Ok(s.calls()?
                .iter()
                .filter(|call| call.succeeded)
                .map(|call| call.name.as_str())
                .collect::<Vec<_>>()
                .join("; "))
        },
    },
    Check {
        claim: "the application's tunnel reaches the declared host",
        run: |s| expect_status(&tunnel(s, "app", "api.partner.example:443")?, 200),
    },
    UNDECLARED_HOST_DENIED,
    Check {
        claim: "an IP address in place of a host name is denied",
        run: |s| {
            let outside = s.address("outside", "outside")?;
            expect_status(&tunnel(s, "app", &format!("{outside}:443"))?, 403)
        },
    },
    Check {
        claim: "the declared host is denied to another workload",
        run: |s| expect_status(&tunnel(s, "stranger", "api.partner.example:443")?, 403),
    },
    Check { claim: "a declared name leads the application to its Envoy", run: declared_name_leads_to_envoy },
    UNDECLARED_NAME_MISSING,
    Check { claim: "the log of DNS has the names that are not declared", run: undeclared_name_logged },
    NO_EGRESS_BYPASS,
    HOST_UNREACHABLE,
    Check {
        claim: "a client in the mesh cannot bypass an Envoy",
        run: |s| {
            for (service, network, port) in
                [("app", "app-link", 8000), ("postgres", "postgres-link", 5432), ("outside", "outside", 443)]
            {
                let address = format!("{}:{port}", s.address(service, network)?);
                expect_no_connection(&s.probe(&["dial", &address])?)?;
            }
            Ok("application, database, outside".to_owned())
        },
    },
];

fn denied_by_default(s: &Stack) -> Result<String> {
    for identity in ["gateway", "app", "stranger"] {
        expect_status(&s.probe(&["http", "app-envoy:8002", &format!("as={identity}")])?, 403)?;
    }
    Ok("403 for gateway, application, stranger".to_owned())
}

fn stranger_denied(s: &Stack) -> Result<String> {
    expect_status(&s.request_app("stranger", &["path=/orders"])?, 403)?;
    let entry = s.find_log_entry("app-envoy", "the denial in the access log", |entry| {
        has(entry, "decision", "deny") && has(entry, "principal", "cluster.local/ns/demo/sa/stranger")
    })?;
    let reason = entry.get("reason").and_then(Value::as_str).unwrap_or_default();
    ensure!(reason.starts_with("no ALLOW policy matches"), "the log says {reason:?}");
    Ok("403, with the reason in the access log".to_owned())
}

/// Checks that the TLS handshake with this certificate fails at the application, the database and the egress gateway.
fn rejected(s: &Stack, identity: &str) -> Result<String> {
    expect_no_connection(&s.request_app(identity, &["path=/orders"])?)?;
    expect_no_connection(&s.probe(&["postgres", "postgres-envoy:5432", &format!("as={identity}")])?)?;
    expect_no_connection(&tunnel(s, identity, "api.partner.example:443")?)?;
    Ok("no connection to application, database, egress".to_owned())
}

fn plaintext_denied(s: &Stack) -> Result<String> {
    expect_status(&s.probe(&["http", "app-envoy:8000", "path=/orders"])?, 403)?;
    expect_no_connection(&s.probe(&["postgres", "postgres-envoy:5432"])?)?;
    expect_no_connection(&s.probe(&["tunnel", "egress:15008", "host=api.partner.example:443"])?)?;
    Ok("403 at the application, no connection to database, egress".to_owned())
}

fn database_denied(s: &Stack) -> Result<String> {
    for identity in ["as=gateway", "as=stranger"] {
        expect_no_connection(&s.probe(&["postgres", "postgres-envoy:5432", identity])?)?;
    }
    Ok("closed for gateway and stranger before the first byte".to_owned())
}

fn denied_before_database(s: &Stack) -> Result<String> {
    let before = database_connections(s)?;
    for identity in ["as=gateway", "as=stranger"] {
        expect_no_connection(&s.probe(&["postgres", "postgres-envoy:5432", identity])?)?;
    }
    let denied = database_connections(s)?;
    ensure!(denied == before, "the database saw {} of 2 connections", denied - before);
    s.probe(&["postgres", "postgres-envoy:5432", "as=app"])?;
    ensure!(database_connections(s)? > denied, "the counter does not include allowed connections");
    Ok("0 of 2 denied connections, and the application's".to_owned())
}

/// The number of connections that Envoy has opened to the database, from Envoy itself because a scrape may be seconds old.
fn database_connections(s: &Stack) -> Result<u64> {
    let stats = s.probe(&["http", "postgres-envoy:9902", "path=/stats/prometheus"])?;
    let metric = "envoy_cluster_upstream_cx_total{envoy_cluster_name=\"postgres\"} ";
    let mut lines = stats.get("body").and_then(Value::as_str).unwrap_or_default().lines();
    let count = lines.find_map(|line| line.strip_prefix(metric)).context("Envoy has no such counter")?;
    Ok(count.parse()?)
}

fn tunnel(s: &Stack, identity: &str, host: &str) -> Result<Value> {
    s.probe(&["tunnel", "egress:15008", &format!("as={identity}"), &format!("host={host}")])
}

/// The addresses of the application's Envoy and of its DNS (`envoy-config/stack/docker-compose.yaml`).
const ENVOY: &str = "10.231.77.2";
const DNS: &str = "10.231.77.3:53";

/// Asks the application's DNS from the application's container.
fn ask(s: &Stack, name: &str, kind: &str, transport: &str) -> Result<Value> {
    let arguments = [format!("name={name}"), format!("type={kind}"), format!("transport={transport}")];
    let [name, kind, transport] = arguments.each_ref().map(String::as_str);
    s.probe_from("app", &["dns", DNS, name, kind, transport])
}

fn declared_name_leads_to_envoy(s: &Stack) -> Result<String> {
    for name in ["api.partner.example", "Api.PARTNER.example", "postgres"] {
        for transport in ["udp", "tcp"] {
            let answer = ask(s, name, "A", transport)?;
            let expected = json!({"status": "NOERROR", "addresses": [ENVOY], "records": 1});
            ensure!(answer == expected, "{name} by {transport}: {answer}");
            // musl takes a name for missing if one of its questions gets NXDOMAIN.
            for kind in ["AAAA", "HTTPS", "TXT"] {
                let answer = ask(s, name, kind, transport)?;
                let expected = json!({"status": "NOERROR", "addresses": [], "records": 0});
                ensure!(answer == expected, "{name} {kind} by {transport}: {answer}");
            }
        }
    }
    Ok("in any letter case; AAAA, HTTPS and TXT are empty".to_owned())
}

fn undeclared_name_missing(s: &Stack) -> Result<String> {
    for kind in ["A", "AAAA", "HTTPS", "TXT"] {
        let answer = ask(s, "undeclared.example", kind, "udp")?;
        ensure!(has(&answer, "status", "NXDOMAIN"), "{kind}: {answer}");
    }
    Ok("NXDOMAIN for A, AAAA, HTTPS and TXT".to_owned())
}

fn undeclared_name_logged(s: &Stack) -> Result<String> {
    ask(s, "Undeclared.example", "A", "udp")?;
    let line = " Undeclared.example. A IN NXDOMAIN ";
    // unbound writes its log to standard error.
    let command = format!("docker logs {} 2>&1", s.container("egress-dns")?);
    wait::until("the name in the log of DNS", TIMEOUT, || {
        let log = super::command::output(std::process::Command::new("sh").args(["-c", &command]))?;
        Ok(log.contains(line).then_some(()))
    })?;
    Ok("with who asked for it".to_owned())
}

fn no_egress_bypass(s: &Stack) -> Result<String> {
    for (service, network, port) in [
        ("gateway", "front", 8080),
        ("egress", "mesh", 15008),
        ("postgres", "postgres-link", 5432),
        ("outside", "outside", 443),
    ] {
        let address = format!("{}:{port}", s.address(service, network)?);
        let answer = s.probe_from("app", &["dial", &address])?;
        ensure!(answer.get("error").is_some(), "the application reached {service} at {address}");
    }
    Ok("gateway, egress, database and outside are unreachable".to_owned())
}

/// Checks with a server on this machine: by default, a Docker internal network can reach all servers of its host.
fn host_unreachable(s: &Stack) -> Result<String> {
    let server = TcpListener::bind("0.0.0.0:0")?;
    let port = server.local_addr()?.port();
    let mut networks = s.networks_of("app")?;
    networks.push(s.network("front"));
    for network in networks {
        let address = format!("{}:{port}", s.host_address(&network)?);
        let answer = s.probe_from("app", &["dial", &address])?;
        ensure!(answer.get("error").is_some(), "the application reached the host machine at {address}");
    }
    Ok("on none of its addresses".to_owned())
}
