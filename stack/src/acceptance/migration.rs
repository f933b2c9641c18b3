//! Changes at run time: certificate rotation, and the migration from report mode to enforcement.

use anyhow::{Result, ensure};
use testbed::wait;

use super::assertions::expect_status;
use super::stack::{ENVOYS, Stack, TIMEOUT};
use super::would_be_denials::WouldBeDenials;
use super::{Check, observability, policies};

pub(super) const CHECKS: [Check; 7] = [
    Check { claim: "certificates rotate without a restart or a lost request", run: rotation },
    Check {
        claim: "PERMISSIVE and report mode allow everyone, without a lost request",
        run: |s| change_under_load(s, policies::report, true),
    },
    Check { claim: "in report mode DNS leads to undeclared hosts, too", run: calls_succeed },
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

fn calls_succeed(s: &Stack) -> Result<String> {
    wait::until_ok("every call of the application to succeed", TIMEOUT, || {
        let calls = s.calls()?;
        ensure!(calls.iter().all(|call| call.succeeded), "{calls:?}");
        Ok(format!("{} calls of the application", calls.len()))
    })
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
    let found = WouldBeDenials::settled(s)?;
    ensure!(found.is_complete(), "{found}");
    let has = |parts: &[&str]| found.rows.keys().any(|row| parts.iter().all(|part| row.contains(part)));
    let missing = expected.into_iter().find(|parts| !has(parts));
    ensure!(missing.is_none(), "not listed: {missing:?} in\n{found}");
    Ok(format!("{} rows, from all four Envoys", found.rows.len()))
}

/// Changes the mode under a load of allowed requests, and waits until every denied request is affected.
fn change_under_load(s: &Stack, change: fn() -> Result<()>, allowed: bool) -> Result<String> {
    let started = start_times(s)?;
    let load = s.start_load(4)?;
    change()?;
    wait_until_in_effect(s, allowed)?;
    ensure!(start_times(s)? == started, "an Envoy was restarted");
    load.expect_all(200)
}

/// Waits until every Envoy allows, or denies, what the policies deny.
pub(super) fn wait_until_in_effect(s: &Stack, allowed: bool) -> Result<()> {
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
    Ok(())
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
