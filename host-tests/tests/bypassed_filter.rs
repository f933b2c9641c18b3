//! Settings of Envoy that take a filter out of a request's way, and the sign that each leaves: requests that Envoy counts
//! and the filter does not.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{Client, Configuration, Envoy, Options, wait};

const LIMIT: std::time::Duration = std::time::Duration::from_secs(30);

const PLAIN: &[u8] = b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n";
const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

/// A listener's connection manager in which `identity-authz` denies every request.
fn manager() -> Value {
    let configuration = json!({"defaultAction": "DENY", "resources": []}).to_string();
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "ingress",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
        ]}]},
        "http_filters": [
            {"name": "sallyport.identity_authz", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                "config": testbed::wasm_plugin(
                    "identity_authz", "identity_authz", &testbed::filter_path("identity-authz"),
                    &testbed::string_value(&configuration)
                )
            }},
            router()
        ]
    })
}

fn router() -> Value {
    json!({"name": "router", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
    }})
}

fn start(manager: &Value) -> Result<(Envoy, TempDir)> {
    testbed::build_filters()?;
    let folder = tempfile::tempdir()?;
    let bootstrap = json!({"node": {"id": "test", "cluster": "test"}, "static_resources": {"listeners": [{
        "name": "ingress",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]
    }]}});
    let options =
        Options { binary: testbed::envoy_binary()?, folder: folder.path().to_owned(), workers: 1, detached: false };
    Ok((Envoy::start(&Configuration::new(bootstrap), &options)?, folder))
}

/// Fails unless a request passes the filter, unseen: Envoy counts it, and the filter only the one that it denies.
fn ensure_unseen(manager: &Value, request: &[u8]) -> Result<()> {
    let (envoy, _folder) = start(manager)?;
    let client = Client::plaintext(envoy.listener("ingress")?);
    let status = client.send(request)?.status;
    ensure!(status == 200, "the filter still denies: {status}");
    wait::until("Envoy to count", LIMIT, || Ok((envoy.stat("http.ingress.downstream_rq_2xx")? == 1).then_some(())))?;
    for counter in ["allowed", "denied", "would_deny"] {
        let count = envoy.stat(&format!("wasmcustom.sallyport.identity_authz.{counter}"))?;
        ensure!(count == 0, "{counter} counts {count}");
    }
    Ok(())
}

/// Changes a part of the connection manager.
fn with(pointer: &str, key: &str, value: Value) -> Result<Value> {
    let mut manager = manager();
    let part = manager.pointer_mut(pointer).and_then(Value::as_object_mut).context("no such part")?;
    part.insert(key.to_owned(), value);
    Ok(manager)
}

#[test]
fn a_filter_that_nothing_bypasses_denies_every_request() -> Result<()> {
    let (envoy, _folder) = start(&with("", "upgrade_configs", json!([{"upgrade_type": "websocket"}]))?)?;
    let client = Client::plaintext(envoy.listener("ingress")?);
    for request in [PLAIN, UPGRADE] {
        let status = client.send(request)?.status;
        ensure!(status == 403, "{status}");
    }
    Ok(())
}

#[test]
fn typed_per_filter_config_can_disable_the_filter_on_a_route() -> Result<()> {
    let disabled = json!({"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true});
    let per_filter = json!({"sallyport.identity_authz": disabled});
    for place in ["/route_config", "/route_config/virtual_hosts/0", "/route_config/virtual_hosts/0/routes/0"] {
        ensure_unseen(&with(place, "typed_per_filter_config", per_filter.clone())?, PLAIN)
            .with_context(|| place.to_owned())?;
    }
    Ok(())
}

#[test]
fn disabled_switches_the_filter_off() -> Result<()> {
    ensure_unseen(&with("/http_filters/0", "disabled", json!(true))?, PLAIN)
}

#[test]
fn upgrade_configs_can_have_filters_of_their_own() -> Result<()> {
    ensure_unseen(&with("", "upgrade_configs", json!([{"upgrade_type": "websocket", "filters": [router()]}]))?, UPGRADE)
}

/// A connection manager that reads the filter from a file, which is not there yet.
fn discovered(default: Option<Value>) -> Result<Value> {
    let mut discovery = json!({
        "config_source": {
            "resource_api_version": "V3",
            "initial_fetch_timeout": "0.2s",
            "path_config_source": {"path": "/dev/null"}
        },
        "type_urls": [
            "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"
        ]
    });
    if let Some(default) = default {
        discovery.as_object_mut().context("no object")?.insert("default_config".to_owned(), default);
    }
    let mut manager = manager();
    *manager.pointer_mut("/http_filters/0").context("no filter")? =
        json!({"name": "sallyport.identity_authz", "config_discovery": discovery});
    Ok(manager)
}

#[test]
fn a_default_config_can_stand_in_for_the_filter() -> Result<()> {
    let allows = json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"});
    ensure_unseen(&discovered(Some(allows))?, PLAIN)?;
    let (envoy, _folder) = start(&discovered(None)?)?;
    let status = Client::plaintext(envoy.listener("ingress")?).send(PLAIN)?.status;
    ensure!(status == 500, "without one: {status}");
    let stats = envoy.admin_get("/stats")?;
    let sign = "extension_config_discovery.http_filter.sallyport.identity_authz.update_success: 0";
    ensure!(stats.contains(sign), "{stats}");
    Ok(())
}

#[test]
fn typed_per_filter_config_can_disable_the_authorizer_of_custom() -> Result<()> {
    let authorizer = json!({"name": "ext_authz", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher",
        "extension_config": {"name": "envoy.filters.http.ext_authz", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
            // There is no such cluster: every request is denied.
            "http_service": {"server_uri": {"uri": "http://authorizer", "cluster": "authorizer", "timeout": "0.2s"}}
        }},
        "xds_matcher": {"matcher_list": {"matchers": [{
            "predicate": {"single_predicate": {
                "input": {"name": "mark", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.FilterStateInput",
                    "key": "wasm.sallyport.identity_authz.custom"
                }},
                "value_match": {"exact": "none"}
            }},
            "on_match": {"action": {"name": "skip", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.common.matcher.action.v3.SkipFilter"
            }}}
        }]}}
    }});
    let mut manager = manager();
    *manager.pointer_mut("/http_filters/0").context("no filter")? = authorizer;
    let status = |manager: &Value| -> Result<u16> {
        let (envoy, _folder) = start(manager)?;
        Ok(Client::plaintext(envoy.listener("ingress")?).send(PLAIN)?.status)
    };
    let denied = status(&manager)?;
    ensure!(denied == 403, "the authorizer is asked where there is no mark: {denied}");
    let disabled = json!({"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true});
    let route = manager.pointer_mut("/route_config/virtual_hosts/0/routes/0").context("no route")?;
    route["typed_per_filter_config"] = json!({"ext_authz": disabled});
    let open = status(&manager)?;
    ensure!(open == 200, "the authorizer is asked: {open}");
    Ok(())
}
