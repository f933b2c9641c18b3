//! Snippets that people are told to paste, pasted into a real Envoy.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::{Client, Configuration, Envoy, Options, read_yaml, wait};

use crate::page::{self, codes};

const LIMIT: Duration = Duration::from_secs(30);

/// Starts Envoy with a plaintext listener that has these HTTP filters before the router.
fn start(folder: &Path, filters: &Value, node: &Value) -> Result<Envoy> {
    testbed::build_filters()?;
    let options = Options { binary: testbed::envoy_binary()?, folder: folder.to_owned(), workers: 2, detached: false };
    Envoy::start(&Configuration::new(bootstrap(filters, node)), &options)
}

/// A bootstrap with this listener.
fn bootstrap(filters: &Value, node: &Value) -> Value {
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
    json!({"node": node, "static_resources": {"listeners": [{
        "name": "ingress",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]
    }]}})
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

/// The messages of Envoy in `docs/troubleshooting.md`.
fn documented_messages() -> Result<Vec<String>> {
    let page = page::named("docs/troubleshooting.md")?;
    let tables =
        page.tables.iter().filter(|table| table.header.first().is_some_and(|title| title == "message of Envoy"));
    let messages = tables.flat_map(|table| &table.rows).filter_map(|row| codes(row.first()?).next().map(str::to_owned));
    Ok(messages.collect())
}

/// Files that Envoy refuses, each with its message: `good` with another module, another name or in another form.
fn faulty_files(good: &str, module: &str, cut: &str) -> [(&'static str, String); 5] {
    [
        ("Invalid path:", good.replace(module, "/nowhere/identity-authz.wasm")),
        ("Failed to load Wasm code", good.replace(module, cut)),
        (
            "Unexpected resource name in ExtensionConfigDS response:",
            good.replace(r#""name":"sallyport.identity_authz""#, r#""name":"other""#),
        ),
        ("yaml-cpp: error at line", "resources: [".to_owned()),
        ("Unable to parse JSON as proto", "- resources".to_owned()),
    ]
}

#[test]
fn envoys_own_messages_are_those_of_the_page() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let watched = folder.path().join("policies");
    let path = watched.join("identity-authz.yaml");
    fs::create_dir(&watched)?;
    let mut filters = Configuration::new(snippet("docs/operations.md", "config_discovery")?);
    filters.move_paths(&testbed::root().join("dist/policies").display().to_string(), &watched);
    let put = |text: &str| -> Result<()> {
        fs::write(watched.join("new"), text)?;
        Ok(fs::rename(watched.join("new"), &path)?)
    };
    let good = snippet("docs/operations.md", "TypedExtensionConfig")?.to_string();
    let module = testbed::filter_path("identity-authz");
    let cut = folder.path().join("cut.wasm");
    fs::write(&cut, fs::read(&module)?.get(..5_000).context("a module")?)?;
    let [module, cut] = [module, cut].map(|path| path.display().to_string());
    let node = json!({"id": "orders-1", "cluster": "orders"});

    // What keeps Envoy from starting.
    let refusal = |node: &Value| -> Result<String> {
        let started = start(folder.path(), filters.value(), node);
        Ok(started.err().context("Envoy starts")?.to_string())
    };
    let missing = refusal(&node)?;
    put(&good)?;
    let nameless = refusal(&json!({}))?;

    // What Envoy refuses while it runs, the first of it at its start.
    let faults = faulty_files(&good, &module, &cut);
    put(&faults[0].1)?;
    let envoy = start(folder.path(), filters.value(), &node)?;
    let client = Client::plaintext(envoy.listener("ingress")?);
    let stat =
        |name: &str| envoy.stat(&format!("extension_config_discovery.http_filter.sallyport.identity_authz.{name}"));
    let mut messages = vec![
        ("paths must refer to an existing path in the system", missing),
        ("node 'id' and 'cluster' are required", nameless),
    ];
    for (number, (message, text)) in (1..).zip(&faults) {
        if number > 1 {
            put(text)?;
        }
        wait::until(message, LIMIT, || Ok((stat("config_fail")? >= number).then_some(())))
            .with_context(|| envoy.log().unwrap_or_default())?;
        ensure!(client.get("/orders")?.status == 500, "{message}: {:?}", client.get("/orders")?);
        ensure!(stat("update_success")? == 0, "{message}: counted as a success");
        messages.push((message, envoy.log()?));
    }
    for (message, log) in &messages {
        ensure!(log.contains(message), "{message} is not in\n{log}");
    }
    let found: Vec<_> = messages.iter().map(|(message, _)| (*message).to_owned()).collect();
    let mut documented = documented_messages()?;
    documented.sort_unstable();
    ensure!(found.iter().all(|message| documented.binary_search(message).is_ok()), "not documented: {found:?}");
    ensure!(found.len() == documented.len(), "{documented:?} are documented, {found:?} are tried");

    put(&good)?;
    wait::until("the good file to serve", LIMIT, || Ok((client.get("/orders")?.status == 403).then_some(())))
}

#[test]
fn envoys_validation_loads_the_filters_of_the_file_alone() -> Result<()> {
    testbed::build_filters()?;
    let folder = tempfile::tempdir()?;
    let node = json!({"id": "orders-1", "cluster": "orders"});
    let envoy = testbed::envoy_binary()?.display().to_string();
    let file = folder.path().join("envoy.json");
    let validate = |filters: &Value| -> Result<testbed::Printed> {
        fs::write(&file, bootstrap(filters, &node).to_string())?;
        testbed::run_program(&envoy, &["--mode", "validate", "-c", "envoy.json"], "", folder.path())
    };
    let good = snippet("README.md", "identity-authz.wasm")?;
    let printed = validate(&good)?;
    ensure!(printed.succeeded && printed.all().contains("loaded 1 resources, 1 apply here"), "{}", printed.all());
    for (from, to, message) in [
        ("principals", "principal", "shop/frontend-reads: resources[0].spec.rules[0].from[0].source.principal"),
        ("identity-authz.wasm", "missing.wasm", "Invalid path"),
    ] {
        let printed = validate(&serde_json::from_str(&good.to_string().replace(from, to))?)?;
        ensure!(!printed.succeeded && printed.all().contains(message), "{to}: {}", printed.all());
    }
    // The file that this names is not valid.
    let watched = folder.path().join("policies");
    fs::create_dir(&watched)?;
    fs::write(watched.join("identity-authz.yaml"), "- x")?;
    let mut discovered = Configuration::new(snippet("docs/operations.md", "config_discovery")?);
    discovered.move_paths(&testbed::root().join("dist/policies").display().to_string(), &watched);
    let printed = validate(discovered.value())?;
    ensure!(printed.succeeded, "{}", printed.all());
    Ok(())
}

#[test]
fn the_level_of_the_log_is_set_while_envoy_runs() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut filters = snippet("README.md", "identity-authz.wasm")?;
    let configuration = filters.pointer_mut("/0/typed_config/config/configuration/value");
    configuration.and_then(Value::as_object_mut).context("no configuration")?.remove("mode");
    let envoy = start(folder.path(), &filters, &json!({}))?;
    let client = Client::plaintext(envoy.listener("ingress")?);
    let deny = |path: &str| -> Result<()> {
        let status = client.get(path)?.status;
        ensure!(status == 403, "{path}: {status}");
        Ok(())
    };
    let set = |level: &str| {
        let head =
            format!("POST /logging?wasm={level} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        Client::plaintext(envoy.admin()).send(head.as_bytes())
    };
    ensure!(set("warning")?.status == 200);
    deny("/unseen")?;
    ensure!(set("info")?.status == 200);
    deny("/seen")?;
    wait::until("a line for the denial", LIMIT, || Ok(envoy.log()?.contains("GET /seen").then_some(())))?;
    ensure!(!envoy.log()?.contains("GET /unseen"), "{}", envoy.log()?);
    Ok(())
}
