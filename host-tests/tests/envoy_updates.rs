//! How a real Envoy takes configurations, good and bad: at its start and while it serves.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};
use testbed::{CertificateAuthority, Client, Configuration, Envoy, Identity, Options, SubjectAltName, wait};

const LIMIT: Duration = Duration::from_secs(30);

fn filter(configuration: &Value) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": testbed::wasm_plugin(
            "identity_authz", "identity_authz", &testbed::filter_path("identity-authz"), configuration
        )
    })
}

fn structure(configuration: &Value) -> Value {
    json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": configuration})
}

/// A plaintext listener with these HTTP filters before the router.
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

fn paths(paths: &[&str]) -> Value {
    json!({"resources": [{
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "paths", "namespace": "shop"},
        "spec": {"rules": [{"to": [{"operation": {"paths": paths}}]}]}
    }]})
}

#[test]
fn envoy_does_not_start_with_a_configuration_that_is_refused() -> Result<()> {
    let rows = [
        (
            r#"{"resource": [], "resources": [], "defaultAction": "DENY"}"#,
            "resource: unknown field, did you mean \"resources\"?",
        ),
        (
            r#"{"resources": [{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "p", "namespace": "n"}, "spec": {"rules": [{"from": [{"source": {"principals": ["Cluster.local/x"]}}]}]}}]}"#,
            "resources[0].spec.rules[0].from[0].source.principals[0]: bad principal `Cluster.local/x`: trust domains are lower-case, write `cluster.local/x`",
        ),
        (
            r#"{"resources": [{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "p", "namespace": "n"}, "spec": {"rules": [{"from": []}]}}]}"#,
            "resources[0].spec.rules[0].from: empty list, add a value, or remove the key to mean any source",
        ),
        (r#"{"resources": }"#, "the configuration is not valid JSON: expected value at line 1 column 15"),
    ];
    for (configuration, line) in rows {
        let folder = tempfile::tempdir()?;
        let Err(error) = start(
            folder.path(),
            &[json!({"name": "filter", "typed_config": filter(&testbed::string_value(configuration))})],
        ) else {
            bail!("Envoy started with {configuration}");
        };
        let error = format!("{error:#}");
        ensure!(error.contains("Envoy ended with exit status: 1"), "{error}");
        ensure!(error.contains(line), "{line} is not in:\n{error}");
    }
    Ok(())
}

#[test]
fn a_struct_and_a_string_mean_the_same() -> Result<()> {
    for configuration in [structure(&paths(&["/a"])), testbed::string_value(&paths(&["/a"]).to_string())] {
        let folder = tempfile::tempdir()?;
        let envoy = start(folder.path(), &[json!({"name": "filter", "typed_config": filter(&configuration)})])?;
        let client = Client::plaintext(envoy.listener("ingress")?);
        ensure!((client.get("/a")?.status, client.get("/b")?.status) == (200, 403), "{configuration}");
    }
    Ok(())
}

/// Writes a discovery file and moves it into place, as Envoy watches for.
fn discover(folder: &Path, configuration: &Value) -> Result<()> {
    let resource = json!({
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": "sallyport.identity_authz",
        "typed_config": filter(configuration)
    });
    let new = folder.join("filter.json.new");
    fs::write(&new, serde_json::to_vec(&json!({"resources": [resource]}))?)?;
    Ok(fs::rename(new, folder.join("filter.json"))?)
}

#[test]
fn a_bad_update_is_rejected_and_the_old_policy_serves_on() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let watched = folder.path().join("watched");
    fs::create_dir(&watched)?;
    discover(&watched, &structure(&paths(&["/a"])))?;
    let discovered = json!({"name": "sallyport.identity_authz", "config_discovery": {
        "config_source": {
            "resource_api_version": "V3",
            "path_config_source": {"path": watched.join("filter.json"), "watched_directory": {"path": watched}}
        },
        "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"]
    }});
    let envoy = start(folder.path(), &[discovered])?;
    let client = Client::plaintext(envoy.listener("ingress")?);
    let answers = || -> Result<[u16; 2]> { Ok([client.get("/a")?.status, client.get("/b")?.status]) };
    ensure!(answers()? == [200, 403], "{:?}", answers()?);

    let rejected = "extension_config_discovery.http_filter.sallyport.identity_authz.update_rejected";
    let rejections = || -> Result<u64> {
        let page = envoy.admin_get("/stats")?;
        let line = page.lines().find(|line| line.contains("sallyport.identity_authz") && line.contains("config_fail"));
        Ok(envoy.stat(rejected)?.max(line.and_then(|line| line.split_once(": ")?.1.parse().ok()).unwrap_or(0)))
    };
    discover(&watched, &structure(&json!({"resources": [], "defaultAction": "ALOW"})))?;
    wait::until("the update to be rejected", LIMIT, || Ok((rejections()? > 0).then_some(())))?;
    ensure!(envoy.log()?.contains("defaultAction: unknown value `ALOW`, did you mean \"ALLOW\"?"), "{}", envoy.log()?);
    ensure!(answers()? == [200, 403], "{:?} after a bad update", answers()?);

    discover(&watched, &structure(&paths(&["/b"])))?;
    wait::until("the new policy to serve", LIMIT, || Ok((answers()? == [403, 200]).then_some(())))
}

/// A certificate, and the TLS of a listener that asks for one.
fn tls(folder: &Path, resumption: bool) -> Result<(Identity, Value)> {
    let authority = CertificateAuthority::new("authority")?;
    fs::write(folder.join("trusted.pem"), authority.pem())?;
    authority.issue(&[SubjectAltName::Dns("localhost".to_owned())])?.write(folder, "server")?;
    let client = authority.issue(&[SubjectAltName::Uri("spiffe://cluster.local/ns/shop/sa/web".to_owned())])?;
    let socket = json!({"name": "tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": true,
        "disable_stateless_session_resumption": !resumption,
        "disable_stateful_session_resumption": !resumption,
        "common_tls_context": testbed::common_tls_context(folder)
    }});
    Ok((client, socket))
}

#[test]
fn a_resumed_session_never_walks_past_a_deny() -> Result<()> {
    let policy = |action: &str, principal: &str| {
        json!({"defaultAction": "ALLOW", "resources": [{
            "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "p", "namespace": "shop"},
            "spec": {"action": action, "rules": [{"from": [{"source": {"principals": [principal]}}]}]}
        }]})
    };
    let deny_web = policy("DENY", "cluster.local/ns/shop/sa/web");
    let allow_web = policy("ALLOW", "cluster.local/ns/shop/sa/web");
    // With resumption Envoy 1.40 no longer knows of a resumed session whether its certificate was validated.
    for (resumption, configuration, answers) in [
        (true, &deny_web, [403, 403]),
        (true, &allow_web, [200, 403]),
        (false, &deny_web, [403, 403]),
        (false, &allow_web, [200, 200]),
    ] {
        let folder = tempfile::tempdir()?;
        let (client, socket) = tls(folder.path(), resumption)?;
        testbed::build_filters()?;
        let mut bootstrap = bootstrap(&[json!({"name": "filter", "typed_config": filter(&structure(configuration))})]);
        if let Some(Value::Object(chain)) = bootstrap.pointer_mut("/static_resources/listeners/0/filter_chains/0") {
            chain.insert("transport_socket".to_owned(), socket);
        }
        let options =
            Options { binary: testbed::envoy_binary()?, folder: folder.path().to_owned(), workers: 1, detached: false };
        let envoy = Envoy::start(&Configuration::new(bootstrap), &options)?;
        let client = Client::tls(envoy.listener("ingress")?, Some(&client))?;
        let found = [client.get("/")?.status, client.get("/")?.status];
        ensure!(found == answers, "resumption {resumption}: {found:?}, expected {answers:?}");
        let resumed = envoy.stat("listener.127.0.0.1_0.ssl.session_reused")?;
        ensure!((resumed > 0) == resumption, "resumption {resumption}, and {resumed} sessions were");
    }
    Ok(())
}

#[test]
fn among_network_filters_an_http_filter_lets_nothing_through() -> Result<()> {
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
