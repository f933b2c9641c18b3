//! Fields of access logs: each that an example logs, and each that pages name, is set by some request.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::Configuration;

use crate::{EXAMPLES, Example, egress};

/// The fields of a JSON format or of an entry, each with its path, those within others with a dot; null counts as absent.
pub(crate) fn leaves<'v>(value: &'v Value, path: &str, found: &mut Vec<(String, &'v Value)>) {
    match value {
        Value::Object(entries) => entries.iter().for_each(|(name, value)| {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            leaves(value, &path, found);
        }),
        Value::Null => {}
        _ => found.push((path.to_owned(), value)),
    }
}

/// The paths of the fields of several formats or entries.
fn paths<'v>(values: impl IntoIterator<Item = &'v Value>) -> BTreeSet<String> {
    let mut found = Vec::new();
    values.into_iter().for_each(|value| leaves(value, "", &mut found));
    found.into_iter().map(|(path, _)| path).collect()
}

/// The formats of the access logs in a bootstrap.
pub(crate) fn formats<'v>(value: &'v Value, found: &mut Vec<&'v Value>) {
    match value {
        Value::Object(entries) => entries.iter().for_each(|(name, value)| match name.as_str() {
            "json_format" => found.push(value),
            _ => formats(value, found),
        }),
        Value::Array(values) => values.iter().for_each(|value| formats(value, found)),
        _ => {}
    }
}

#[test]
fn every_field_of_an_access_log_is_set_by_some_request() -> Result<()> {
    for example in EXAMPLES {
        let file = Configuration::read(&testbed::root().join(format!("envoy-config/{}.yaml", example.name)))?;
        let mut found = Vec::new();
        formats(file.value(), &mut found);
        let (expected, set) = (paths(found), paths(&example.observed()?.log));
        let never: Vec<_> = expected.difference(&set).collect();
        ensure!(!expected.is_empty() && never.is_empty(), "{}: no request sets {never:?}", example.name);
    }
    Ok(())
}

/// Examples whose clients reset connections.
const WITH_RESETS: [&str; 3] = ["ingress", "ingress-migration", "egress"];

#[test]
fn a_client_that_resets_its_connection_is_no_refused_handshake() -> Result<()> {
    for example in EXAMPLES.iter().filter(|example| WITH_RESETS.contains(&example.name)) {
        let log = &example.observed()?.log;
        let failures: Vec<_> =
            log.iter().filter_map(|entry| entry.get("refused_handshake").and_then(Value::as_str)).collect();
        ensure!(!failures.is_empty(), "{}: no handshake was refused", example.name);
        let of_reset = failures.iter().find(|failure| failure.contains("reset"));
        ensure!(of_reset.is_none(), "{}: {of_reset:?}", example.name);
    }
    Ok(())
}

/// The decisions in the entries of the tunnels to a host, in their order; none where the tunnel is allowed.
fn decisions_of_tunnels(host: &str) -> Result<Vec<Option<&'static str>>> {
    let example = EXAMPLES.iter().find(|example| example.name == "egress").context("no egress.yaml")?;
    let of_host = |entry: &&Value| {
        let has = |key: &str, value: &str| entry.get(key).and_then(Value::as_str) == Some(value);
        has("way", "connect") && has("host", host)
    };
    let entries = example.observed()?.log.iter().filter(of_host);
    Ok(entries.map(|entry| entry.get("decision").and_then(Value::as_str)).collect())
}

#[test]
fn a_tunnel_is_one_entry_unless_it_is_denied_after_it_opened() -> Result<()> {
    for (host, expected) in [
        (egress::ONCE, &[None][..]),
        (egress::REPORTED, &[Some("would_deny")]),
        (egress::WATCHED, &[Some("would_deny"), Some("deny")]),
    ] {
        let decisions = decisions_of_tunnels(host)?;
        ensure!(decisions == expected, "the entries for {host} have the decisions {decisions:?}");
    }
    Ok(())
}

/// The names of all fields that some request sets, without those that they are within.
fn all_fields() -> Result<BTreeSet<String>> {
    let mut set = BTreeSet::new();
    for example in EXAMPLES {
        set.append(&mut paths(&example.observed()?.log));
    }
    Ok(set.iter().flat_map(|path| path.split('.')).map(str::to_owned).collect())
}

/// The commands with jq in the pages, each with its page.
fn commands() -> Result<Vec<(String, String)>> {
    let mut commands = Vec::new();
    for entry in fs::read_dir(testbed::root().join("docs"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "md") {
            let page = fs::read_to_string(&path)?;
            let lines =
                page.lines().filter_map(|line| line.strip_prefix("    ")).filter(|line| line.starts_with("jq "));
            commands.extend(lines.map(|line| (path.display().to_string(), line.to_owned())));
        }
    }
    Ok(commands)
}

#[test]
fn every_command_that_reads_a_log_finds_something_in_it() -> Result<()> {
    let commands = commands()?;
    ensure!(commands.len() >= 2, "{commands:?}");
    for (page, command) in commands {
        let command = command.replacen("jq", &testbed::jq()?.display().to_string(), 1);
        let rows = EXAMPLES.iter().map(|example| first_row(example, &command)).collect::<Result<Vec<_>>>()?;
        ensure!(rows.iter().flatten().any(|row| is_counted(row)), "{page}: {command} prints {rows:#?}");
    }
    Ok(())
}

/// The first line that a command prints for the log of an example, which it calls `LOG`.
fn first_row(example: &Example, command: &str) -> Result<Option<String>> {
    let folder = tempfile::tempdir()?;
    let mut lines = "a line of Envoy's own\n".to_owned();
    example.observed()?.log.iter().for_each(|entry| lines.extend([entry.to_string(), "\n".to_owned()]));
    fs::write(folder.path().join("LOG"), lines)?;
    let printed = testbed::run_program("bash", &["-c", &format!("set -eo pipefail; {command}")], "", folder.path())?;
    ensure!(printed.succeeded, "{command}: {}", printed.all());
    Ok(printed.output.lines().next().map(str::to_owned))
}

/// Tells whether a row is a number and columns, none of which is empty.
fn is_counted(row: &str) -> bool {
    let (count, columns) = row.trim_start().split_once(' ').unwrap_or_default();
    count.parse::<u32>().is_ok() && columns.split('\t').all(|column| !column.is_empty())
}

#[test]
fn every_key_of_filter_state_that_a_page_names_is_set_by_some_request() -> Result<()> {
    let set = all_fields()?;
    let operations = fs::read_to_string(testbed::root().join("docs/operations.md"))?;
    let section = operations.split("\n## Access log\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    let rows = section.context("no section on the access log")?.lines().filter(|line| line.starts_with("| `"));
    let keys = rows.filter_map(|row| row.split(" | ").next()).flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let named: BTreeSet<_> = keys.map(str::to_owned).collect();
    ensure!(named.len() >= 9, "{named:?}");
    let unknown: Vec<_> = named.difference(&set).collect();
    ensure!(unknown.is_empty(), "no request sets {unknown:?}");
    Ok(())
}
