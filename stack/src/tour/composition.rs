//! What Envoy has beside the filters, each on one route.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::wait;

use super::Claim;
use super::answer::expect;
use super::running::{LIMIT, Stack};

// It is seen to fail in `removals`.
pub(super) const ACCOUNT_SHUT: Claim =
    Claim { name: "JWT: no token, no account", check: |s| expect(&s.client(&["path=/account"])?, 403) };

pub(super) const CLAIMS: [Claim; 14] = [
    ACCOUNT_SHUT,
    Claim {
        name: "JWT: a good token opens the account",
        check: |s| expect(&s.client(&["path=/account", "token=good"])?, 200),
    },
    Claim {
        name: "JWT: a token of another key is turned away",
        check: |s| expect(&s.client(&["path=/account", "token=forged"])?, 401),
    },
    Claim {
        name: "JWT: a good token of one who may not is denied by policy",
        check: |s| expect(&s.client(&["path=/account", "token=mallory"])?, 403),
    },
    Claim {
        name: "external authorization: no badge, no reports",
        check: |s| expect(&s.client(&["path=/reports"])?, 403),
    },
    Claim {
        name: "external authorization: the badge opens them",
        check: |s| expect(&s.client(&["path=/reports", "x-badge: gold"])?, 200),
    },
    Claim { name: "local rate limit: the fourth of a burst gets 429", check: rate_limit },
    Claim { name: "canary: about one in ten", check: canary },
    Claim {
        name: "canary: the header leads there always",
        check: |s| {
            let answer =
                s.ask(&["flood", "gateway:8080", "path=/version", "count=20", "seconds=20", "x-canary: always"])?;
            ensure!(versions(&answer) == (0, 20), "{answer}");
            Ok("20 of 20".to_owned())
        },
    },
    Claim {
        name: "timeout: 504 after one second of five",
        check: |s| {
            let start = Instant::now();
            expect(&s.client(&["path=/slow"])?, 504)?;
            ensure!(start.elapsed().as_secs() < 5, "the timeout came too late");
            Ok("504".to_owned())
        },
    },
    Claim {
        name: "retries: the third try succeeds, the client sees one",
        check: |s| {
            let path = format!("path=/flaky?{}", fresh()?);
            let answer = s.client(&[&path])?;
            ensure!(answer.to_string().contains("try 3"), "{answer}");
            expect(&answer, 200)
        },
    },
    Claim { name: "outlier detection: the sick host gets no more requests", check: outlier },
    Claim { name: "fault injection: 418 for all of one route", check: |s| expect(&s.client(&["path=/fault"])?, 418) },
    Claim { name: "tracing: one trace has spans of both Envoys", check: spans },
];

/// A number that no request has had.
fn fresh() -> Result<u128> {
    Ok(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos())
}

fn rate_limit(s: &Stack) -> Result<String> {
    let answer = s.ask(&["flood", "gateway:8080", "path=/limited", "count=8", "seconds=10"])?;
    let count = |status| answer.pointer(&format!("/statuses/{status}")).and_then(Value::as_u64).unwrap_or(0);
    ensure!(count("429") >= 1 && count("200") >= 1 && count("200") + count("429") == 8, "{answer}");
    let elsewhere = s.ask(&["flood", "gateway:8080", "path=/orders", "count=8", "seconds=10"])?;
    ensure!(elsewhere.get("statuses") == Some(&json!({"200": 8})), "limited elsewhere too: {elsewhere}");
    Ok(format!("{} of 8 passed, 8 of 8 on another route", count("200")))
}

/// How many answers came from the stable version, and from the canary.
fn versions(answer: &Value) -> (u64, u64) {
    let count = |version| answer.pointer(version).and_then(Value::as_u64).unwrap_or(0);
    (count("/versions/stable"), count("/versions/canary"))
}

fn canary(s: &Stack) -> Result<String> {
    let answer = s.ask(&["flood", "gateway:8080", "path=/version", "count=300", "seconds=40"])?;
    let (stable, canary) = versions(&answer);
    // Of 300 with a chance of one in ten, fewer than 6 or more than 66 happens less than once in a million times.
    ensure!(stable + canary == 300 && (6..=66).contains(&canary), "{answer}");
    Ok(format!("{canary} of 300"))
}

fn outlier(s: &Stack) -> Result<String> {
    wait::until("the canary to be ejected", LIMIT, || {
        let answer = s.ask(&["flood", "gateway:8080", "path=/pool", "count=10", "seconds=10"])?;
        Ok((versions(&answer) == (10, 0)).then_some(()))
    })?;
    let ejected = wait::until("the ejection to be counted", LIMIT, || {
        Ok(Some(s.sum("envoy_cluster_outlier_detection_ejections_active{envoy_cluster_name=\"pool\"}")?)
            .filter(|sum| *sum > 0.0))
    })?;
    Ok(format!("{ejected} ejected, 10 of 10 answered by the other"))
}

fn spans(s: &Stack) -> Result<String> {
    let trace = format!("{:016x}", fresh()?);
    let header = [format!("x-b3-traceid: {trace}"), format!("x-b3-spanid: {:016x}", 1), "x-b3-sampled: 1".to_owned()];
    let [trace_header, span, sampled] = &header;
    expect(&s.client(&["path=/orders", trace_header, span, sampled])?, 200)?;
    let path = format!("path=/trace/{trace}");
    wait::until("the spans of both Envoys", LIMIT, || {
        let answer = s.ask(&["http", "spans:9411", &path])?;
        let spans: Value = serde_json::from_str(answer.get("body").and_then(Value::as_str).context("no body")?)?;
        let has = |name: &str| {
            let of = |span: &Value| span.pointer("/localEndpoint/serviceName").and_then(Value::as_str) == Some(name);
            spans.as_array().is_some_and(|spans| spans.iter().any(of))
        };
        Ok((has("gateway") && has("app")).then_some(()))
    })?;
    Ok("gateway and app".to_owned())
}
