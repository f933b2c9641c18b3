//! Every snippet of YAML that configures a filter loads in that filter.

use anyhow::{Context, Result, bail, ensure};
use host_tests::suite::{Case, native};
use serde_json::Value;
use testbed::read_yaml;

use crate::page::{self, Page};
use crate::{FILTERS, module, refusal};

#[test]
fn every_snippet_that_configures_a_filter_loads_in_it() -> Result<()> {
    let mut loaded = 0;
    for page in page::all()? {
        for snippet in &page.snippets {
            let value = read_yaml(snippet).with_context(|| format!("{}:\n{snippet}", page.name))?;
            for (filter, configuration) in configurations(&page, &value)? {
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
    Ok(())
}

/// The configurations in a snippet, each with its filter: in filters of Envoy, in a file that Envoy watches, or by
/// itself on the page of a filter.
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
    match (value.as_array().or(watched), of_page) {
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
