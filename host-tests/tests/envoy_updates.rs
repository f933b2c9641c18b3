//! Configurations in a real Envoy, good and bad: at its start and while it serves.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use host_tests::policy::{self, authorization_policy, single_policy};
use host_tests::rows;
use serde_json::{Value, json};
use testbed::{Client, Configuration, Envoy, Options, wait};

const LIMIT: Duration = Duration::from_secs(30);

fn filter(configuration: &Value) -> Value {
    filter_of(&testbed::filter_path("identity-authz"), configuration)
}

fn filter_of(module: &Path, configuration: &Value) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": testbed::wasm_plugin("identity_authz", "identity_authz", module, configuration)
    })
}

/// Wraps a configuration as a `google.protobuf.Struct`.
fn structure(configuration: &Value) -> Value {
    json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": configuration})
}

/// Returns a bootstrap with a plaintext listener that has these HTTP filters before the router.
fn bootstrap(filters: &[Value]) -> Value {
    let router = json!({"name": "router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}});
    let filters: Vec<_> = filters.iter().chain([&router]).collect();
    json!({
        "node": {"id": "test", "cluster": "test"},
        "static_resources": {"listeners": [{
            "name": "ingress",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
            "filter_chains": [{"filters": [{"name": "http", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "ingress",
                "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{
                    "match": {"prefix": "/"}, "direct_response": {"status": 200}
                }]}]},
                "http_filters": filters
            }}]}]
        }]}
    })
}

fn start(folder: &Path, filters: &[Value]) -> Result<Envoy> {
    testbed::build_filters()?;
    let options = Options { binary: testbed::envoy_binary()?, folder: folder.to_owned(), workers: 2, detached: false };
    Envoy::start(&Configuration::new(bootstrap(filters)), &options)
}

/// Returns a configuration that allows these paths alone.
fn paths(paths: &[&str]) -> Result<Value> {
    let policy =
        authorization_policy("paths", &format!("rules: [{{to: [{{operation: {{paths: [{}]}}}}]}}]", paths.join(", ")))?;
    Ok(json!({"resources": [policy]}))
}

/// Returns the list of HTTP filters with `identity-authz` alone.
fn only_filter(configuration: &Value) -> [Value; 1] {
    [json!({"name": "filter", "typed_config": filter(configuration)})]
}

rows! {
    envoy_does_not_start_with_a_configuration_that_is_refused: check_refused;
    an_unknown_key:
        &policy::configuration("{resource: [], resources: [], defaultAction: DENY}")?,
        "resource: unknown field, did you mean \"resources\"?";
    a_bad_principal:
        &single_policy("rules: [{from: [{source: {principals: [Cluster.local/x]}}]}]")?,
        "resources[0].spec.rules[0].from[0].source.principals[0]: bad principal `Cluster.local/x`: \
         trust domains are lower-case, write `cluster.local/x`";
    an_empty_list:
        &single_policy("rules: [{from: []}]")?,
        "resources[0].spec.rules[0].from: empty list, add a value, or remove the key to mean any source";
    malformed_json:
        r#"{"resources": }"#,
        "the configuration is not valid JSON: expected value at line 1 column 15";
}

fn check_refused(configuration: &str, line: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let Err(error) = start(folder.path(), &only_filter(&testbed::string_value(configuration))) else {
        bail!("Envoy started with {configuration}");
    };
    let error = format!("{error:#}");
    ensure!(error.contains("Envoy exited with exit status: 1"), "{error}");
    ensure!(error.contains(line), "{line} is not in:\n{error}");
    Ok(())
}

rows! {
    a_struct_and_a_string_mean_the_same: check_encoding;
    a_struct: structure(&paths(&["/a"])?);
    a_string: testbed::string_value(&paths(&["/a"])?.to_string());
}

fn check_encoding(configuration: Value) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let envoy = start(folder.path(), &only_filter(&configuration))?;
    let client = Client::plaintext(envoy.listener("ingress")?);
    ensure!((client.get("/a")?.status, client.get("/b")?.status) == (200, 403));
    Ok(())
}

/// Writes a discovery file with this filter and moves it into place: Envoy watches for moves.
fn discover(folder: &Path, filter: Value) -> Result<()> {
    let resource = json!({
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": "sallyport.identity_authz",
        "typed_config": filter
    });
    let new = folder.join("filter.json.new");
    fs::write(&new, serde_json::to_vec(&json!({"resources": [resource]}))?)?;
    Ok(fs::rename(new, folder.join("filter.json"))?)
}

/// Returns the entry of a filter that Envoy reads from the discovery file of a folder.
fn discovered(folder: &Path) -> Value {
    json!({"name": "sallyport.identity_authz", "config_discovery": {
        "config_source": {
            "resource_api_version": "V3",
            "path_config_source": {"path": folder.join("filter.json"), "watched_directory": {"path": folder}}
        },
        "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"]
    }})
}

/// Returns the module with another version in its load line.
fn another_version(mut module: Vec<u8>) -> Result<Vec<u8>> {
    let version = env!("CARGO_PKG_VERSION");
    let found = |bytes: &[u8]| bytes.windows(version.len()).position(|window| window == version.as_bytes());
    let at = found(&module).context("the module does not name its version")?;
    module.iter_mut().skip(at).take(version.len()).for_each(|byte| *byte = b'9');
    ensure!(found(&module).is_none(), "the module names its version twice");
    Ok(module)
}

#[test]
fn a_module_under_a_new_name_is_loaded_and_one_under_the_old_name_is_not() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let watched = folder.path().join("watched");
    fs::create_dir(&watched)?;
    testbed::build_filters()?;
    let module = fs::read(testbed::filter_path("identity-authz"))?;
    let [old, new] = ["old.wasm", "new.wasm"].map(|name| folder.path().join(name));
    fs::write(&old, &module)?;
    let policy = structure(&paths(&["/a"])?);
    discover(&watched, filter_of(&old, &policy))?;
    let envoy = start(folder.path(), &[discovered(&watched)])?;
    let client = Client::plaintext(envoy.listener("ingress")?);
    let upgraded = "9".repeat(env!("CARGO_PKG_VERSION").len());
    let loads = |version: &str| Ok::<_, anyhow::Error>(envoy.log()?.matches(&format!("sallyport {version} (")).count());
    ensure!(loads(env!("CARGO_PKG_VERSION"))? > 0, "{}", envoy.log()?);

    let changed = another_version(module)?;
    fs::write(&old, &changed)?;
    let stat =
        |name: &str| envoy.stat(&format!("extension_config_discovery.http_filter.sallyport.identity_authz.{name}"));
    let before = stat("update_success")?;
    discover(&watched, filter_of(&old, &policy))?;
    wait::until("the file to be read", LIMIT, || Ok((stat("update_success")? > before).then_some(())))?;
    ensure!(loads(&upgraded)? == 0, "a new file under the old name was loaded");

    fs::write(&new, &changed)?;
    discover(&watched, filter_of(&new, &policy))?;
    // The main thread and two workers.
    wait::until("the new module to be loaded", LIMIT, || Ok((loads(&upgraded)? >= 3).then_some(())))?;
    ensure!((client.get("/a")?.status, client.get("/b")?.status) == (200, 403));

    // With the next change of a policy the file under the old name is what it is by then.
    discover(&watched, filter_of(&old, &structure(&paths(&["/b"])?)))?;
    wait::until("the changed module to be loaded", LIMIT, || Ok((loads(&upgraded)? >= 6).then_some(())))?;
    wait::until("the changed policy", LIMIT, || Ok((client.get("/b")?.status == 200).then_some(())))?;
    Ok(())
}

#[test]
fn a_bad_update_is_rejected_and_the_old_policy_serves_on() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let watched = folder.path().join("watched");
    fs::create_dir(&watched)?;
    discover(&watched, filter(&structure(&paths(&["/a"])?)))?;
    let envoy = start(folder.path(), &[discovered(&watched)])?;
    let client = Client::plaintext(envoy.listener("ingress")?);
    let answers = || -> Result<[u16; 2]> { Ok([client.get("/a")?.status, client.get("/b")?.status]) };
    ensure!(answers()? == [200, 403], "{:?}", answers()?);

    let rejected = "extension_config_discovery.http_filter.sallyport.identity_authz.update_rejected";
    let rejections = || -> Result<u64> {
        let page = envoy.admin_get("/stats")?;
        let line = page.lines().find(|line| line.contains("sallyport.identity_authz") && line.contains("config_fail"));
        Ok(envoy.stat(rejected)?.max(line.and_then(|line| line.split_once(": ")?.1.parse().ok()).unwrap_or(0)))
    };
    discover(&watched, filter(&structure(&json!({"resources": [], "defaultAction": "ALOW"}))))?;
    wait::until("the update to be rejected", LIMIT, || Ok((rejections()? > 0).then_some(())))?;
    ensure!(envoy.log()?.contains("defaultAction: unknown value `ALOW`, did you mean \"ALLOW\"?"), "{}", envoy.log()?);
    ensure!(answers()? == [200, 403], "{:?} after a bad update", answers()?);

    discover(&watched, filter(&structure(&paths(&["/b"])?)))?;
    wait::until("the new policy to serve", LIMIT, || Ok((answers()? == [403, 200]).then_some(())))
}

#[test]
fn an_http_filter_among_network_filters_closes_every_connection() -> Result<()> {
    testbed::build_filters()?;
    let folder = tempfile::tempdir()?;
    let mut configuration = filter(&structure(&json!({"presets": ["scanners"]})));
    if let Some(code) = configuration.pointer_mut("/config/vm_config/code/local/filename") {
        *code = json!(testbed::filter_path("baseline-deny"));
    }
    let mut bootstrap = bootstrap(&[]);
    let network = "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm";
    let before = json!({"name": "wasm", "typed_config": {"@type": network, "config": configuration.get("config")}});
    if let Some(Value::Array(filters)) = bootstrap.pointer_mut("/static_resources/listeners/0/filter_chains/0/filters")
    {
        filters.insert(0, before);
    }
    let options =
        Options { binary: testbed::envoy_binary()?, folder: folder.path().to_owned(), workers: 1, detached: false };
    let envoy = Envoy::start(&Configuration::new(bootstrap), &options)?;
    let answer = Client::plaintext(envoy.listener("ingress")?).get("/");
    ensure!(answer.is_err(), "{answer:?}");
    ensure!(
        envoy.log()?.contains("this filter is for HTTP, put it into http_filters; a connection was closed"),
        "{}",
        envoy.log()?
    );
    Ok(())
}
