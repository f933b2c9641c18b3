//! Each further place: files for extension discovery, resources for Kubernetes, and rules for outside hosts.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::{Client, ReservedPort, TlsServer, read_yaml, string_value, wait, wasm_plugin};

use crate::fixture::{Shop, output, plaintext};

const WORKLOAD: [&str; 2] = ["--workload", "shop/app=orders,version=v2"];
const HTTP_WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
const LIMIT: Duration = Duration::from_secs(30);

/// A policy that lets everyone reach one path of all workloads of the shop.
fn open(path: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: open, namespace: shop}}\nspec: {{rules: [{{to: [{{operation: {{paths: [{path}]}}}}]}}]}}\n"
    )
}

fn get(client: &Client, path: &str, host: &str, headers: &str) -> Result<u16> {
    Ok(client.send(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n").as_bytes())?.status)
}

/// An HTTP filter whose configuration Envoy reads from a file of a folder.
fn discovered(name: &str, folder: &Path, file: &str, type_url: &str) -> Value {
    json!({"name": name, "config_discovery": {
        "config_source": {"resource_api_version": "V3", "path_config_source": {
            "path": folder.join(file), "watched_directory": {"path": folder}
        }},
        "type_urls": [type_url]
    }})
}

#[test]
fn files_for_extension_discovery_are_read_and_read_again() -> Result<()> {
    let shop = Shop::new()?;
    shop.write("open.yaml", &open("/health"))?;
    let run = shop.path("run");
    let config = shop.path("sallyport.yaml");
    fs::write(&config, "identityAuthz: {}\nbaselineDeny: {presets: [scanners]}\n")?;
    let render = || {
        let mut command = shop.command("ecds");
        output(command.args(WORKLOAD).arg("--config").arg(&config).arg("--output").arg(&run).arg(shop.policies()))
    };
    render()?;
    let jwt_authn = "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication";
    let filters = json!([
        discovered("sallyport.jwt_authn", &run, "jwt-authn.yaml", jwt_authn),
        discovered("sallyport.baseline_deny", &run, "baseline-deny.yaml", HTTP_WASM),
        discovered("sallyport.identity_authz", &run, "identity-authz.yaml", HTTP_WASM),
    ]);
    let envoy = shop.start(plaintext(&filters, shop.service.address(), true))?;
    let client = Client::plaintext(envoy.listener("ingress")?);
    wait::until("the filters", LIMIT, || Ok((get(&client, "/health", "orders", "")? == 200).then_some(())))?;
    for (path, headers, expected) in [
        ("/stock", "", 403),
        ("/health", "user-agent: sqlmap/1.8\r\n", 403),
        ("/health", "authorization: Bearer x\r\n", 401),
    ] {
        let status = get(&client, path, "orders", headers)?;
        ensure!(status == expected, "{path} {headers}: {status}");
    }
    shop.write("open.yaml", &open("/stock"))?;
    render()?;
    wait::until("the change", LIMIT, || Ok((get(&client, "/stock", "orders", "")? == 200).then_some(())))?;
    ensure!(get(&client, "/health", "orders", "")? == 403);
    Ok(())
}

/// Istio and Envoy Gateway hand the configuration of a plugin over as JSON.
#[test]
fn configurations_inside_kubernetes_resources_decide() -> Result<()> {
    let shop = Shop::new()?;
    shop.write("open.yaml", &open("/health"))?;
    fs::remove_file(shop.policies().join("login.json"))?;
    let gateway = ["--workload", "shop/app=orders,version=v2", "--gateway", "edge"];
    for (place, flags, configuration) in [
        ("wasmplugin", &WORKLOAD[..], "/spec/pluginConfig"),
        ("trafficextension", &WORKLOAD, "/spec/wasm/pluginConfig"),
        ("envoy-gateway", &gateway, "/spec/wasm/0/config"),
    ] {
        let mut command = shop.command(place);
        let text =
            output(command.args(flags).args(["--image", "registry.shop.example/identity-authz"]).arg(shop.policies()))?;
        let resource = read_yaml(&text)?;
        let configuration = resource.pointer(configuration).with_context(|| format!("{place}: {text}"))?;
        let module = testbed::filter_path("identity-authz");
        let plugin = wasm_plugin("identity_authz", "test", &module, &string_value(&configuration.to_string()));
        let filters = json!([{"name": "identity", "typed_config": {"@type": HTTP_WASM, "config": plugin}}]);
        let envoy = shop.start(plaintext(&filters, shop.service.address(), true))?;
        let client = Client::plaintext(envoy.listener("ingress")?);
        for (path, expected) in [("/health", 200), ("/stock", 403)] {
            let status = get(&client, path, "orders", "")?;
            ensure!(status == expected, "{place} {path}: {status}");
        }
    }
    Ok(())
}

/// Rules of the configuration file and a ServiceEntry, of which the latter lets a namespace out alone.
fn egress_files(shop: &Shop) -> Result<[std::path::PathBuf; 2]> {
    let (config, entry) = (shop.path("sallyport.yaml"), shop.path("entry.yaml"));
    fs::write(
        &config,
        "egressAllowlist: {rules: [{name: api, hosts: [api.example], ports: [80, 443]}], serviceEntryExport: all}\n",
    )?;
    fs::write(
        &entry,
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: mail, namespace: shop}\nspec: {hosts: [mail.example], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}\n",
    )?;
    Ok([config, entry])
}

#[test]
fn rules_for_outside_hosts_decide_about_requests() -> Result<()> {
    let shop = Shop::new()?;
    let files = egress_files(&shop)?;
    let filters = output(shop.command("envoy-filter").args(&files))?;
    let envoy = shop.start(plaintext(&read_yaml(&filters)?, shop.service.address(), true))?;
    let client = Client::plaintext(envoy.listener("ingress")?);
    for (host, expected) in
        [("api.example", 200), ("mail.example", 200), ("evil.example", 403), ("mail.example:8080", 403)]
    {
        let status = get(&client, "/", host, "")?;
        ensure!(status == expected, "{host}: {status}");
    }
    Ok(())
}

#[test]
fn rules_for_outside_hosts_decide_about_tls_that_passes_through() -> Result<()> {
    let shop = Shop::new()?;
    let files = egress_files(&shop)?;
    // The port of the destination is the listener's.
    let port = ReservedPort::new()?;
    let config = fs::read_to_string(&files[0])?;
    fs::write(&files[0], config.replace("ports: [80, 443]", &format!("ports: [{}]", port.number())))?;
    let filters = output(shop.command("envoy-filter").args(["--layer", "tcp"]).args(&files))?;
    let server = TlsServer::start(&shop.server_identity()?)?;
    let mut bootstrap = plaintext(&read_yaml(&filters)?, server.address(), false);
    let listener = bootstrap.pointer_mut("/static_resources/listeners/0").context("no listener")?;
    listener["address"]["socket_address"]["port_value"] = json!(port.number());
    listener["listener_filters"] = json!([{"name": "tls_inspector", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
    }}]);
    let envoy = shop.start(bootstrap)?;
    let client = Client::tls(envoy.listener("ingress")?, None)?;
    ensure!(client.clone().with_sni(Some("api.example")).get("/")?.status == 200);
    for name in [Some("evil.example"), None] {
        ensure!(client.clone().with_sni(name).get("/").is_err(), "{name:?} passed");
    }
    Ok(())
}
