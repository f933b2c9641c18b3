//! Queries to the stack's Prometheus.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::Client;

use super::stack::Stack;

impl Stack {
    /// Fetches a path from Prometheus.
    pub(super) fn prometheus(&self, path: &str) -> Result<String> {
        let address = self.published("prometheus", 9090)?.parse()?;
        let response = Client::plaintext(address).get(path)?;
        let body = String::from_utf8_lossy(&response.body).into_owned();
        ensure!(response.status == 200, "{path}: {} {body}", response.status);
        Ok(body)
    }

    /// Runs an instant query; returns the labels and value of each series.
    pub(super) fn query(&self, query: &str) -> Result<Vec<(Value, f64)>> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer: Value = serde_json::from_str(&self.prometheus(&format!("/api/v1/query?query={encoded}"))?)?;
        let result = answer.pointer("/data/result").and_then(Value::as_array).context("no result")?;
        let series = |entry: &Value| {
            let value = entry.pointer("/value/1")?.as_str()?.parse().ok()?;
            Some((entry.get("metric")?.clone(), value))
        };
        result.iter().map(|entry| series(entry).with_context(|| format!("not a series: {entry}"))).collect()
    }

    /// The sum of a metric over all series; 0 if there are none.
    pub(super) fn sum(&self, metric: &str) -> Result<f64> {
        Ok(self.query(&format!("sum({metric})"))?.first().map_or(0.0, |(_, value)| *value))
    }

    /// The rules that Prometheus fails to evaluate, with their errors.
    pub(super) fn broken_rules(&self) -> Result<Vec<String>> {
        let answer: Value = serde_json::from_str(&self.prometheus("/api/v1/rules")?)?;
        let groups = answer.pointer("/data/groups").and_then(Value::as_array).context("no groups")?;
        let rules = groups.iter().filter_map(|group| group.get("rules")?.as_array()).flatten();
        let broken = rules.filter(|rule| rule.get("health").and_then(Value::as_str) != Some("ok"));
        Ok(broken.map(|rule| format!("{:?}: {:?}", rule.get("name"), rule.get("lastError"))).collect())
    }
}
