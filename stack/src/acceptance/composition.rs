//! The filters together with Envoy's own features, each on a route of its own.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::wait;

use super::Check;
use super::assertions::expect_status;
use super::stack::{Stack, TIMEOUT};

// `ablation` shows that this check fails without its protection.
pub(super) const ACCOUNT_DENIED: Check = Check {
    claim: "JWT: the account is denied without a token",
    run: |s| expect_status(&s.request(&["path=/account"])?, 403),
};

pub(super) const CHECKS: [Check; 14] = [
    ACCOUNT_DENIED,
    Check {
        claim: "JWT: a valid token allows the account",
        run: |s| expect_status(&s.request(&["path=/account", "token=good"])?, 200),
    },
    Check {
        claim: "JWT: a token of another key is rejected",
        run: |s| expect_status(&s.request(&["path=/account", "token=forged"])?, 401),
    },
    Check {
        claim: "JWT: a valid token of another subject is denied by policy",
        run: |s| expect_status(&s.request(&["path=/account", "token=mallory"])?, 403),
    },
    Check {
        claim: "external authorization: reports are denied without a badge",
        run: |s| expect_status(&s.request(&["path=/reports"])?, 403),
    },
    Check {
        claim: "external authorization: the badge allows reports",
        run: |s| expect_status(&s.request(&["path=/reports", "x-badge: gold"])?, 200),
    },
    Check { claim: "local rate limit: a burst gets 429", run: rate_limit },
    Check { claim: "canary: about one request in ten", run: canary },
    Check {
        claim: "canary: the header always selects it",
        run: |s| {
            let answer =
                s.probe(&["load", "gateway:8080", "path=/version", "count=20", "seconds=20", "x-canary: always"])?;
            ensure!(versions(&answer) == (0, 20), "{answer}");
            Ok("20 of 20".to_owned())
        },
    },
    Check {
        claim: "timeout: 504 after one second of five",
        run: |s| {
            let start = Instant::now();
            expect_status(&s.request(&["path=/slow"])?, 504)?;
            ensure!(start.elapsed().as_secs() < 5, "the timeout came too late");
            Ok("504".to_owned())
        },
    },
    Check {
        claim: "retries: the third attempt succeeds, the client sees one response",
        run: |s| {
            let path = format!("path=/flaky?{}", unique_number()?);
            let answer = s.request(&[&path])?;
            ensure!(answer.to_string().contains("attempt 3"), "{answer}");
            expect_status(&answer, 200)
        },
    },
    Check { claim: "outlier detection: the failing host is ejected", run: outlier },
    Check {
        claim: "fault injection: 418 for all of one route",
        run: |s| expect_status(&s.request(&["path=/fault"])?, 418),
    },
    Check { claim: "tracing: a trace has spans of both Envoys", run: spans },
];

/// A number that no earlier request had.
fn unique_number() -> Result<u128> {
    Ok(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos())
}

fn rate_limit(s: &Stack) -> Result<String> {
    let answer = s.probe(&["load", "gateway:8080", "path=/limited", "count=8", "seconds=10"])?;
    let count = |status| answer.pointer(&format!("/statuses/{status}")).and_then(Value::as_u64).unwrap_or(0);
    ensure!(count("429") >= 1 && count("200") >= 1 && count("200") + count("429") == 8, "{answer}");
    let elsewhere = s.probe(&["load", "gateway:8080", "path=/orders", "count=8", "seconds=10"])?;
    ensure!(elsewhere.get("statuses") == Some(&json!({"200": 8})), "another route is limited too: {elsewhere}");
    Ok(format!("{} of 8 passed, 8 of 8 on another route", count("200")))
}

/// Counts the responses of the stable version and of the canary.
fn versions(answer: &Value) -> (u64, u64) {
    let count = |version| answer.pointer(version).and_then(Value::as_u64).unwrap_or(0);
    (count("/versions/stable"), count("/versions/canary"))
}

fn canary(s: &Stack) -> Result<String> {
    let answer = s.probe(&["load", "gateway:8080", "path=/version", "count=300", "seconds=40"])?;
    let (stable, canary) = versions(&answer);
    // For 300 requests at 10 %, fewer than 6 or more than 66 has a probability below one in a million.
    ensure!(stable + canary == 300 && (6..=66).contains(&canary), "{answer}");
    Ok(format!("{canary} of 300"))
}

fn outlier(s: &Stack) -> Result<String> {
    wait::until("the canary to be ejected", TIMEOUT, || {
        let answer = s.probe(&["load", "gateway:8080", "path=/pool", "count=10", "seconds=10"])?;
        Ok((versions(&answer) == (10, 0)).then_some(()))
    })?;
    let ejected = wait::until("the ejection to be counted", TIMEOUT, || {
        Ok(Some(s.sum("envoy_cluster_outlier_detection_ejections_active{envoy_cluster_name=\"pool\"}")?)
            .filter(|sum| *sum > 0.0))
    })?;
    Ok(format!("{ejected} ejected, the other host answered 10 of 10"))
}

fn spans(s: &Stack) -> Result<String> {
    let trace = format!("{:016x}", unique_number()?);
    let header = [format!("x-b3-traceid: {trace}"), format!("x-b3-spanid: {:016x}", 1), "x-b3-sampled: 1".to_owned()];
    let [trace_header, span, sampled] = &header;
    expect_status(&s.request(&["path=/orders", trace_header, span, sampled])?, 200)?;
    let path = format!("path=/trace/{trace}");
    wait::until("the spans of both Envoys", TIMEOUT, || {
        let answer = s.probe(&["http", "spans:9411", &path])?;
        let spans: Value = serde_json::from_str(answer.get("body").and_then(Value::as_str).context("no body")?)?;
        let has = |name: &str| {
            let of = |span: &Value| span.pointer("/localEndpoint/serviceName").and_then(Value::as_str) == Some(name);
            spans.as_array().is_some_and(|spans| spans.iter().any(of))
        };
        Ok((has("gateway") && has("app")).then_some(()))
    })?;
    Ok("gateway and app".to_owned())
}
