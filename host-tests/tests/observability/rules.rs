//! The alert rules over the metrics of a running example, evaluated by promtool.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::samples::{Samples, Series};

/// The alert rules, from the root of the repository.
pub(crate) const RULES: &str = "envoy-config/stack/prometheus/alerts.yaml";

/// A change of what an example exports, and the alerts that it has to bring about.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) condition: &'static str,
    pub(crate) before: Samples,
    pub(crate) after: Samples,
    /// The alerts that fire, in the order of the alphabet.
    pub(crate) alerts: &'static [&'static str],
}

/// The scenes of an example whose metrics were scraped while all was well, after something that is no alarm, after many
/// denials, after a policy that was refused, and after another policy.
pub(crate) fn scenes(no_alarm: &'static str, samples: [Samples; 5]) -> Vec<Scene> {
    let [healthy, quiet, jump, refused, changed] = samples;
    vec![
        Scene { condition: no_alarm, before: healthy, after: quiet.clone(), alerts: &[] },
        Scene { condition: "many denials", before: quiet, after: jump.clone(), alerts: &["DenialsJumped"] },
        Scene { condition: "a refused policy", before: jump, after: refused.clone(), alerts: &["FilterFailedToLoad"] },
        Scene { condition: "another policy", before: refused, after: changed, alerts: &["PoliciesDiffer"] },
    ]
}

/// The samples of half an hour before the change, one each fifteen seconds, and of a quarter of an hour after it.
const BEFORE: usize = 120;
const AFTER: usize = 60;

/// Times at which alerts are looked at: before the change, and when it has lasted for longer than any alert waits.
const HEALTHY: &str = "29m";
const LATE: &str = "44m";

/// The time from the one to the other, in which an alert has to fire once.
const BETWEEN: &str = "15m";

/// Plays each scene with two proxies of one workload, of which one changes, and fails unless its alerts fire and no
/// others do.
pub(crate) fn check(example: &str, scenes: &[Scene]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let tests: Vec<_> = scenes.iter().map(|scene| test(example, scene)).collect();
    let file = folder.path().join("alerts-test.json");
    let rules = testbed::root().join(RULES);
    let text = json!({"rule_files": [rules], "evaluation_interval": "15s", "tests": tests});
    fs::write(&file, text.to_string())?;
    let promtool = testbed::promtool()?.display().to_string();
    let file = file.display().to_string();
    let printed = testbed::run_program(&promtool, &["test", "rules", &file], "", folder.path())?;
    ensure!(printed.succeeded, "{example}: {}", printed.all());
    Ok(())
}

fn test(example: &str, scene: &Scene) -> Value {
    let mut all = scene.before.clone();
    all.add(&scene.after);
    let ours = all.iter().filter(|(series, value)| is_ours(series) && value.parse::<f64>().is_ok());
    let series: Vec<_> = ours
        .flat_map(|(series, _)| {
            let before = values(scene.before.get(series), BEFORE);
            let after = values(scene.after.get(series), AFTER);
            let still = values(scene.before.get(series), AFTER);
            [("changes", after), ("stays", still)]
                .map(|(instance, after)| json!({"series": labelled(series, example, instance), "values": format!("{before} {after}")}))
        })
        .collect();
    let fired = |alert: &&str| json!({"labels": format!("{{alertname=\"{alert}\"}}"), "value": 1});
    let expected: Vec<_> = scene.alerts.iter().map(fired).collect();
    let firing = format!("ALERTS{{alertstate=\"firing\",workload=\"{example}\"}}");
    let fired = format!("group by (alertname) (last_over_time({firing}[{BETWEEN}]))");
    let tests = [
        json!({"expr": fired, "eval_time": HEALTHY, "exp_samples": []}),
        json!({"expr": fired, "eval_time": LATE, "exp_samples": expected}),
    ];
    json!({"name": format!("{example}: {}", scene.condition), "interval": "15s", "input_series": series, "promql_expr_test": tests})
}

/// Tells whether the rules can name a metric.
fn is_ours(series: &Series) -> bool {
    series.name.starts_with("sallyport_") || series.name.starts_with("envoy_")
}

/// A value that is scraped this number of times, in promtool's notation.
fn values(value: Option<&str>, times: usize) -> String {
    let repetitions = times - 1;
    value.map_or_else(|| format!("_x{times}"), |value| format!("{value}x{repetitions}"))
}

/// The series as Prometheus stores it for one proxy of a workload.
fn labelled(series: &Series, workload: &str, instance: &str) -> String {
    let mut text = format!("{}{{workload=\"{workload}\",instance=\"{instance}\"", series.name);
    for (label, value) in &series.labels {
        // Writing to a String cannot fail.
        let _infallible = write!(text, ",{label}=\"{value}\"");
    }
    text + "}"
}
