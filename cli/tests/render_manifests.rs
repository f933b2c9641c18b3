//! The plugins in `envoy-config/kubernetes` are what `sallyport render` writes of their policies.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// The plugins of a manifest, and the place and workload to render them for.
struct Row {
    file: &'static str,
    kind: &'static str,
    flags: &'static [&'static str],
}

const ROWS: &[Row] = &[
    Row { file: "istio-sidecar", kind: "WasmPlugin", flags: &["--for", "wasmplugin", "--workload", "shop/app=orders"] },
    Row {
        file: "istio-sidecar-trafficextension",
        kind: "TrafficExtension",
        flags: &["--for", "trafficextension", "--workload", "shop/app=orders"],
    },
    Row {
        file: "istio-gateway",
        kind: "WasmPlugin",
        flags: &["--for", "wasmplugin", "--workload", "shop", "--gateway", "edge"],
    },
    Row {
        file: "istio-waypoint",
        kind: "WasmPlugin",
        flags: &["--for", "wasmplugin", "--workload", "shop", "--service", "orders"],
    },
    Row {
        file: "istio-layer4",
        kind: "WasmPlugin",
        flags: &["--for", "wasmplugin", "--workload", "shop/app=ledger", "--layer", "tcp"],
    },
    Row {
        file: "istio-egress-gateway",
        kind: "WasmPlugin",
        flags: &["--for", "wasmplugin", "--workload", "istio-egress/istio=egressgateway"],
    },
    Row {
        file: "envoy-gateway",
        kind: "EnvoyExtensionPolicy",
        flags: &["--for", "envoy-gateway", "--workload", "shop", "--gateway", "edge"],
    },
];

/// The documents of a file.
fn documents(text: &str) -> Result<Vec<Value>> {
    text.split("\n---\n").map(testbed::read_yaml).collect()
}

/// The key of a filter in a configuration file, of the name of its image.
fn key(url: &str) -> Result<&'static str> {
    let name = url.rsplit('/').next().and_then(|name| name.split('@').next());
    match name {
        Some("identity-authz") => Ok("identityAuthz"),
        Some("baseline-deny") => Ok("baselineDeny"),
        Some("egress-allowlist") => Ok("egressAllowlist"),
        _ => anyhow::bail!("{url} is no filter"),
    }
}

/// The image and the configuration of each filter in a resource.
fn plugins(resource: &Value) -> Result<Vec<(&str, &Value)>> {
    let spec = resource.get("spec").context("no spec")?;
    let of_istio = [Some(spec), spec.get("wasm")].into_iter().flatten();
    let mut found: Vec<_> = of_istio.filter_map(|plugin| plugin.get("url").zip(plugin.get("pluginConfig"))).collect();
    let of_gateway = spec.get("wasm").and_then(Value::as_array).into_iter().flatten();
    found.extend(of_gateway.filter_map(|plugin| plugin.pointer("/code/image/url").zip(plugin.get("config"))));
    found.into_iter().map(|(url, plugin)| Ok((url.as_str().context("no url")?, plugin))).collect()
}

/// Renders the policies of resources, and returns what is written.
fn render(row: &Row, resources: &[Value]) -> Result<Vec<Value>> {
    let folder = tempfile::tempdir()?;
    let (mut settings, mut policies) = (serde_json::Map::new(), Vec::new());
    let mut image = String::new();
    let plugins = resources.iter().map(plugins).collect::<Result<Vec<_>>>()?.concat();
    for (url, configuration) in &plugins {
        let mut configuration = configuration.as_object().context("no configuration")?.clone();
        if let Some(Value::Array(resources)) = configuration.remove("resources") {
            policies.extend(resources);
        }
        configuration.remove("workload");
        settings.insert(key(url)?.to_owned(), Value::Object(configuration));
        url.strip_prefix("oci://").unwrap_or(url).clone_into(&mut image);
    }
    if plugins.len() > 1 {
        image = image.rsplit_once('/').context("no repository")?.0.to_owned();
    }
    let (config, file) = (folder.path().join("config.yaml"), folder.path().join("policies.json"));
    fs::write(&config, Value::Object(settings).to_string())?;
    fs::write(&file, json!({"apiVersion": "v1", "kind": "List", "items": policies}).to_string())?;
    let output = Command::new(env!("CARGO_BIN_EXE_sallyport"))
        .arg("render")
        .args(row.flags)
        .args(["--image", &image, "--config"])
        .args([&config, &file])
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    documents(&String::from_utf8(output.stdout)?)
}

/// Takes digests away: several images of one repository are rendered without.
fn without_digests(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some((image, _)) = text.split_once("@sha256:") {
                *text = image.to_owned();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(without_digests),
        Value::Object(entries) => entries.values_mut().for_each(without_digests),
        _ => {}
    }
}

#[test]
fn the_plugins_of_the_manifests_are_what_render_writes() -> Result<()> {
    let mut compared = 0;
    let folder = testbed::root().join("envoy-config/kubernetes");
    for row in ROWS {
        let mut written = documents(&fs::read_to_string(folder.join(format!("{}.yaml", row.file)))?)?;
        written.retain(|resource| resource.get("kind") == Some(&json!(row.kind)));
        let mut rendered = render(row, &written).with_context(|| row.file)?;
        for all in [&mut written, &mut rendered] {
            all.iter_mut().for_each(without_digests);
            all.sort_by_key(|one| one.pointer("/metadata/name").map(Value::to_string));
        }
        for (written, rendered) in written.iter().zip(&rendered) {
            ensure!(written == rendered, "{}: {written}\nbut render writes\n{rendered}", row.file);
        }
        ensure!(written.len() == rendered.len(), "{}: {} plugins", row.file, rendered.len());
        compared += written.len();
    }
    let mut all = 0;
    for entry in fs::read_dir(&folder)? {
        let text = fs::read_to_string(entry?.path())?;
        all += ["kind: WasmPlugin", "kind: TrafficExtension", "kind: EnvoyExtensionPolicy"]
            .iter()
            .map(|kind| text.lines().filter(|line| line == kind).count())
            .sum::<usize>();
    }
    ensure!(compared == all, "{compared} of {all} plugins are compared");
    Ok(())
}
