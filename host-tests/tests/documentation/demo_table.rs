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

    let readme = fs::read_to_string(testbed::root().join("README.md"))?;
    let table = readme.split("```\nclient ").nth(1).and_then(|rest| rest.split("```").next()).context("no table")?;
    let rows: Vec<_> = table.lines().skip(1).collect();
    ensure!(rows.len() >= 5, "{rows:#?}");
    for row in rows {
        let cells: Vec<_> = row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        let [who, asked, status, policy, why] = <[&str; 5]>::try_from(cells).ok().with_context(|| row.to_owned())?;
        let (_, uri, agent) = CALLERS.iter().find(|(name, ..)| *name == who).with_context(|| who.to_owned())?;
        let (method, path) = asked.split_once(' ').with_context(|| asked.to_owned())?;
        let found = answer(&configurations, uri, agent, method, path)?;
        // The filters name no policy for an allowed request; the demo knows which one it means.
        let shown = if status == "200" { ["200", "", ""] } else { [status, policy, why] };
        ensure!(found == shown, "{who}, {asked}: the filters say {found:?}, README.md says {shown:?}");
    }
    Ok(())
}
