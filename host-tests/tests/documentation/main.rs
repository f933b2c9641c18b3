//! The pages of the repository are true: links lead somewhere, cases and tests that they name exist, commands are run, snippets load, keys
//! and counters are those of the filters, and quoted messages are those that the suites expect. The examples in
//! `envoy-config/` agree in what dashboards and operators rely on.

mod commands;
mod comparison;
mod demo_table;
mod differences;
mod envoy;
mod examples;
mod getting_started;
mod messages;
mod page;
mod reference;
mod references;
mod snippets;

use std::sync::LazyLock;

use anyhow::{Context, Result, anyhow};
use host_tests::filter;
use host_tests::wasm_host::{Module, Vm};
use serde_json::Value;

const FILTERS: [&str; 3] = ["identity-authz", "baseline-deny", "egress-allowlist"];

/// The built module of a filter, compiled once.
fn module(filter: &str) -> Result<&'static Module> {
    static MODULES: LazyLock<[Result<Module, String>; 3]> =
        LazyLock::new(|| FILTERS.map(|filter| filter::load(filter).map_err(|error| format!("{error:#}"))));
    let position = FILTERS.iter().position(|known| *known == filter).with_context(|| format!("no filter {filter}"))?;
    let module = MODULES.get(position).context("a module")?;
    module.as_ref().map_err(|error| anyhow!("{error}"))
}

/// The lines with which a filter refuses a configuration; none where it loads.
fn refusal(filter: &str, configuration: &Value) -> Result<Vec<String>> {
    let mut vm = Vm::start(module(filter)?)?;
    let configured = vm.configure(&serde_json::to_vec(configuration)?)?;
    Ok(configured.err().map_or_else(Vec::new, |refused| refused.log.into_iter().map(|line| line.message).collect()))
}
