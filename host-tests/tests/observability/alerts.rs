//! Each alert with each example: it fires when its condition is true there, and at no other time.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::read_yaml;

use crate::{EXAMPLES, rules};

/// Alerts that an example cannot fire, with the reason.
const IMPOSSIBLE: [(&str, &str, &str); 4] = [
    ("WayOutIsFull", "ingress", "it has no cluster `outside`"),
    ("WayOutIsFull", "ingress-migration", "it has no cluster `outside`"),
    ("WayOutIsFull", "layer4", "it has no cluster `outside`"),
    (
        "PlaintextSeen",
        "egress",
        "egress-allowlist does not count connections, and clients without certificates are served",
    ),
];

/// Examples whose filters are those of another, or that have none.
const UNALERTED: [&str; 5] = ["custom", "edge", "egress-by-sni", "egress-client", "layer4-client"];

/// Alerts about `sallyport render --watch`, whose metrics no Envoy exports; the tests of that hold their names.
const OF_RENDER: [&str; 2] = ["PoliciesRefused", "RenderStopped"];

#[test]
fn every_alert_fires_with_every_example_and_at_no_other_time() -> Result<()> {
    let text = fs::read_to_string(testbed::root().join(rules::RULES))?;
    let file = read_yaml(&text)?;
    let groups = file.pointer("/groups/0/rules").and_then(Value::as_array).context("no rules")?;
    let names = groups.iter().filter_map(|rule| rule.get("alert").and_then(Value::as_str));
    let defined: BTreeSet<_> = names.filter(|name| !OF_RENDER.contains(name)).collect();
    for example in EXAMPLES.iter().filter(|example| !UNALERTED.contains(&example.name)) {
        let scenes = &example.observed()?.scenes;
        rules::check(example.name, scenes)?;
        let fired: BTreeSet<_> = scenes.iter().flat_map(|scene| scene.alerts.iter().copied()).collect();
        let impossible = IMPOSSIBLE.iter().filter(|(_, name, _)| *name == example.name).map(|(alert, ..)| *alert);
        let all: BTreeSet<_> = fired.iter().copied().chain(impossible).collect();
        ensure!(all == defined, "{}: {all:?} are fired or impossible, {defined:?} are defined", example.name);
    }
    Ok(())
}
