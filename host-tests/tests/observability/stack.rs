//! The files of `envoy-config/`: each is an example that runs here, or is of the stack, which `make stack` runs. What a file
//! of the stack logs is held to what the examples log, what it counts to the metric that the dashboard asks for.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::Configuration;

use crate::EXAMPLES;
use crate::log_fields::{formats, leaves};
use crate::names::{NOT_OF_ENVOY, OF_THE_STACK};

/// The folder of the files of the stack, from the root of the repository.
const STACK: &str = "envoy-config/stack/envoy";

/// The bootstrap files of a folder, each with its name.
fn bootstraps(folder: &str) -> Result<Vec<(String, Configuration)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(testbed::root().join(folder))? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "yaml") {
            let name = path.file_stem().context("no name")?.to_string_lossy().into_owned();
            let configuration = Configuration::read(&path)?;
            if configuration.value().get("static_resources").is_some() {
                found.push((name, configuration));
            }
        }
    }
    Ok(found)
}

#[test]
fn every_example_is_played() -> Result<()> {
    let files: BTreeSet<_> = bootstraps("envoy-config")?.into_iter().map(|(name, _)| name).collect();
    let played: BTreeSet<_> = EXAMPLES.iter().map(|example| example.name.to_owned()).collect();
    ensure!(files == played, "played are {played:?}");
    Ok(())
}

/// The texts of the formats of a bootstrap, each with its path.
fn texts(configuration: &Configuration) -> Vec<(String, String)> {
    let (mut found, mut texts) = (Vec::new(), Vec::new());
    formats(configuration.value(), &mut found);
    found.iter().for_each(|format| leaves(format, "", &mut texts));
    texts.into_iter().map(|(path, text)| (path, text.as_str().unwrap_or_default().to_owned())).collect()
}

#[test]
fn the_stack_logs_what_requests_to_an_example_set() -> Result<()> {
    let mut set = BTreeSet::new();
    for example in EXAMPLES {
        let file = Configuration::read(&testbed::root().join(format!("envoy-config/{}.yaml", example.name)))?;
        let mut entries = Vec::new();
        example.observed()?.log.iter().for_each(|entry| leaves(entry, "", &mut entries));
        let paths: BTreeSet<_> = entries.into_iter().map(|(path, _)| path).collect();
        set.extend(texts(&file).into_iter().filter(|(path, _)| paths.contains(path)).map(|(_, text)| text));
    }
    let files = bootstraps(STACK)?;
    for (name, configuration) in &files {
        let texts = texts(configuration);
        ensure!(!texts.is_empty(), "{name} of the stack has no access log");
        let never: Vec<_> = texts.iter().filter(|(_, text)| text.contains('%') && !set.contains(text)).collect();
        ensure!(never.is_empty(), "{name} of the stack: no request to an example sets {never:?}");
    }
    ensure!(files.len() >= 5, "{} files", files.len());
    Ok(())
}

/// The settings of Envoy's stats access logger in a bootstrap.
fn stats_loggers<'v>(value: &'v Value, found: &mut Vec<&'v Value>) {
    match value {
        Value::Object(entries) if entries.contains_key("stats_scope") => found.push(value),
        Value::Object(entries) => entries.values().for_each(|value| stats_loggers(value, found)),
        Value::Array(values) => values.iter().for_each(|value| stats_loggers(value, found)),
        _ => {}
    }
}

/// The check of `make stack` that asks the running stack for the data of every panel.
const CHECK: &str = "every panel's query returns data";

#[test]
fn the_metric_of_the_stack_is_that_of_its_access_loggers() -> Result<()> {
    let (mut names, mut labels) = (BTreeSet::new(), BTreeSet::new());
    for (_, configuration) in bootstraps(STACK)? {
        let mut loggers = Vec::new();
        stats_loggers(configuration.value(), &mut loggers);
        for logger in loggers {
            let text = |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
            let prefix = text(logger, "/stats_scope/prefix").context("no prefix")?;
            for counter in logger.get("counters").and_then(Value::as_array).context("no counters")? {
                let name = text(counter, "/stat/name").context("no name")?;
                names.insert(format!("envoy_{prefix}_{name}"));
                let tags = counter.pointer("/stat/tags").and_then(Value::as_array).context("no tags")?;
                labels.extend(tags.iter().filter_map(|tag| text(tag, "/name")));
            }
        }
    }
    ensure!(names.iter().eq(OF_THE_STACK), "the stack counts {names:?}");
    let unknown: Vec<_> = labels.iter().filter(|label| !NOT_OF_ENVOY.contains(&label.as_str())).collect();
    ensure!(labels.len() >= 3 && unknown.is_empty(), "labels of {names:?}: {unknown:?}");
    let acceptance = fs::read_to_string(testbed::root().join("stack/src/acceptance/observability.rs"))?;
    ensure!(acceptance.contains(CHECK), "`make stack` has no check that {CHECK}");
    Ok(())
}
