//! Every snippet of YAML is loaded: the configuration of a filter by that filter, here, and any other by the test that is named.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use host_tests::suite::{Case, native};
use serde_json::Value;
use testbed::read_yaml;

use crate::page::{self, Page};
use crate::references::{is_test, test_sources};
use crate::{FILTERS, module, refusal};

/// Snippets that configure no filter, each by words of it, with the test that loads it.
const LOADED_ELSEWHERE: [(&str, &str, &str); 16] = [
    ("README.md", "config_discovery:", "the_snippets_of_the_readme_report_and_without_report_mode_deny"),
    ("CONTRIBUTING.md", "- name: a DENY by method", "the_case_of_contributing_passes"),
    (
        "docs/baseline-deny.md",
        "config_discovery:",
        "the_snippets_of_baseline_deny_deny_tools_but_where_they_are_exempt",
    ),
    ("docs/command.md", "about: who reaches orders", "the_commands_of_the_pages_do_what_the_pages_say"),
    ("docs/identity.md", "SANITIZE_SET", "the_documented_settings_stop_forged_identities"),
    ("docs/identity.md", "safe_regex:", "the_documented_settings_stop_forged_identities"),
    ("docs/identity.md", "ALWAYS_FORWARD_ONLY", "the_documented_settings_stop_forged_identities"),
    ("docs/identity.md", "agent.sock", "certificates_and_bundles_rotate_under_load_without_a_lost_request"),
    ("docs/identity.md", "name: ROOTCA", "certificates_and_bundles_rotate_under_load_without_a_lost_request"),
    ("docs/identity.md", "name: workload\n  tls_certificate", "certificates_in_files_rotate_under_load_too"),
    ("docs/identity.md", "name: trusted\n  validation_context", "certificates_in_files_rotate_under_load_too"),
    ("docs/identity.md", "sds-trusted.yaml", "certificates_in_files_rotate_under_load_too"),
    ("docs/operations.md", "config_discovery:", "the_snippets_of_operations_change_a_policy_without_a_restart"),
    ("docs/operations.md", "node:", "the_snippets_of_operations_change_a_policy_without_a_restart"),
    ("docs/operations.md", "scrape_configs:", "prometheus_takes_the_scrape_configuration"),
    ("docs/tcp.md", "config_discovery:", "the_snippet_of_tcp_reads_a_network_filter_from_a_file"),
];

#[test]
fn every_snippet_is_loaded() -> Result<()> {
    let tests = test_sources()?;
    let (mut loaded, mut elsewhere) = (0, 0);
    for page in page::all()? {
        for snippet in &page.snippets {
            let value = read_yaml(snippet).with_context(|| format!("{}:\n{snippet}", page.name))?;
            let configurations = configurations(&page, &value)?;
            if configurations.is_empty() {
                let is_this = |(name, words, _): &&(&str, &str, &str)| page.name == *name && snippet.contains(words);
                let claim = LOADED_ELSEWHERE.iter().find(is_this);
                let (.., test) = claim.with_context(|| format!("{}: no test loads\n{snippet}", page.name))?;
                ensure!(is_test(test, &tests), "{}: there is no test `{test}`", page.name);
                elsewhere += 1;
            }
            for (filter, configuration) in configurations {
                let lines = refusal(filter, &configuration)?;
                ensure!(lines.is_empty(), "{}: {filter} refuses {configuration}: {lines:#?}", page.name);
                let needs_workload = filter == "identity-authz" && configuration.get("resources").is_some();
                let has_workload = configuration.get("workload").is_some();
                ensure!(has_workload || !needs_workload, "{}: no workload in {configuration}", page.name);
                loaded += 1;
            }
        }
    }
    ensure!(loaded >= 7, "{loaded} snippets");
    ensure!(elsewhere == LOADED_ELSEWHERE.len(), "{elsewhere} snippets of {} are there", LOADED_ELSEWHERE.len());
    Ok(())
}

#[test]
fn prometheus_takes_the_scrape_configuration() -> Result<()> {
    let page = page::named("docs/operations.md")?;
    let snippet = page.snippets.iter().find(|snippet| snippet.contains("scrape_configs:")).context("no snippet")?;
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("prometheus.yaml"), snippet)?;
    let promtool = testbed::promtool()?.display().to_string();
    let printed =
        testbed::run_program(&promtool, &["check", "config", "--syntax-only", "prometheus.yaml"], "", folder.path())?;
    ensure!(printed.succeeded, "{}", printed.all());
    Ok(())
}

/// The configurations in a snippet, each with its filter: in a file that Envoy watches, or by itself on the page of a
/// filter. A filter of ours among those of Envoy's own file could not change without a restart, so no page shows one.
fn configurations(page: &Page, value: &Value) -> Result<Vec<(&'static str, Value)>> {
    let of_page = FILTERS.into_iter().find(|filter| page.name == format!("docs/{filter}.md"));
    let resources = value.get("resources").and_then(Value::as_array);
    let watched = resources.filter(|resources| resources.iter().any(|resource| resource.get("typed_config").is_some()));
    let is_secret = |resource: &Value| {
        resource.get("@type").and_then(Value::as_str).is_some_and(|name| name.ends_with(".tls.v3.Secret"))
    };
    if resources.is_some_and(|resources| resources.iter().all(is_secret)) {
        return Ok(Vec::new());
    }
    if let Some(filters) = value.as_array() {
        for filter in filters {
            ensure!(in_envoy(filter)?.is_none(), "{}: not by config_discovery: {filter}", page.name);
        }
        return Ok(Vec::new());
    }
    match (watched, of_page) {
        (Some(filters), _) => filters.iter().filter_map(|filter| in_envoy(filter).transpose()).collect(),
        (None, Some(filter)) => Ok(vec![(filter, value.clone())]),
        (None, None) if ["resources", "rules", "presets"].iter().any(|key| value.get(key).is_some()) => {
            bail!("{}: of which filter is this the configuration? {value}", page.name)
        }
        (None, None) => Ok(Vec::new()),
    }
}

/// The configuration of one of our filters as Envoy has it; none where it comes from a file.
fn in_envoy(filter: &Value) -> Result<Option<(&'static str, Value)>> {
    let Some(config) = filter.pointer("/typed_config/config") else { return Ok(None) };
    let name = filter.get("name").and_then(Value::as_str).context("a filter without a name")?;
    let name = name.strip_prefix("sallyport.").unwrap_or_default().replace('_', "-");
    let ours = FILTERS.into_iter().find(|filter| *filter == name).with_context(|| format!("no filter is {name}"))?;
    let file = config.pointer("/vm_config/code/local/filename").and_then(Value::as_str);
    ensure!(file == Some(&format!("/etc/sallyport/{ours}.wasm")), "{ours} loads {file:?}");
    let configuration = config.pointer("/configuration/value").context("no configuration")?;
    Ok(Some((ours, configuration.clone())))
}

#[test]
fn the_case_of_contributing_passes() -> Result<()> {
    let page = page::named("CONTRIBUTING.md")?;
    let [snippet] = page.snippets.as_slice() else { bail!("{} snippets", page.snippets.len()) };
    let cases: Vec<Case> = serde_json::from_value(read_yaml(snippet)?)?;
    ensure!(cases.len() == 1, "{} cases", cases.len());
    cases.iter().try_for_each(|case| native::play(module("identity-authz")?, "identity_authz", case))
}
