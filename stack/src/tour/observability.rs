//! What is seen: Prometheus, the dashboard's panels, the console page, the alerts.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::wait;

use super::Claim;
use super::running::{LIMIT, Stack, folder};

pub(super) const CLAIMS: [Claim; 10] = [
    Claim {
        name: "a certificate of another authority is seen",
        check: |s| counted(s, "envoy_listener_ssl_fail_verify_error", Some("as=forged")),
    },
    Claim {
        name: "an expired certificate is seen",
        check: |s| counted(s, "envoy_listener_ssl_fail_verify_error", Some("as=expired")),
    },
    Claim {
        name: "a certificate of another trust domain is seen",
        check: |s| counted(s, "envoy_listener_ssl_fail_verify_san", Some("as=other-domain")),
    },
    Claim {
        name: "plaintext is seen, and its policy",
        check: |s| {
            counted(s, "sallyport_connection_plaintext{workload=\"app\"}", None)?;
            counted(s, "sallyport_peer_authentication_denied", None)
        },
    },
    Claim {
        name: "a denial of a stranger is seen",
        check: |s| counted(s, "sallyport_denied{workload=\"app\"}", Some("as=stranger")),
    },
    Claim {
        name: "requests are counted by workload pair",
        check: |s| {
            let pair = "envoy_workload_pair_requests{destination_workload=\"app\",source_principal=\"spiffe://cluster.local/ns/demo/sa/stranger\"}";
            counted(s, pair, Some("as=stranger"))
        },
    },
    Claim { name: "every panel's query gives something", check: panels },
    Claim { name: "the console page shows every panel", check: console },
    Claim { name: "the alert rules pass their tests", check: alert_tests },
    Claim {
        name: "plaintext raises its alert in the running Prometheus",
        check: |s| {
            counted(s, "sallyport_connection_plaintext{workload=\"app\"}", None)?;
            wait::until("the alert", LIMIT, || {
                Ok((s.sum("ALERTS{alertname=\"PlaintextSeen\",workload=\"app\",alertstate=\"firing\"}")? > 0.0)
                    .then_some(()))
            })?;
            Ok("PlaintextSeen fires".to_owned())
        },
    },
];

/// Asks the application's Envoy, and sees the metric grow.
fn counted(s: &Stack, metric: &str, identity: Option<&str>) -> Result<String> {
    let before = s.sum(metric)?;
    let question: Vec<_> = ["http", "app-envoy:8000", "path=/orders"].into_iter().chain(identity).collect();
    let answer = s.ask(&question)?;
    ensure!(answer.get("status").and_then(Value::as_u64) != Some(200), "let through: {answer}");
    let after = wait::until(metric, LIMIT, || Ok(Some(s.sum(metric)?).filter(|after| *after > before)))?;
    Ok(format!("{before} before, {after} after"))
}

/// The dashboard's panels: titles and queries.
fn dashboard() -> Result<Vec<(String, String)>> {
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(folder().join("grafana/dashboard.json"))?)?;
    let panel = |panel: &Value| {
        let text = |pointer| Some(panel.pointer(pointer)?.as_str()?.to_owned());
        Some((text("/title")?, text("/targets/0/expr")?))
    };
    let panels = dashboard.get("panels").and_then(Value::as_array).context("no panels")?;
    panels.iter().map(|entry| panel(entry).with_context(|| format!("no panel: {entry}"))).collect()
}

fn panels(s: &Stack) -> Result<String> {
    let panels = dashboard()?;
    for (title, query) in &panels {
        let series = s.query(query)?;
        ensure!(series.iter().any(|(_, value)| value.is_finite()), "{title} is empty: {query}");
    }
    Ok(format!("{} panels", panels.len()))
}

fn console(s: &Stack) -> Result<String> {
    let source = fs::read_to_string(folder().join("prometheus/consoles/sallyport.html"))?;
    let page = s.prometheus("/consoles/sallyport.html")?;
    let panels = dashboard()?;
    for (title, query) in &panels {
        ensure!(source.contains(&format!("query `{query}`")), "the page has another query for {title}");
        ensure!(page.contains(&format!("<h2>{title}</h2>")), "the page does not show {title}");
    }
    Ok(format!("{} panels", panels.len()))
}

fn alert_tests(s: &Stack) -> Result<String> {
    let rules = format!("{}:/rules:ro", folder().join("prometheus").display());
    let image = s.image("SALLYPORT_PROMETHEUS_IMAGE")?;
    let arguments = [
        "run",
        "--rm",
        "--network",
        "none",
        "--entrypoint",
        "promtool",
        "--volume",
        &rules,
        image,
        "test",
        "rules",
        "/rules/alerts-test.yaml",
    ];
    s.docker(&arguments)?;
    Ok("promtool: SUCCESS".to_owned())
}
