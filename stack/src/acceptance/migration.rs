//! Changes at run time: certificate rotation, and the migration from report mode to enforcement.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::Value;
use testbed::wait;

use super::assertions::{expect_status, has};
use super::stack::{ENVOYS, Stack, TIMEOUT};
use super::{Check, observability, policies};

pub(super) const CHECKS: [Check; 6] = [
    Check { claim: "certificates rotate without a restart or a lost request", run: rotation },
    Check {
        claim: "PERMISSIVE and report mode allow everyone, without a lost request",
        run: |s| change_under_load(s, policies::report, true),
    },
    Check { claim: "would-be denials are listed", run: listed },
    Check {
        claim: "would-be denials are on the dashboard",
        run: |s| {
            let denied = ["http", "app-envoy:8000", "as=stranger", "path=/orders"];
            observability::grows(s, "Would-be denials, in report mode", &[("workload", "app")], &denied)
        },
    },
    Check {
        claim: "enforcement starts without a restart or a lost request",
        run: |s| change_under_load(s, policies::enforce, false),
    },
    Check { claim: "an invalid policy is rejected, and the previous one stays active", run: invalid_policy },
];

/// The would-be denials with their number of occurrences, sorted by text.
pub(super) fn would_deny(s: &Stack) -> Result<Vec<String>> {
    let mut counts = BTreeMap::<String, u32>::new();
    for service in ENVOYS {
        for entry in s.access_log(service)? {
            // The gateway has two filters, with their fields under different keys.
            for decision in std::iter::once(&entry).chain(entry.get("baseline")) {
                if has(decision, "decision", "would_deny") {
                    *counts.entry(describe(service, &entry, decision)).or_default() += 1;
                }
            }
        }
    }
    Ok(counts.into_iter().map(|(denial, count)| format!("{count:5} x {denial}")).collect())
}

/// Describes a would-be denial: destination, request, caller, policy and reason.
fn describe(service: &str, entry: &Value, decision: &Value) -> String {
    let of = |entry: &Value, key: &str| Some(entry.get(key)?.as_str()?.to_owned());
    let request = match service {
        "egress" => of(entry, "authority").map(|authority| format!("CONNECT {authority}")),
        "postgres-envoy" => Some("a connection".to_owned()),
        _ => of(entry, "request"),
    };
    let caller = of(decision, "principal").or_else(|| of(entry, "peer"));
    let by = of(decision, "policy").map(|policy| format!(" by {policy}"));
    format!(
        "{}: {}, for {}: would be denied{}: {}",
        of(entry, "workload").unwrap_or_default(),
        request.unwrap_or_default(),
        caller.as_deref().unwrap_or("a client without a certificate"),
        by.unwrap_or_default(),
        of(decision, "reason").unwrap_or_default()
    )
}

/// The start time of each Envoy, which a restart would change.
fn start_times(s: &Stack) -> Result<Vec<String>> {
    ENVOYS
        .iter()
        .map(|service| s.docker(&["inspect", "--format", "{{.State.StartedAt}}", s.container(service)?]))
        .collect()
}

fn rotation(s: &Stack) -> Result<String> {
    let names = "{__name__=~\"envoy_(listener|cluster)_ssl_certificate_expiration_unix_time_seconds\",envoy_tls_certificate=\"workload\"}";
    let expiry = |which: &str| Ok(s.query(&format!("{which}({names})"))?.first().map(|(_, value)| *value));
    let latest = wait::until("the expiry to be scraped", TIMEOUT, || expiry("max"))?;
    let started = start_times(s)?;
    let load = s.start_load(6)?;
    s.docker(&["exec", s.container("certificates")?, "/stack", "rotate", "/certificates"])?;
    wait::until("every certificate to be renewed", TIMEOUT, || Ok(expiry("min")?.filter(|first| *first > latest)))?;
    ensure!(start_times(s)? == started, "an Envoy was restarted");
    // A new connection uses the new certificates.
    expect_status(&s.request_app("gateway", &["path=/orders"])?, 200)?;
    load.expect_all(200)
}

fn listed(s: &Stack) -> Result<String> {
    expect_status(&s.request(&["path=/orders", "user-agent: sqlmap/1.8"])?, 200)?;
    let expected: [&[&str]; 5] = [
        &["app: GET /orders, for cluster.local/ns/demo/sa/stranger: "],
        &["app: GET /orders, for a client without a certificate: "],
        &["egress: CONNECT undeclared.example:443, for cluster.local/ns/demo/sa/hello-app: "],
        &["postgres: a connection, for cluster.local/ns/demo/sa/stranger: "],
        &["gateway: GET /orders, ", "sqlmap"],
    ];
    wait::until_ok("the list to be complete", TIMEOUT, || {
        let rows = would_deny(s)?;
        let has = |parts: &[&str]| rows.iter().any(|row| parts.iter().all(|part| row.contains(part)));
        let missing = expected.into_iter().find(|parts| !has(parts));
        ensure!(missing.is_none(), "not listed: {missing:?}");
        Ok(format!("{} rows, from all four Envoys", rows.len()))
    })
}

/// Changes the mode under a load of allowed requests, and waits until every denied request is affected.
fn change_under_load(s: &Stack, change: fn() -> Result<()>, allowed: bool) -> Result<String> {
    let started = start_times(s)?;
    let load = s.start_load(4)?;
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
        wait::until(&format!("{arguments:?} to be allowed: {allowed}"), TIMEOUT, || {
            let answer = s.probe(arguments)?;
            let succeeded = matches!(answer.get("status"), Some(status) if *status == 200 || *status == "R");
            Ok((succeeded == allowed).then_some(()))
        })?;
    }
    ensure!(start_times(s)? == started, "an Envoy was restarted");
    load.expect_all(200)
}

fn invalid_policy(s: &Stack) -> Result<String> {
    let failures = "envoy_extension_config_discovery_http_filter_config_fail{workload=\"app\"}";
    let before = s.sum(failures)?;
    policies::with_edit("app.yaml", &[("principals:", "principal:")], || {
        wait::until("the rejection to be counted", TIMEOUT, || Ok((s.sum(failures)? > before).then_some(())))?;
        expect_status(&s.request_app("gateway", &["path=/orders"])?, 200)?;
        expect_status(&s.request_app("stranger", &["path=/orders"])?, 403)
    })?;
    Ok("rejected and counted".to_owned())
}
