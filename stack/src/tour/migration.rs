//! What changes while the stack runs: certificates, and the mode from report to enforce.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::Value;
use testbed::wait;

use super::answer::{expect, is};
use super::running::{ENVOYS, LIMIT, Stack};
use super::{Claim, observability, policies};

pub(super) const CLAIMS: [Claim; 6] = [
    Claim { name: "certificates are rotated, without a restart or a lost request", check: rotation },
    Claim {
        name: "PERMISSIVE and report mode let everyone in, without a lost request",
        check: |s| without_a_loss(s, policies::report, true),
    },
    Claim { name: "what would have been denied is listed", check: listed },
    Claim {
        name: "what would have been denied is on the dashboard",
        check: |s| {
            let denied = ["http", "app-envoy:8000", "as=stranger", "path=/orders"];
            observability::grows(s, "Would-be denials, in report mode", &[("workload", "app")], &denied)
        },
    },
    Claim {
        name: "then it is enforced, without a restart or a lost request",
        check: |s| without_a_loss(s, policies::enforce, false),
    },
    Claim { name: "a faulty policy is refused, and the one before holds", check: faulty },
];

/// What would have been denied, in the order of the text, each with how often it was asked.
pub(super) fn would_deny(s: &Stack) -> Result<Vec<String>> {
    let mut counts = BTreeMap::<String, u32>::new();
    for service in ENVOYS {
        for entry in s.log(service)? {
            // The gateway has two filters that decide.
            for decision in std::iter::once(&entry).chain(entry.get("baseline")) {
                if is(decision, "decision", "would_deny") {
                    *counts.entry(sentence(service, &entry, decision)).or_default() += 1;
                }
            }
        }
    }
    Ok(counts.into_iter().map(|(sentence, count)| format!("{count:5} x {sentence}")).collect())
}

/// Who asked whom for what, and the policy and reason of the denial that it would have been.
fn sentence(service: &str, entry: &Value, decision: &Value) -> String {
    let of = |entry: &Value, key: &str| Some(entry.get(key)?.as_str()?.to_owned());
    let asked = match service {
        "egress" => of(entry, "authority").map(|authority| format!("CONNECT {authority}")),
        "postgres-envoy" => Some("a connection".to_owned()),
        _ => of(entry, "request"),
    };
    let who = of(decision, "principal").or_else(|| of(entry, "peer"));
    let by = of(decision, "policy").map(|policy| format!(" by {policy}"));
    format!(
        "{}: {}, for {}: would be denied{}: {}",
        of(entry, "workload").unwrap_or_default(),
        asked.unwrap_or_default(),
        who.as_deref().unwrap_or("someone without a certificate"),
        by.unwrap_or_default(),
        of(decision, "reason").unwrap_or_default()
    )
}

/// Since when each Envoy has run, by which a restart would show.
fn starts(s: &Stack) -> Result<Vec<String>> {
    ENVOYS
        .iter()
        .map(|service| s.docker(&["inspect", "--format", "{{.State.StartedAt}}", s.container(service)?]))
        .collect()
}

fn rotation(s: &Stack) -> Result<String> {
    let names = "{__name__=~\"envoy_(listener|cluster)_ssl_certificate_expiration_unix_time_seconds\",envoy_tls_certificate=\"workload\"}";
    let expiry = |which: &str| Ok(s.query(&format!("{which}({names})"))?.first().map(|(_, value)| *value));
    let latest = wait::until("the expiry to be scraped", LIMIT, || expiry("max"))?;
    let restarts = starts(s)?;
    let flood = s.flood(6)?;
    s.docker(&["exec", s.container("certificates")?, "/stack", "rotate", "/certificates"])?;
    wait::until("every certificate to end later", LIMIT, || Ok(expiry("min")?.filter(|first| *first > latest)))?;
    ensure!(starts(s)? == restarts, "an Envoy was restarted");
    // A new connection is made under the new certificates.
    expect(&s.to_app("gateway", &["path=/orders"])?, 200)?;
    flood.all_had(200)
}

fn listed(s: &Stack) -> Result<String> {
    expect(&s.client(&["path=/orders", "user-agent: sqlmap/1.8"])?, 200)?;
    let expected: [&[&str]; 5] = [
        &["app: GET /orders, for cluster.local/ns/demo/sa/stranger: "],
        &["app: GET /orders, for someone without a certificate: "],
        &["egress: CONNECT undeclared.example:443, for cluster.local/ns/demo/sa/hello-app: "],
        &["postgres: a connection, for cluster.local/ns/demo/sa/stranger: "],
        &["gateway: GET /orders, ", "sqlmap"],
    ];
    wait::until_ok("the list to be whole", LIMIT, || {
        let rows = would_deny(s)?;
        let has = |parts: &[&str]| rows.iter().any(|row| parts.iter().all(|part| row.contains(part)));
        let missing = expected.into_iter().find(|parts| !has(parts));
        ensure!(missing.is_none(), "not listed: {missing:?}");
        Ok(format!("{} rows, from all four Envoys", rows.len()))
    })
}

/// Changes the mode under a flood of good requests, and waits until it is in effect for everyone who may not.
fn without_a_loss(s: &Stack, change: fn() -> Result<()>, open: bool) -> Result<String> {
    let restarts = starts(s)?;
    let flood = s.flood(4)?;
    change()?;
    let tries: [&[&str]; 6] = [
        &["http", "app-envoy:8000", "path=/orders", "as=stranger"],
        &["http", "app-envoy:8000", "path=/orders"],
        &["http", "app-envoy:8002", "as=stranger"],
        &["http", "gateway:8080", "path=/orders", "user-agent: sqlmap/1.8"],
        &["tunnel", "egress:15008", "as=app", "host=undeclared.example:443"],
        &["postgres", "postgres-envoy:5432", "as=stranger"],
    ];
    for arguments in tries {
        wait::until(&format!("{arguments:?} to be let through: {open}"), LIMIT, || {
            let answer = s.ask(arguments)?;
            let through = matches!(answer.get("status"), Some(status) if *status == 200 || *status == "R");
            Ok((through == open).then_some(()))
        })?;
    }
    ensure!(starts(s)? == restarts, "an Envoy was restarted");
    flood.all_had(200)
}

fn faulty(s: &Stack) -> Result<String> {
    let failures = "envoy_extension_config_discovery_http_filter_config_fail{workload=\"app\"}";
    let before = s.sum(failures)?;
    policies::edited("app.yaml", &[("principals:", "principal:")], || {
        wait::until("the refusal to be counted", LIMIT, || Ok((s.sum(failures)? > before).then_some(())))?;
        expect(&s.to_app("gateway", &["path=/orders"])?, 200)?;
        expect(&s.to_app("stranger", &["path=/orders"])?, 403)
    })?;
    Ok("refused and counted".to_owned())
}
