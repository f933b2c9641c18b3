//! Names of metrics and labels in pages, dashboard, console page, alerts and examples: each is exported by an example.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::EXAMPLES;
use crate::samples::Samples;

/// Folders and files in which metrics are named, from the root of the repository.
const PLACES: [&str; 7] = [
    "README.md",
    "SECURITY.md",
    "docs",
    "envoy-config",
    "envoy-config/stack",
    "envoy-config/stack/prometheus",
    "envoy-config/stack/grafana",
];

/// The console pages of the stack, which are HTML.
const CONSOLES: &str = "envoy-config/stack/prometheus/consoles";

/// Words that begin as metrics do and are none.
const OTHERS: [&str; 4] = ["envoy_grpc", "envoy_gateway", "envoy_internal_address", "envoy_cluster_name"];

/// Metrics that `sallyport render --metrics` writes; the tests of that hold their names.
const OF_RENDER: &str = "sallyport_render_";

/// Metrics that an access logger of the stack alone makes, in `envoy-config/stack/envoy`.
pub(crate) const OF_THE_STACK: [&str; 1] = ["envoy_workload_pair_requests"];

fn files() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for place in PLACES.into_iter().chain([CONSOLES]) {
        let path = testbed::root().join(place);
        if path.is_file() {
            files.push(path);
            continue;
        }
        for entry in fs::read_dir(&path).with_context(|| place.to_owned())? {
            let path = entry?.path();
            let has_text =
                path.extension().is_some_and(|kind| ["md", "yaml", "json", "html"].iter().any(|known| kind == *known));
            if has_text {
                files.push(path);
            }
        }
    }
    Ok(files)
}

fn is_of_a_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | ':')
}

/// The words of a text that are names of metrics. A name that goes on with `(a|b)_c`, as in a regular expression, is each
/// of its readings.
fn metrics(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (start, _) in text.match_indices("sallyport_").chain(text.match_indices("envoy_")) {
        if text.get(..start).and_then(|before| before.chars().next_back()).is_some_and(is_of_a_name) {
            continue;
        }
        let rest = text.get(start..).unwrap_or_default();
        let end = rest.find(|letter| !is_of_a_name(letter)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let name = name.trim_end_matches(':');
        let alternatives = after.strip_prefix('(').and_then(|after| after.split_once(')'));
        match alternatives.filter(|_| name.ends_with('_')) {
            Some((inside, after)) => {
                let end = after.find(|letter| !is_of_a_name(letter)).unwrap_or(after.len());
                let (tail, _) = after.split_at(end);
                let parts = inside.split('|').map(|part| part.trim_end_matches('\\'));
                found.extend(parts.map(|part| format!("{name}{part}{tail}")));
            }
            None => {
                found.insert(name.to_owned());
            }
        }
    }
    found
}

/// The labels by which a text of queries selects and groups.
fn labels(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (start, by) in text.match_indices(" by (").chain(text.match_indices("sortByLabel \"")) {
        let rest = text.get(start + by.len()..).unwrap_or_default();
        let list = rest.split([')', '"']).next().unwrap_or_default();
        found.extend(list.split(',').map(|label| label.trim().to_owned()).filter(|label| !label.is_empty()));
    }
    // Matchers, `{label="value"}`; in JSON the quotes have a backslash.
    let comparisons = ["=\"", "=~\"", "=\\\"", "=~\\\""].into_iter().flat_map(|sign| text.match_indices(sign));
    for (end, _) in comparisons {
        let before = text.get(..end).unwrap_or_default().trim_end_matches('!');
        let start = before.rfind(|letter| !is_of_a_name(letter)).map_or(0, |at| at + 1);
        let (outside, label) = before.split_at(start);
        if outside.ends_with(['{', ',']) && !label.is_empty() && label != "__name__" {
            found.insert(label.to_owned());
        }
    }
    for (start, _) in text.match_indices(".Labels.") {
        let rest = text.get(start + ".Labels.".len()..).unwrap_or_default();
        let end = rest.find(|letter| !is_of_a_name(letter)).unwrap_or(rest.len());
        found.insert(rest.split_at(end).0.to_owned());
    }
    found
}

/// Every metric that some example exports.
fn exported() -> Result<Samples> {
    let mut all = Samples::default();
    for example in EXAMPLES {
        all.add(&example.observed()?.samples);
    }
    Ok(all)
}

#[test]
fn every_metric_that_is_named_is_exported_by_an_example() -> Result<()> {
    let samples = exported()?;
    let (exported, labels) = (samples.names(), samples.labels());
    let mut checked = BTreeSet::new();
    for file in files()? {
        let text = fs::read_to_string(&file)?;
        // Of a name that is recorded by a rule, the rule is what has to exist.
        for name in metrics(&text) {
            let is_other = OTHERS.iter().any(|other| name.starts_with(other))
                || name.starts_with(OF_RENDER)
                || OF_THE_STACK.contains(&name.as_str())
                || labels.contains(name.as_str());
            let is_part = name.ends_with('_');
            // Buckets of histograms are not scraped, but beside each is a count.
            let count = name.strip_suffix("_bucket").map(|histogram| format!("{histogram}_count"));
            ensure!(
                is_other || is_part || exported.contains(count.as_ref().unwrap_or(&name).as_str()),
                "{} names {name}, which no example exports",
                file.display()
            );
            checked.insert(name);
        }
    }
    ensure!(checked.len() > 20, "{checked:?}");
    Ok(())
}

/// Labels that Prometheus or its rules add, or that an access logger of the stack alone makes.
pub(crate) const NOT_OF_ENVOY: [&str; 13] = [
    "workload",
    "instance",
    "file",
    "alertname",
    "alertstate",
    "job",
    "le",
    "configuration",
    "source_principal",
    "destination_workload",
    "response_code",
    "result",
    "severity",
];

/// Tells the examples, whose texts have no queries.
fn is_configuration_of_envoy(file: &Path) -> bool {
    let folder = file.parent().and_then(Path::file_name);
    folder.is_some_and(|name| name == "envoy-config" || name == "envoy")
}

#[test]
fn every_label_that_a_query_names_is_exported_by_an_example() -> Result<()> {
    let samples = exported()?;
    let exported = samples.labels();
    let mut checked = BTreeSet::new();
    for file in files()?.iter().filter(|file| !is_configuration_of_envoy(file)) {
        for label in labels(&fs::read_to_string(file)?) {
            ensure!(
                NOT_OF_ENVOY.contains(&label.as_str()) || exported.contains(label.as_str()),
                "{} names the label {label}, which no example exports",
                file.display()
            );
            checked.insert(label);
        }
    }
    ensure!(checked.len() > 8, "{checked:?}");
    Ok(())
}

/// Ends by which a name in a page is known as one of Envoy's statistics, beside `sallyport_` and `envoy_`.
const ENDS: [&str; 7] = ["_fail", "_failure", "_rejected", "_overflow", "_success", "_backoff", "_completed"];

/// Details of a response and codes of faults with such an end.
const NO_STATISTICS: [&str; 1] = ["dns_resolution_failure"];

#[test]
fn every_statistic_of_envoy_that_a_page_names_is_exported_by_an_example() -> Result<()> {
    let samples = exported()?;
    let exported = samples.names();
    let mut checked = BTreeSet::new();
    for file in files()?.iter().filter(|file| file.extension().is_some_and(|kind| kind == "md")) {
        let page = fs::read_to_string(file)?;
        // Every second piece between backticks is code.
        for code in page.lines().flat_map(|line| line.split('`').skip(1).step_by(2)) {
            let name = code.rsplit('.').next().unwrap_or_default();
            let is_statistic = ENDS.iter().any(|end| name.ends_with(end)) && name.chars().all(is_of_a_name);
            if is_statistic && !NO_STATISTICS.contains(&name) {
                let is_exported = exported.iter().any(|metric| metric.ends_with(name));
                ensure!(is_exported, "{} names {code}, which no example exports", file.display());
                checked.insert(name.to_owned());
            }
        }
    }
    ensure!(checked.len() >= 8, "{checked:?}");
    Ok(())
}
