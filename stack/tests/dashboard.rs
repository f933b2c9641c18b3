//! The dashboard: what Grafana does with each field of the file, the queries, and the console page with the same panels.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

fn folder() -> PathBuf {
    testbed::root().join("envoy-config/stack")
}

fn dashboard() -> Result<Value> {
    Ok(serde_json::from_str(&fs::read_to_string(folder().join("grafana/dashboard.json"))?)?)
}

fn list<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'v>(value: &'v Value, pointer: &str) -> Result<&'v str> {
    value.pointer(pointer).and_then(Value::as_str).with_context(|| format!("no {pointer} in {value}"))
}

fn number(value: &Value, pointer: &str) -> Result<u64> {
    value.pointer(pointer).and_then(Value::as_u64).with_context(|| format!("no {pointer} in {value}"))
}

/// The panels that show data; others are headings.
fn panels(dashboard: &Value) -> Vec<&Value> {
    list(dashboard, "/panels").iter().filter(|panel| panel.get("type") != Some(&json!("row"))).collect()
}

/// The query of a panel, with both variables at their default.
fn query(panel: &Value) -> Result<String> {
    Ok(text(panel, "/targets/0/expr")?.replace("$workload", ".*").replace("$filter", ".*"))
}

#[test]
fn every_panel_says_what_it_shows_in_which_unit_and_from_where() -> Result<()> {
    let dashboard = dashboard()?;
    let (mut ids, mut titles) = (BTreeSet::new(), BTreeSet::new());
    for panel in list(&dashboard, "/panels") {
        ensure!(ids.insert(number(panel, "/id")?), "an id that another panel has: {panel}");
        ensure!(titles.insert(text(panel, "/title")?), "a title that another panel has: {panel}");
    }
    for panel in panels(&dashboard) {
        let (title, kind) = (text(panel, "/title")?, text(panel, "/type")?);
        ensure!(["stat", "table", "timeseries"].contains(&kind), "{title} is a {kind}");
        ensure!(text(panel, "/description")?.ends_with('.'), "{title} has no sentence that describes it");
        ensure!(panel.pointer("/datasource/uid") == Some(&json!("prometheus")), "{title} has another source");
        let unit = text(panel, "/fieldConfig/defaults/unit")?;
        ensure!(["short", "none", "percent", "s", "reqps"].contains(&unit), "{title} has the unit {unit}");
        let rate = text(panel, "/targets/0/expr")?.contains("rate(");
        ensure!((unit == "reqps") == rate, "{title} is in {unit}");
        ensure!(list(panel, "/targets").len() == 1, "{title}: the console page shows one query a panel");
        let target = |key: &str| panel.pointer(&format!("/targets/0/{key}")).cloned().unwrap_or_default();
        match kind {
            // A figure has a colour by what is good and bad, from the lowest value on.
            "stat" => {
                let steps = list(panel, "/fieldConfig/defaults/thresholds/steps");
                ensure!(steps.len() > 1 && steps.first().and_then(|step| step.get("value")) == Some(&Value::Null));
                let values: Vec<_> = steps.iter().filter_map(|step| step.get("value")?.as_f64()).collect();
                ensure!(values.is_sorted() && target("instant") == json!(true), "{title}: {values:?}");
            }
            "table" => ensure!(target("instant") == json!(true) && target("format") == json!("table"), "{title}"),
            _ => ensure!(text(panel, "/targets/0/legendFormat")?.contains("{{workload}}"), "{title}"),
        }
    }
    ensure!(titles.len() > 20, "{} panels", titles.len());
    Ok(())
}

#[test]
fn panels_fill_the_width_and_do_not_overlap() -> Result<()> {
    let dashboard = dashboard()?;
    let mut taken = BTreeSet::new();
    for panel in list(&dashboard, "/panels") {
        let at = |key: &str| number(panel, &format!("/gridPos/{key}"));
        let (x, y, width, height) = (at("x")?, at("y")?, at("w")?, at("h")?);
        ensure!(x + width <= 24, "{panel} is wider than the page");
        for cell in (x..x + width).flat_map(|column| (y..y + height).map(move |line| (column, line))) {
            ensure!(taken.insert(cell), "{} covers another panel", text(panel, "/title")?);
        }
    }
    Ok(())
}

#[test]
fn every_query_follows_the_variables_that_its_metrics_have() -> Result<()> {
    let dashboard = dashboard()?;
    let variables: Vec<_> =
        list(&dashboard, "/templating/list").iter().map(|variable| text(variable, "/name")).collect();
    ensure!(variables.into_iter().collect::<Result<Vec<_>>>()? == ["workload", "filter"]);
    for panel in panels(&dashboard) {
        let (title, expression) = (text(panel, "/title")?, text(panel, "/targets/0/expr")?);
        // Each metric has a selector, and each selector the workload.
        let selectors = expression.matches("workload=~\"$workload\"").count();
        ensure!(selectors > 0 && selectors == expression.matches('{').count(), "{title}: {expression}");
        let of_filters = expression.contains("sallyport_") && !expression.contains("sallyport_connection");
        ensure!(of_filters == expression.contains("sallyport_filter=~\"$filter\""), "{title}: {expression}");
        // The labels of a row or a line are those that the query leaves.
        let legend = panel.pointer("/targets/0/legendFormat").and_then(Value::as_str).unwrap_or_default();
        for label in legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
            let grouped = expression.split(" by (").skip(1).filter_map(|rest| rest.split(')').next());
            ensure!(
                grouped.clone().count() > 0
                    && grouped.into_iter().all(|labels| labels.split(", ").any(|one| one == label)),
                "{title}: the legend names {label}: {expression}"
            );
        }
    }
    Ok(())
}

#[test]
fn prometheus_reads_every_query() -> Result<()> {
    let dashboard = dashboard()?;
    let rule =
        |(number, panel): (usize, &&Value)| Ok(json!({"record": format!("panel:{number}"), "expr": query(panel)?}));
    let rules: Vec<_> = panels(&dashboard).iter().enumerate().map(rule).collect::<Result<_>>()?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("rules.yaml");
    // JSON is YAML.
    fs::write(&file, json!({"groups": [{"name": "panels", "rules": rules}]}).to_string())?;
    let output = Command::new(testbed::promtool()?).args(["check", "rules"]).arg(&file).output()?;
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{printed}");
    Ok(())
}

#[test]
fn the_console_page_has_the_panels_of_the_dashboard_and_no_others() -> Result<()> {
    let dashboard = dashboard()?;
    let page = fs::read_to_string(folder().join("prometheus/consoles/sallyport.html"))?;
    let panels = panels(&dashboard);
    for panel in &panels {
        let (title, description) = (text(panel, "/title")?, text(panel, "/description")?);
        let section = format!(
            "(reReplaceAll \"[$]workload\" $workload `{}`) }}}}<section><h2 title=\"{description}\">{title}</h2>\n",
            text(panel, "/targets/0/expr")?
        );
        let rest = page.split_once(&section).with_context(|| format!("the page lacks {section}"))?.1;
        let body = rest.split("</section>").next().unwrap_or_default();
        ensure!(body.contains("{{ range query $query"), "{title} shows no result");
        let is_chart = panel.get("type") == Some(&json!("timeseries"));
        ensure!(is_chart == body.contains("<figure data-query=\"{{ $query }}\""), "{title}: {body}");
        if panel.get("type") == Some(&json!("stat")) {
            let steps = list(panel, "/fieldConfig/defaults/thresholds/steps");
            let limits = steps.iter().filter_map(|step| step.get("value")?.as_f64());
            for limit in limits {
                ensure!(
                    body.contains(&format!("lt .Value {limit:?} }}}}")),
                    "{title} changes colour elsewhere: {body}"
                );
            }
        }
    }
    // One more section lists firing alerts, for which Grafana has a page of its own.
    ensure!(page.matches("<section").count() == panels.len() + 1, "the page has a different number of panels");
    Ok(())
}

#[test]
fn the_console_page_asks_the_prometheus_that_serves_it_and_nobody_else() -> Result<()> {
    let page = fs::read_to_string(folder().join("prometheus/consoles/sallyport.html"))?;
    ensure!(page.matches("fetch(").count() == 1 && page.contains("fetch(`../api/v1/query_range?"), "other requests");
    for outside in ["src=", "href=", "@import", "url(", "https://", "import "] {
        ensure!(!page.contains(outside), "the page has {outside}");
    }
    let addresses = page.matches("http://").count();
    ensure!(addresses == page.matches("http://www.w3.org/2000/svg").count(), "{addresses} addresses");
    Ok(())
}
