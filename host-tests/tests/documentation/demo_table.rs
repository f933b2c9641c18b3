//! The table in the README is what the filters say of `envoy-config/ingress.yaml`, which `make demo` runs.

use std::fs;

use anyhow::{Context, Result, ensure};
use host_tests::wasm_host::{Connection, Request, Vm};
use serde_json::Value;
use testbed::Configuration;

use crate::module;

/// The callers of the table, each with its SPIFFE ID and user agent.
const CALLERS: [(&str, &str, &str); 3] = [
    ("frontend", "spiffe://cluster.local/ns/shop/sa/frontend", "curl/8.5.0"),
    ("frontend, with sqlmap", "spiffe://cluster.local/ns/shop/sa/frontend", "sqlmap/1.8.4#stable (https://sqlmap.org)"),
    ("intruder next door", "spiffe://cluster.local/ns/dev/sa/intruder", "curl/8.5.0"),
];

/// In the order in which a request passes them.
const FILTERS: [(&str, &str); 2] = [("baseline-deny", "baseline_deny"), ("identity-authz", "identity_authz")];

/// The status, the policy and the reason that a caller gets.
fn answer(configurations: &[Value; 2], uri: &str, agent: &str, method: &str, path: &str) -> Result<[String; 3]> {
    // Envoy normalises paths before the filters; one in the table needs it.
    let path = path.replace("/orders/../", "/");
    for ((filter, name), configuration) in FILTERS.iter().zip(configurations) {
        let (mut vm, root) = Vm::configured(module(filter)?, &configuration.to_string())?;
        let request = Request::new(method, "shop", &path).with("user-agent", agent.as_bytes());
        let outcome = vm.request(root, Connection::mtls(1, uri), request)?;
        let state = |key: &str| outcome.filter_state.get(&format!("wasm.sallyport.{name}.{key}")).cloned();
        if let Some(response) = &outcome.response {
            let policy = state("policy").unwrap_or_else(|| "none".to_owned());
            return Ok([response.status.to_string(), policy, state("reason").unwrap_or_default()]);
        }
    }
    Ok(["200".to_owned(), String::new(), String::new()])
}

/// The rows of the README's table: client, request, status, policy, reason.
fn rows() -> Result<Vec<[String; 5]>> {
    let readme = fs::read_to_string(testbed::root().join("README.md"))?;
    let table = readme.split("```\nclient ").nth(1).and_then(|rest| rest.split("```").next()).context("no table")?;
    let cells = |row: &str| {
        let cells = row.split("  ").map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty());
        <[String; 5]>::try_from(cells.collect::<Vec<_>>()).ok().with_context(|| row.to_owned())
    };
    let rows: Vec<_> = table.lines().skip(1).map(cells).collect::<Result<_>>()?;
    ensure!(rows.len() >= 5, "{rows:#?}");
    Ok(rows)
}

#[test]
fn the_picture_of_the_demo_has_the_rows_of_the_table() -> Result<()> {
    let picture = fs::read_to_string(testbed::root().join("docs/demo.svg"))?;
    let drawn = picture.split("<g class=\"row\"").skip(1).map(|row| {
        let texts = row.split("</text>").filter_map(|text| Some(text.rsplit_once("\">")?.1));
        texts.collect::<Vec<_>>().join(" ")
    });
    let drawn: Vec<String> = drawn.collect();
    for [who, asked, status, _, why] in rows()? {
        let row = format!("{who} {asked} {status} ");
        let has_row = drawn.iter().any(|drawn| drawn.starts_with(&row) && drawn.ends_with(&why));
        ensure!(has_row, "docs/demo.svg lacks {row}{why}, draw it again by make pictures:\n{drawn:#?}");
    }
    Ok(())
}

#[test]
fn the_table_of_the_readme_is_what_the_filters_say() -> Result<()> {
    let mut ingress = Configuration::read(&testbed::root().join("envoy-config/ingress.yaml"))?;
    let filters = ingress.at("/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters")?;
    let configuration = |name: &str| -> Result<Value> {
        let named = |filter: &&Value| filter.get("name") == Some(&Value::from(format!("sallyport.{name}")));
        let filter = filters.as_array().into_iter().flatten().find(named).with_context(|| format!("no {name}"))?;
        filter.pointer("/typed_config/config/configuration/value").cloned().context("no configuration")
    };
    let configurations = [configuration("baseline_deny")?, configuration("identity_authz")?];

    for [who, asked, status, policy, why] in &rows()? {
        let (_, uri, agent) = CALLERS.iter().find(|(name, ..)| name == who).with_context(|| who.clone())?;
        let (method, path) = asked.split_once(' ').with_context(|| asked.clone())?;
        let found = answer(&configurations, uri, agent, method, path)?;
        // The filters name no policy for an allowed request; the demo knows which one it means.
        let shown = if status == "200" { ["200", "", ""] } else { [status.as_str(), policy, why] };
        ensure!(found == shown, "{who}, {asked}: the filters say {found:?}, README.md says {shown:?}");
    }
    Ok(())
}
