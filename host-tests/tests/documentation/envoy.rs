//! Snippets that people are told to paste, pasted into a real Envoy.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::{Client, Configuration, Envoy, Options, SmtpServer, read_yaml, wait};

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

/// Snippets of a page: a filter for `http_filters` that Envoy reads from a file, and that file.
struct Discovered {
    filters: Value,
    /// The text of the file.
    good: String,
    /// Address at which Envoy looks for it.
    path: PathBuf,
}

impl Discovered {
    /// Reads the snippets of a page, with their folder below this one, in which the file is not yet.
    fn read(page: &str, folder: &Path) -> Result<Self> {
        let watched = folder.join("policies");
        fs::create_dir(&watched)?;
        let mut filters = Configuration::new(snippet(page, "config_discovery:")?);
        filters.move_paths(&testbed::root().join("dist/policies").display().to_string(), &watched);
        let source = filters.at("/0/config_discovery/config_source/path_config_source")?;
        let text = |pointer: &str| source.pointer(pointer).and_then(Value::as_str).context("no path");
        ensure!(Path::new(text("/watched_directory/path")?) == watched, "{source} watches another folder");
        let path = PathBuf::from(text("/path")?);
        ensure!(path.parent() == Some(&watched), "{source} is not in the folder that is watched");
        let filters = filters.value().clone();
        Ok(Self { filters, good: snippet(page, "TypedExtensionConfig")?.to_string(), path })
    }

    /// Moves a new file into the place of the one before, as the pages say.
    fn put(&self, text: &str) -> Result<()> {
        let new = self.path.with_extension("new");
        fs::write(&new, text)?;
        Ok(fs::rename(new, &self.path)?)
    }

    /// The filter as it would stand in Envoy's own file.
    fn inline(&self) -> Result<Value> {
        let file: Value = serde_json::from_str(&self.good)?;
        let part = |key: &str| file.pointer(&format!("/resources/0/{key}")).with_context(|| format!("no {key}"));
        Ok(json!([{"name": part("name")?, "typed_config": part("typed_config")?}]))
    }
}

/// The name that `docs/operations.md` gives Envoy.
fn node() -> Result<Value> {
    snippet("docs/operations.md", "node:")?.get("node").cloned().context("no node")
}

#[test]
fn the_snippets_of_the_readme_report_and_without_report_mode_deny() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let snippets = Discovered::read("README.md", folder.path())?;
    snippets.put(&snippets.good)?;
    let page = page::named("README.md")?;
    let node = codes(&page.inlines).find_map(|code| code.strip_prefix("node: ")).context("no node")?;
    let envoy = start(folder.path(), &snippets.filters, &read_yaml(node)?)?;
    let client = Client::plaintext(envoy.listener("ingress")?);
    let answer = client.get("/orders")?;
    ensure!(answer.status == 200, "{answer:?} with {}", snippets.good);
    ensure!(envoy.log()?.contains("loaded 1 resources, 1 apply here"), "{}", envoy.log()?);
    let enforcing = snippets.good.replace(r#""mode":"report","#, "");
    ensure!(enforcing != snippets.good, "the file does not report");
    snippets.put(&enforcing)?;
    wait::until("the filter to enforce", LIMIT, || Ok((client.get("/orders")?.status == 403).then_some(())))
}

#[test]
fn the_snippets_of_baseline_deny_deny_tools_but_where_they_are_exempt() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let snippets = Discovered::read("docs/baseline-deny.md", folder.path())?;
    snippets.put(&snippets.good)?;
    let envoy = start(folder.path(), &snippets.filters, &node()?)?;
    let client = Client::plaintext(envoy.listener("ingress")?);
    let as_sqlmap = |path: &str| {
        client.send(format!("GET {path} HTTP/1.1\r\nhost: shop\r\nuser-agent: sqlmap/1.8\r\n\r\n").as_bytes())
    };
    ensure!(client.get("/orders")?.status == 200, "an ordinary client");
    ensure!(as_sqlmap("/orders")?.status == 403, "sqlmap");
    ensure!(as_sqlmap("/robots.txt")?.status == 200, "sqlmap on an exempt path");
    snippets.put(&snippets.good.replace("/robots.txt", "/orders"))?;
    wait::until("another exemption", LIMIT, || Ok((as_sqlmap("/orders")?.status == 200).then_some(())))
}

#[test]
fn the_snippets_of_operations_change_a_policy_without_a_restart() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let snippets = Discovered::read("docs/operations.md", folder.path())?;
    snippets.put(&snippets.good)?;
    let envoy = start(folder.path(), &snippets.filters, &node()?)?;
    let client = Client::plaintext(envoy.listener("ingress")?);
    ensure!(client.get("/orders")?.status == 403, "{:?}", client.get("/orders")?);

    snippets.put(&snippets.good.replace(r#""principals""#, r#""principal""#))?;
    wait::until("the update to be refused", LIMIT, || Ok(envoy.log()?.contains("unknown field").then_some(())))?;
    ensure!(client.get("/orders")?.status == 403, "{:?}", client.get("/orders")?);

    snippets.put(&snippets.good.replace("principals", "notPrincipals"))?;
    wait::until("the new policy to serve", LIMIT, || Ok((client.get("/orders")?.status == 200).then_some(())))
}

#[test]
fn the_snippet_of_tcp_reads_a_network_filter_from_a_file() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut chain = Configuration::new(snippet("docs/tcp.md", "config_discovery:")?);
    chain.move_paths("/var/lib/sallyport", folder.path());
    let put = |mode: &str| -> Result<()> {
        let file = snippet("README.md", "TypedExtensionConfig")?.to_string();
        let file = file.replace("filters.http.wasm", "filters.network.wasm").replace("report", mode);
        fs::write(folder.path().join("new.yaml"), file)?;
        Ok(fs::rename(folder.path().join("new.yaml"), folder.path().join("identity-authz.yaml"))?)
    };
    put("report")?;
    let mail = SmtpServer::start()?;
    let proxy = json!({"name": "tcp", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "mail", "cluster": "mail"
    }});
    let filters = chain.at("/filters")?.as_array().context("no filters")?.iter().chain([&proxy]).collect::<Vec<_>>();
    let at = json!({"address": "127.0.0.1", "port_value": mail.address().port()});
    let bootstrap = json!({"node": node()?, "static_resources": {
        "listeners": [{
            "name": "mail",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
            "filter_chains": [{"filters": filters}]
        }],
        "clusters": [{"name": "mail", "load_assignment": {"cluster_name": "mail", "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": {"socket_address": at}}}]}
        ]}}]
    }});
    testbed::build_filters()?;
    let options =
        Options { binary: testbed::envoy_binary()?, folder: folder.path().to_owned(), workers: 1, detached: false };
    let envoy = Envoy::start(&Configuration::new(bootstrap), &options)?;
    let is_greeted = || -> Result<bool> {
        let mut greeting = vec![0; SmtpServer::GREETING.len()];
        let mut stream = Client::plaintext(envoy.listener("mail")?).connect()?;
        Ok(stream.read_exact(&mut greeting).is_ok())
    };
    ensure!(is_greeted()?, "in report mode: {}", envoy.log()?);
    put("enforce")?;
    wait::until("the filter to enforce", LIMIT, || Ok((!is_greeted()?).then_some(())))
}

/// The messages of Envoy in `docs/troubleshooting.md`: those of their own table, and those of the row that leads to the
/// code of `sallyport check` for them.
fn documented_messages() -> Result<Vec<String>> {
    let page = page::named("docs/troubleshooting.md")?;
    let mut messages = Vec::new();
    for table in &page.tables {
        let is_of_envoy = table.header.first().is_some_and(|title| title == "message of Envoy");
        for row in &table.rows {
            let (first, last) = (row.first().context("no cell")?, row.last().context("no cell")?);
            if is_of_envoy {
                messages.extend(codes(first).next().map(str::to_owned));
            } else if codes(last).any(|code| code == "discovery-name") {
                messages.extend(codes(first).filter(|code| code.contains(' ')).map(str::to_owned));
            }
        }
    }
    Ok(messages)
}

/// Files that Envoy refuses, each with its message: `good` with another module, another name, twice, for connections or in
/// another form.
fn faulty_files(good: &str, module: &str, cut: &str) -> Result<[(&'static str, String); 7]> {
    Ok([
        ("Invalid path:", good.replace(module, "/nowhere/identity-authz.wasm")),
        ("Failed to load Wasm code", good.replace(module, cut)),
        (
            "Unexpected resource name in ExtensionConfigDS response",
            good.replace(r#""name":"sallyport.identity_authz""#, r#""name":"other""#),
        ),
        ("Unexpected number of resources in ExtensionConfigDS response", with_two_resources(good)?),
        ("filter config has type URL", good.replace("filters.http.wasm", "filters.network.wasm")),
        ("yaml-cpp: error at line", "resources: [".to_owned()),
        ("Unable to parse JSON as proto", "- resources".to_owned()),
    ])
}

/// The file with its resource a second time, under another name.
fn with_two_resources(good: &str) -> Result<String> {
    let mut file: Value = serde_json::from_str(good)?;
    let resources = file.pointer_mut("/resources").and_then(Value::as_array_mut).context("no resources")?;
    let mut other = resources.first().cloned().context("no resource")?;
    other.as_object_mut().context("no object")?.insert("name".to_owned(), json!("other"));
    resources.push(other);
    Ok(file.to_string())
}

#[test]
fn envoys_own_messages_are_those_of_the_page() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let snippets = Discovered::read("docs/operations.md", folder.path())?;
    let module = testbed::filter_path("identity-authz");
    let cut = folder.path().join("cut.wasm");
    testbed::build_filters()?;
    fs::write(&cut, fs::read(&module)?.get(..5_000).context("a module")?)?;
    let [module, cut] = [module, cut].map(|path| path.display().to_string());

    // What keeps Envoy from starting.
    let refusal = |node: &Value| -> Result<String> {
        let started = start(folder.path(), &snippets.filters, node);
        Ok(started.err().context("Envoy starts")?.to_string())
    };
    let missing = refusal(&node()?)?;
    snippets.put(&snippets.good)?;
    let nameless = refusal(&json!({}))?;

    // What Envoy refuses while it runs, the first of it at its start.
    let faults = faulty_files(&snippets.good, &module, &cut)?;
    snippets.put(&faults[0].1)?;
    let envoy = start(folder.path(), &snippets.filters, &node()?)?;
    let client = Client::plaintext(envoy.listener("ingress")?);
    let stat =
        |name: &str| envoy.stat(&format!("extension_config_discovery.http_filter.sallyport.identity_authz.{name}"));
    let mut messages = vec![
        ("paths must refer to an existing path in the system", missing),
        ("node 'id' and 'cluster' are required", nameless),
    ];
    for (number, (message, text)) in (1..).zip(&faults) {
        if number > 1 {
            snippets.put(text)?;
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

    snippets.put(&snippets.good)?;
    wait::until("the good file to serve", LIMIT, || Ok((client.get("/orders")?.status == 403).then_some(())))
}

#[test]
fn envoys_validation_loads_the_filters_of_the_file_alone() -> Result<()> {
    testbed::build_filters()?;
    let folder = tempfile::tempdir()?;
    let node = node()?;
    let snippets = Discovered::read("README.md", folder.path())?;
    let envoy = testbed::envoy_binary()?.display().to_string();
    let file = folder.path().join("envoy.json");
    let validate = |filters: &Value| -> Result<testbed::Printed> {
        fs::write(&file, bootstrap(filters, &node).to_string())?;
        testbed::run_program(&envoy, &["--mode", "validate", "-c", "envoy.json"], "", folder.path())
    };
    let good = snippets.inline()?;
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
    snippets.put("- x")?;
    let printed = validate(&snippets.filters)?;
    ensure!(printed.succeeded, "{}", printed.all());
    Ok(())
}

#[test]
fn the_level_of_the_log_is_set_while_envoy_runs() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut filters = Discovered::read("README.md", folder.path())?.inline()?;
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
