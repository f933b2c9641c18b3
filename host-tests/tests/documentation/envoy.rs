//! Snippets that people are told to paste, pasted into a real Envoy.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::{Client, Configuration, Envoy, Options, read_yaml, wait};

use crate::page;

const LIMIT: Duration = Duration::from_secs(30);

/// Starts Envoy with a plaintext listener that has these HTTP filters before the router.
fn start(folder: &Path, filters: &Value, node: &Value) -> Result<Envoy> {
    testbed::build_filters()?;
    let router = json!({"name": "router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}});
    let filters: Vec<_> = filters.as_array().into_iter().flatten().chain([&router]).collect();
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "ingress",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{
            "match": {"prefix": "/"}, "direct_response": {"status": 200}
        }]}]},
        "http_filters": filters
    });
    let bootstrap = json!({"node": node, "static_resources": {"listeners": [{
        "name": "ingress",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]
    }]}});
    let options = Options { binary: testbed::envoy_binary()?, folder: folder.to_owned(), workers: 2, detached: false };
    Envoy::start(&Configuration::new(bootstrap), &options)
}

/// The snippet of a page that holds `text`, with modules where this repository builds them.
fn snippet(page: &str, text: &str) -> Result<Value> {
    let page = page::named(page)?;
    let snippet = page.snippets.iter().find(|snippet| snippet.contains(text));
    let snippet = snippet.with_context(|| format!("{} has no snippet with {text}", page.name))?;
    let mut configuration = Configuration::new(read_yaml(snippet)?);
    configuration.move_paths("/etc/sallyport", &testbed::root().join("dist"));
    Ok(configuration.value().clone())
}

#[test]
fn the_snippet_of_the_readme_reports_and_without_report_mode_denies() -> Result<()> {
    let mut filters = snippet("README.md", "identity-authz.wasm")?;
    for status in [200, 403] {
        let folder = tempfile::tempdir()?;
        let envoy = start(folder.path(), &filters, &json!({}))?;
        let answer = Client::plaintext(envoy.listener("ingress")?).get("/orders")?;
        ensure!(answer.status == status, "{answer:?} with {filters}");
        ensure!(envoy.log()?.contains("loaded 1 resources, 1 apply here"), "{}", envoy.log()?);
        let configuration = filters.pointer_mut("/0/typed_config/config/configuration/value");
        configuration.and_then(Value::as_object_mut).context("no configuration")?.remove("mode");
    }
    Ok(())
}

#[test]
fn the_snippet_of_baseline_deny_denies_tools_but_where_they_are_exempt() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let envoy = start(folder.path(), &snippet("docs/baseline-deny.md", "baseline-deny.wasm")?, &json!({}))?;
    let client = Client::plaintext(envoy.listener("ingress")?);
    let as_sqlmap = |path: &str| {
        client.send(format!("GET {path} HTTP/1.1\r\nhost: shop\r\nuser-agent: sqlmap/1.8\r\n\r\n").as_bytes())
    };
    ensure!(client.get("/orders")?.status == 200, "an ordinary client");
    ensure!(as_sqlmap("/orders")?.status == 403, "sqlmap");
    ensure!(as_sqlmap("/robots.txt")?.status == 200, "sqlmap on an exempt path");
    Ok(())
}

#[test]
fn the_snippets_of_operations_change_a_policy_without_a_restart() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let watched = folder.path().join("policies");
    fs::create_dir(&watched)?;
    let mut filters = Configuration::new(snippet("docs/operations.md", "config_discovery")?);
    filters.move_paths(&testbed::root().join("dist/policies").display().to_string(), &watched);
    let file = snippet("docs/operations.md", "TypedExtensionConfig")?.to_string();
    // As the page says: a new file is moved into the place of the old one.
    let put = |text: &str| -> Result<()> {
        let new = watched.join("new.yaml");
        fs::write(&new, text)?;
        Ok(fs::rename(new, watched.join("identity-authz.yaml"))?)
    };
    put(&file)?;
    let node = snippet("docs/operations.md", "node:")?;
    let node = node.get("node").context("no node")?;
    let envoy = start(folder.path(), filters.value(), node)?;
    let client = Client::plaintext(envoy.listener("ingress")?);
    ensure!(client.get("/orders")?.status == 403, "{:?}", client.get("/orders")?);

    put(&file.replace(r#""principals""#, r#""principal""#))?;
    wait::until("the update to be refused", LIMIT, || Ok(envoy.log()?.contains("unknown field").then_some(())))?;
    ensure!(client.get("/orders")?.status == 403, "{:?}", client.get("/orders")?);

    put(&file.replace("principals", "notPrincipals"))?;
    wait::until("the new policy to serve", LIMIT, || Ok((client.get("/orders")?.status == 200).then_some(())))
}
