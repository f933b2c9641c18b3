//! What is seen: Prometheus, the dashboard's panels, the console page, the alerts.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::wait;

use super::running::{LIMIT, Stack, folder};
use super::{Claim, policies};

/// How often something is asked to be seen. A panel shows an increase, which is an estimate: half of it has to come.
const TIMES: u8 = 10;

pub(super) const CLAIMS: [Claim; 14] = [
    Claim {
        name: "a certificate of another authority is on the dashboard",
        check: |s| app_sees(s, "Certificates refused: another authority, or expired", Some("as=forged")),
    },
    Claim {
        name: "an expired certificate is on the dashboard",
        check: |s| app_sees(s, "Certificates refused: another authority, or expired", Some("as=expired")),
    },
    Claim {
        name: "a certificate of another trust domain is on the dashboard",
        check: |s| app_sees(s, "Certificates refused: another trust domain", Some("as=other-domain")),
    },
    Claim {
        name: "TLS without a certificate is on the dashboard",
        check: |s| {
            app_sees(s, "Handshakes without a certificate, or plaintext where TLS alone is spoken", Some("as=nobody"))
        },
    },
    Claim {
        name: "plaintext is on the dashboard",
        check: |s| {
            app_sees(s, "Connections in plaintext", None)?;
            let title = "Handshakes without a certificate, or plaintext where TLS alone is spoken";
            grows(s, title, &[("workload", "egress")], &["http", "egress:15008"])
        },
    },
    Claim {
        name: "plaintext is on the dashboard as a denial of PeerAuthentication",
        check: |s| {
            let of = [("workload", "app"), ("policy", "demo.default")];
            grows(s, "Denials by policy", &of, &["http", "app-envoy:8000", "path=/orders"])
        },
    },
    Claim {
        name: "an attack tool is on the dashboard, by the list that names it",
        check: |s| {
            let of = [("workload", "gateway"), ("preset", "scanners.v1")];
            grows(s, "Denials by policy", &of, &["http", "gateway:8080", "user-agent: sqlmap/1.8"])
        },
    },
    Claim {
        name: "a denied workload is on the dashboard, and the pair that asked",
        check: |s| {
            app_sees(s, "Denials in all, those that no ALLOW matched among them", Some("as=stranger"))?;
            let pair = [
                ("source_principal", "spiffe://cluster.local/ns/demo/sa/stranger"),
                ("destination_workload", "app"),
                ("response_code", "403"),
            ];
            let title = "Requests by workload pair, since each Envoy started";
            grows(s, title, &pair, &["http", "app-envoy:8000", "path=/orders", "as=stranger"])
        },
    },
    Claim { name: "every panel's query gives something", check: panels_give_something },
    Claim { name: "the console page shows every panel", check: console },
    Claim {
        name: "the alert rules pass their tests",
        check: |s| {
            let promtool = ["exec", s.container("prometheus")?, "promtool", "test", "rules"];
            s.docker(&[&promtool[..], &["/etc/sallyport/alerts-test.yaml"]].concat())?;
            Ok("promtool: SUCCESS".to_owned())
        },
    },
    Claim {
        name: "DenialsJumped fires when they do",
        check: |s| {
            s.ask(&["flood", "app-envoy:8000", "path=/orders", "as=stranger", "count=300", "seconds=60"])?;
            fires(s, "DenialsJumped")
        },
    },
    Claim { name: "PlaintextSeen fires after the above", check: |s| fires(s, "PlaintextSeen") },
    Claim {
        name: "FilterFailedToLoad fires when a policy is faulty",
        check: |s| policies::edited("app.yaml", &[("principals:", "principal:")], || fires(s, "FilterFailedToLoad")),
    },
];

/// Asks the application's Envoy for what it denies, and sees its row of a panel grow.
fn app_sees(s: &Stack, title: &str, identity: Option<&str>) -> Result<String> {
    let question: Vec<_> = ["http", "app-envoy:8000", "path=/orders"].into_iter().chain(identity).collect();
    grows(s, title, &[("workload", "app")], &question)
}

/// Asks again and again, and sees the rows with these labels grow in a panel of the dashboard.
pub(super) fn grows(s: &Stack, title: &str, labels: &[(&str, &str)], question: &[&str]) -> Result<String> {
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
    for _ in 0..TIMES {
        s.ask(question)?;
    }
    let enough = before + f64::from(TIMES) / 2.0;
    let after = wait::until(&format!("{title} to grow"), LIMIT, || Ok(Some(value()?).filter(|after| *after > enough)))?;
    Ok(format!("{before:.0} before, {after:.0} after"))
}

fn fires(s: &Stack, alert: &str) -> Result<String> {
    let query = format!("ALERTS{{alertname=\"{alert}\",workload=\"app\",alertstate=\"firing\"}}");
    wait::until(alert, LIMIT, || Ok((s.sum(&query)? > 0.0).then_some(())))?;
    let broken = s.broken_rules()?;
    ensure!(broken.is_empty(), "rules that cannot be evaluated: {broken:?}");
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
        Some(Panel { title: text("/title")?, query: text("/targets/0/expr")? })
    };
    let panels = dashboard.get("panels").and_then(Value::as_array).context("no panels")?;
    panels.iter().map(|entry| panel(entry).with_context(|| format!("no panel: {entry}"))).collect()
}

fn panels_give_something(s: &Stack) -> Result<String> {
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
        ensure!(page.contains(&format!("<h2>{title}</h2>")), "the page does not show {title}");
    }
    Ok(format!("{} panels", panels.len()))
}
