//! A Wasm filter of one layer among the filters of the other: what Envoy does with it, and that `sallyport check` says it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sallyport_analysis::{Project, Settings, check};
use serde_json::{Value, json};
use testbed::{Client, Configuration, Envoy, Options, wait};

const LIMIT: Duration = Duration::from_secs(30);

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n";

fn type_url(layer: &str) -> String {
    format!("type.googleapis.com/envoy.extensions.filters.{layer}.wasm.v3.Wasm")
}

/// The filter with the type of a layer, as a list or a watched file has it.
fn filter(layer: &str) -> Value {
    let configuration =
        json!({"workload": {"namespace": "shop"}, "defaultAction": "DENY", "resources": []}).to_string();
    let module = testbed::filter_path("identity-authz");
    let configuration = testbed::string_value(&configuration);
    let plugin = testbed::wasm_plugin("identity_authz", "identity_authz", &module, &configuration);
    json!({"name": "sallyport.identity_authz", "typed_config": {"@type": type_url(layer), "config": plugin}})
}

/// The filter that takes its configuration from a file, of these types.
fn discovered(file: &Path, urls: &[String], default: Option<&Value>) -> Value {
    let source = json!({"resource_api_version": "V3", "path_config_source": {"path": file}});
    let mut discovery = json!({"config_source": source, "type_urls": urls});
    if let (Some(default), Some(keys)) = (default, discovery.as_object_mut()) {
        keys.insert("default_config".to_owned(), default.clone());
        keys.insert("apply_default_config_without_warming".to_owned(), json!(true));
    }
    json!({"name": "sallyport.identity_authz", "config_discovery": discovery})
}

/// Bootstrap with a filter in a list of filters for requests or for connections.
fn bootstrap(layer: &str, filter: &Value) -> Value {
    let router = json!({"name": "router", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
    }});
    let manager = |filters: Vec<&Value>| {
        json!({"name": "http", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "shop",
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
            ]}]},
            "http_filters": filters
        }})
    };
    let filters = match layer {
        "http" => vec![manager(vec![filter, &router])],
        _ => vec![filter.clone(), manager(vec![&router])],
    };
    json!({"node": {"id": "test", "cluster": "test"}, "static_resources": {"listeners": [{
        "name": "shop",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": filters}]
    }]}})
}

/// Fails unless `check` has one finding about the type of a filter, with this text.
fn ensure_found(files: &[(&str, &Value)], expected: &str) -> Result<()> {
    let mut project = Project::new(Settings::default());
    files.iter().for_each(|(name, text)| project.add(name, &text.to_string()));
    let report = check(&project, &[]);
    let found: Vec<&str> =
        report.findings.iter().filter(|one| one.code == "filter-type").map(|one| one.message.as_str()).collect();
    ensure!(matches!(found.as_slice(), [message] if message.contains(expected)), "{expected}: {found:?}");
    Ok(())
}

fn start(bootstrap: &Value, folder: &Path) -> Result<Envoy> {
    testbed::build_filters()?;
    let options = Options { binary: testbed::envoy_binary()?, folder: folder.to_owned(), workers: 1, detached: false };
    Envoy::start(&Configuration::new(bootstrap.clone()), &options)
}

fn watched(layer: &str) -> Result<Value> {
    let mut resource = filter(layer);
    let keys = resource.as_object_mut().context("no object")?;
    keys.insert("@type".to_owned(), json!("type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"));
    Ok(json!({"version_info": "1", "resources": [resource]}))
}

#[test]
fn envoy_refuses_a_filter_of_the_other_layer_at_its_start() -> Result<()> {
    for (list, own) in [("http", "network"), ("network", "http")] {
        let bootstrap = bootstrap(list, &filter(own));
        let folder = tempfile::tempdir()?;
        let refusal = start(&bootstrap, folder.path()).err().context("Envoy takes it")?.to_string();
        let expected = "Didn't find a registered implementation for 'sallyport.identity_authz'";
        ensure!(refusal.contains(expected) && refusal.contains(&format!("filters.{own}.wasm")), "{refusal}");
        ensure_found(&[("envoy.yaml", &bootstrap)], "Envoy refuses the configuration")?;
    }
    Ok(())
}

#[test]
fn envoy_refuses_requests_types_of_connections_and_says_nothing_the_other_way_round() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("identity-authz.json");
    fs::write(&file, watched("http")?.to_string())?;
    let of_requests = bootstrap("http", &discovered(&file, &[type_url("network")], None));
    let refusal = start(&of_requests, folder.path()).err().context("Envoy takes it")?.to_string();
    ensure!(refusal.contains("no factory found for a required type URL"), "{refusal}");
    ensure_found(&[("envoy.yaml", &of_requests)], "Envoy refuses the listener")?;

    let of_connections = bootstrap("network", &discovered(&file, &[type_url("http")], None));
    let envoy = start(&of_connections, folder.path())?;
    wait_for_refusal(&envoy, "network_filter")?;
    ensure!(Client::plaintext(envoy.listener("shop")?).send(GET).is_err(), "a connection is served");
    ensure_found(&[("envoy.yaml", &of_connections)], "Envoy refuses whatever the file has, and closes every connection")
}

#[test]
fn a_watched_file_of_the_other_layer_leaves_what_was_there() -> Result<()> {
    let allows = json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"});
    let rbac = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC".to_owned();
    for (list, own, default, status, stays) in [
        ("http", "network", None, Some(500), "the filter stays without a configuration"),
        ("http", "network", Some(&allows), Some(200), "its default_config stays in place, whatever that lets through"),
        ("network", "http", None, None, "the filter stays without a configuration"),
    ] {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("identity-authz.json");
        let content = watched(own)?;
        fs::write(&file, content.to_string())?;
        let urls = if default.is_some() { vec![type_url(list), rbac.clone()] } else { vec![type_url(list)] };
        let bootstrap = bootstrap(list, &discovered(&file, &urls, default));
        let envoy = start(&bootstrap, folder.path())?;
        wait_for_refusal(&envoy, &format!("{list}_filter"))?;
        let answer = Client::plaintext(envoy.listener("shop")?).send(GET).ok().map(|answer| answer.status);
        ensure!(answer == status, "{list}: {answer:?}, expected {status:?}");
        ensure_found(&[("envoy.json", &bootstrap), ("identity-authz.json", &content)], stays)?;
    }
    Ok(())
}

/// Waits until Envoy has refused the watched file.
fn wait_for_refusal(envoy: &Envoy, kind: &str) -> Result<()> {
    let name = format!("extension_config_discovery.{kind}.sallyport.identity_authz.update_rejected");
    wait::until("Envoy to refuse the file", LIMIT, || Ok((envoy.stat(&name)? > 0).then_some(())))
}
