//! The four locks: deny-all, identity, the way out, the network.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::Claim;
use super::running::{Stack, expect, is, no_connection};

/// The name that its removal asks for.
pub(super) const SHUT_TO_EVERYONE: Claim =
    Claim { name: "a service that no policy opens is shut to everyone", check: shut_to_everyone };
/// The name that its removal asks for.
pub(super) const NO_OTHER_WAY: Claim =
    Claim { name: "the application has no way out past its Envoy", check: no_other_way };
/// The name that its removal asks for.
pub(super) const STRANGER_DENIED: Claim =
    Claim { name: "another workload with a good certificate is denied", check: stranger_denied };
/// The name that its removal asks for.
pub(super) const UNDECLARED_SHUT: Claim =
    Claim { name: "an undeclared host is refused at the way out", check: undeclared_shut };
/// The name that its removal asks for.
pub(super) const DATABASE_SHUT: Claim =
    Claim { name: "nobody else reaches the database, with a certificate or without", check: database_shut };
/// The name that its removal asks for.
pub(super) const PLAINTEXT_DENIED: Claim =
    Claim { name: "plaintext is turned away by STRICT", check: plaintext_denied };

pub(super) const CLAIMS: [Claim; 19] = [
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
    Claim { name: "a certificate of another trust domain is turned away", check: |s| refused(s, "other-domain") },
    PLAINTEXT_DENIED,
    Claim {
        name: "an attack tool is turned away at the gateway",
        check: |s| expect(&s.client(&["path=/orders", "user-agent: sqlmap/1.8"])?, 403),
    },
    Claim {
        name: "the application's certificate opens the database",
        check: |s| {
            let answer = s.ask(&["postgres", "postgres-envoy:5432", "as=app"])?;
            ensure!(is(&answer, "status", "R"), "{answer}");
            Ok("it answers".to_owned())
        },
    },
    DATABASE_SHUT,
    Claim {
        name: "the page shows the calls: two through, two shut",
        check: |s| {
            ensure!(s.client(&["path=/"])?.to_string().contains("/calls"), "no page");
            let calls = s.calls()?;
            let through: Vec<_> = calls.iter().map(|(_, through)| *through).collect();
            ensure!(through == [true, true, false, false], "{calls:?}");
            Ok("database, declared; not undeclared".to_owned())
        },
    },
    Claim {
        name: "the application reaches the declared host",
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
];

pub(super) const AT_THE_END: [Claim; 2] = [
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
    Claim {
        name: "everything that is allowed works",
        check: |s| s.until_it_works().map(|()| "as at the beginning".to_owned()),
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
    Ok(entry.get("reason").and_then(Value::as_str).unwrap_or_default().chars().take(70).collect())
}

fn refused(s: &Stack, identity: &str) -> Result<String> {
    no_connection(&s.to_app(identity, &["path=/orders"])?)
}

fn plaintext_denied(s: &Stack) -> Result<String> {
    expect(&s.ask(&["http", "app-envoy:8000", "path=/orders"])?, 403)
}

fn database_shut(s: &Stack) -> Result<String> {
    for identity in
        [Some("as=gateway"), Some("as=stranger"), Some("as=forged"), Some("as=expired"), Some("as=other-domain"), None]
    {
        let arguments: Vec<_> = ["postgres", "postgres-envoy:5432"].into_iter().chain(identity).collect();
        no_connection(&s.ask(&arguments)?)?;
    }
    Ok("closed before a byte, six callers".to_owned())
}

fn tunnel(s: &Stack, identity: &str, host: &str) -> Result<Value> {
    s.ask(&["tunnel", "egress:15008", &format!("as={identity}"), &format!("host={host}")])
}

fn undeclared_shut(s: &Stack) -> Result<String> {
    expect(&tunnel(s, "app", "undeclared.example:443")?, 403)
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
