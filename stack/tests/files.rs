//! Checks of the stack's files without a running stack: every policy file is valid, and the alert rules pass their tests.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use sallyport_policy::{BaselineDeny, EgressAllowlist, IdentityAuthz};
use serde_json::Value;
use testbed::read_yaml;

fn folder() -> PathBuf {
    testbed::root().join("envoy-config/stack")
}

#[test]
fn every_policy_file_is_valid_in_both_modes() -> Result<()> {
    let mut filters = 0;
    for file in fs::read_dir(folder().join("policies"))? {
        let path = file?.path();
        let text = fs::read_to_string(&path)?;
        let reported = text.replace("mode: enforce", "mode: report").replace("mode: STRICT", "mode: PERMISSIVE");
        for text in [&text, &reported] {
            let resource = read_yaml(text)?.pointer("/resources/0").cloned().context("no resource")?;
            if let Some(configuration) = resource.pointer("/typed_config/config/configuration/value") {
                let filter = resource.get("name").and_then(Value::as_str).context("no name")?;
                parse(filter, configuration).with_context(|| path.display().to_string())?;
                filters += 1;
            }
        }
    }
    ensure!(filters == 2 * 6, "{filters} configurations");
    Ok(())
}

fn parse(filter: &str, configuration: &Value) -> Result<()> {
    let json = configuration.to_string();
    let error = match filter {
        "sallyport.identity_authz" => IdentityAuthz::parse(json.as_bytes()).err(),
        "sallyport.baseline_deny" => BaselineDeny::parse(json.as_bytes()).err(),
        "sallyport.egress_allowlist" => EgressAllowlist::parse(json.as_bytes()).err(),
        other => bail!("no filter has the name {other}"),
    };
    error.map_or(Ok(()), |error| bail!("{error}"))
}

#[test]
fn the_alert_rules_pass_their_tests() -> Result<()> {
    let output = Command::new(testbed::promtool()?)
        .args(["test", "rules"])
        .arg(folder().join("prometheus/alerts-test.yaml"))
        .output()?;
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{printed}");
    Ok(())
}

#[test]
fn each_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() -> Result<()> {
    let read = |file: &str| read_yaml(&fs::read_to_string(folder().join("prometheus").join(file))?);
    let (rules, tests) = (read("alerts.yaml")?, read("alerts-test.yaml")?);
    let list =
        |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    let tests: Vec<_> = list(&tests, "/tests").iter().flat_map(|test| list(test, "/alert_rule_test")).collect();
    for rule in list(&rules, "/groups/0/rules") {
        let name = rule.get("alert").context("no name")?;
        let mut fires: Vec<_> = tests
            .iter()
            .filter(|test| test.get("alertname") == Some(name))
            .map(|test| !list(test, "/exp_alerts").is_empty())
            .collect();
        fires.sort_unstable();
        fires.dedup();
        ensure!(fires == [false, true], "{name}: {fires:?}");
    }
    Ok(())
}
