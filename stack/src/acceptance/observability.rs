//! Observability: Prometheus, the dashboard's panels, the console page, the alerts.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::wait;

use super::stack::{Stack, TIMEOUT, folder};
use super::{Check, policies};

/// Probes per check of a panel. A panel shows an estimated increase, so half of it is enough.
const REPETITIONS: u8 = 10;

pub(super) const CHECKS: [Check; 14] = [
    Check {
        claim: "a certificate of another authority is on the dashboard",
        run: |s| app_row_grows(s, "Certificates refused: another authority, or expired", Some("as=forged")),
    },
    Check {
        claim: "an expired certificate is on the dashboard",
        run: |s| app_row_grows(s, "Certificates refused: another authority, or expired", Some("as=expired")),
    },
    Check {
        claim: "a certificate of another trust domain is on the dashboard",
        run: |s| app_row_grows(s, "Certificates refused: another trust domain", Some("as=other-domain")),
    },
    Check {
        claim: "TLS without a certificate is on the dashboard",
        run: |s| {
            app_row_grows(
                s,
                "Handshakes without a certificate, or plaintext where TLS alone is spoken",
                Some("as=none"),
            )
        },
    },
    Check {
        claim: "plaintext is on the dashboard",
        run: |s| {
            app_row_grows(s, "Connections in plaintext", None)?;
            let title = "Handshakes without a certificate, or plaintext where TLS alone is spoken";
            grows(s, title, &[("workload", "egress")], &["http", "egress:15008"])
        },
    },
    Check {
        claim: "plaintext is on the dashboard as a denial of PeerAuthentication",
        run: |s| {
            let of = [("workload", "app"), ("policy", "demo.default")];
            grows(s, "Denials by policy", &of, &["http", "app-envoy:8000", "path=/orders"])
        },
    },
    Check {
        claim: "an attack tool is on the dashboard, by the preset that lists it",
        run: |s| {
            let of = [("workload", "gateway"), ("preset", "scanners.v2")];
            grows(s, "Denials by policy", &of, &["http", "gateway:8080", "user-agent: sqlmap/1.8"])
        },
    },
    Check {
        claim: "a denied workload and its workload pair are on the dashboard",
        run: |s| {
            app_row_grows(s, "Denials in all, those that no ALLOW matched among them", Some("as=stranger"))?;
            let pair = [
                ("source_principal", "spiffe://cluster.local/ns/demo/sa/stranger"),
                ("destination_workload", "app"),
                ("response_code", "403"),
            ];
            let title = "Requests by workload pair, since each Envoy started";
            grows(s, title, &pair, &["http", "app-envoy:8000", "path=/orders", "as=stranger"])
        },
    },
    Check { claim: "every panel's query returns data", run: panels_have_data },
    Check { claim: "the console page shows every panel", run: console },
    Check {
        claim: "the alert rules pass their tests",
        run: |s| {
            let promtool = ["exec", s.container("prometheus")?, "promtool", "test", "rules"];
            s.docker(&[&promtool[..], &["/etc/sallyport/alerts-test.yaml"]].concat())?;
            Ok("promtool: SUCCESS".to_owned())
        },
    },
    Check {
        claim: "DenialsJumped fires when denials jump",
        run: |s| {
            s.probe(&["load", "app-envoy:8000", "path=/orders", "as=stranger", "count=300", "seconds=60"])?;
            fires(s, "DenialsJumped")
        },
    },
    Check { claim: "PlaintextSeen fires after plaintext connections", run: |s| fires(s, "PlaintextSeen") },
    Check {
        claim: "FilterFailedToLoad fires when a policy is invalid",
        run: |s| policies::with_edit("app.yaml", &[("principals:", "principal:")], || fires(s, "FilterFailedToLoad")),
    },
];

/// Sends denied requests to the application's Envoy, and waits for its row of a panel to grow.
fn app_row_grows(s: &Stack, title: &str, identity: Option<&str>) -> Result<String> {
    let arguments: Vec<_> = ["http", "app-envoy:8000", "path=/orders"].into_iter().chain(identity).collect();
    grows(s, title, &[("workload", "app")], &arguments)
}

/// Repeats a probe, and waits for the rows with these labels to grow in a panel of the dashboard.
pub(super) fn grows(s: &Stack, title: &str, labels: &[(&str, &str)], arguments: &[&str]) -> Result<String> {
    let panel = dashboard()?.into_iter().find(|panel| panel.title == title);
    let query = panel.with_context(|| format!("no panel {title:?}"))?.query;
    let value = || -> Result<f64> {
        let has = |series: &Value, (name, value): &(&str, &str)| {
            series.get(name).and_then(Value::as_str).is_some_and(|found| found == *value)
        };
        let rows = s.query(&query)?;
        Ok(rows
            .iter()
            .filter(|(series, _)| labels.iter().all(|label| has(series, label)))
            .map(|(_, value)| value)
            .sum())
    };
    let before = value()?;
    for _ in 0..REPETITIONS {
        s.probe(arguments)?;
    }
    let enough = before + f64::from(REPETITIONS) / 2.0;
    let after =
        wait::until(&format!("{title} to grow"), TIMEOUT, || Ok(Some(value()?).filter(|after| *after > enough)))?;
    Ok(format!("{before:.0} before, {after:.0} after"))
}

fn fires(s: &Stack, alert: &str) -> Result<String> {
    let query = format!("ALERTS{{alertname=\"{alert}\",workload=\"app\",alertstate=\"firing\"}}");
    wait::until(alert, TIMEOUT, || Ok((s.sum(&query)? > 0.0).then_some(())))?;
    let broken = s.broken_rules()?;
    ensure!(broken.is_empty(), "rules that fail to evaluate: {broken:?}");
    Ok("fires in the running Prometheus".to_owned())
}

/// A panel of the dashboard.
struct Panel {
    title: String,
    query: String,
}

fn dashboard() -> Result<Vec<Panel>> {
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(folder().join("grafana/dashboard.json"))?)?;
    let panel = |panel: &Value| {
        let text = |pointer| Some(panel.pointer(pointer)?.as_str()?.to_owned());
        // Both variables at their default.
        let query = text("/targets/0/expr")?.replace("$workload", ".*").replace("$filter", ".*");
        Some(Panel { title: text("/title")?, query })
    };
    let panels = dashboard.get("panels").and_then(Value::as_array).context("no panels")?;
    let with_data = panels.iter().filter(|panel| panel.get("type").and_then(Value::as_str) != Some("row"));
    with_data.map(|entry| panel(entry).with_context(|| format!("not a panel: {entry}"))).collect()
}

fn panels_have_data(s: &Stack) -> Result<String> {
    let panels = dashboard()?;
    for Panel { title, query } in &panels {
        let series = s.query(query)?;
        ensure!(series.iter().any(|(_, value)| value.is_finite()), "{title} is empty: {query}");
    }
    Ok(format!("{} panels", panels.len()))
}

fn console(s: &Stack) -> Result<String> {
    let page = s.prometheus("/consoles/sallyport.html")?;
    let panels = dashboard()?;
    for Panel { title, .. } in &panels {
        ensure!(page.contains(&format!(">{title}</h2>")), "the page does not show {title}");
    }
    Ok(format!("{} panels", panels.len()))
}
