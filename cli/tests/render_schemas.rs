//! Resources for Kubernetes, held against the schemas of their CustomResourceDefinitions where those are at hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// Reports whether a table of fields has a path, or opens what is above it.
fn has_field(fields: &[(String, Vec<String>)], path: &str) -> bool {
    fields.iter().any(|(field, _)| match field.strip_suffix("**") {
        Some(open) => path.starts_with(open) || format!("{path}.") == *open,
        None => field == path,
    })
}

/// Walks through a schema: each field with its words.
fn walk(schema: &Value, path: &str, found: &mut Vec<(String, Vec<String>)>) {
    for (key, value) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let mut within = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let mut value = value;
        while value.get("type") == Some(&json!("array")) {
            within.push_str("[]");
            value = value.get("items").unwrap_or(&Value::Null);
        }
        let words = value.get("enum").and_then(Value::as_array).into_iter().flatten();
        found.push((within.clone(), words.filter_map(Value::as_str).map(str::to_owned).collect()));
        walk(value, &within, found);
    }
}

/// `check` knows the fields of the kinds that carry filters from a table.
#[test]
fn the_fields_that_check_knows_are_those_of_the_definitions() -> Result<()> {
    let folder =
        std::env::var_os("CRD_SCHEMAS").map_or_else(|| testbed::root().join("../shared/schemas"), PathBuf::from);
    let table = fs::read_to_string(testbed::root().join("cli/analysis/src/lints/fields.txt"))?;
    let mut kinds = 0;
    for part in table.split("\n\n").skip(1) {
        let mut lines = part.lines();
        let (kind, group) = lines.next().and_then(|line| line.split_once(' ')).context("no kind")?;
        kinds += 1;
        let product = if group.ends_with("istio.io") { "istio" } else { "envoy-gateway" };
        let path = folder.join(format!("{product}-{kind}.yaml"));
        if !path.exists() {
            eprintln!("{} is not at hand, nothing is compared", path.display());
            continue;
        }
        let definition = testbed::read_yaml(&fs::read_to_string(&path)?)?;
        ensure!(definition.pointer("/spec/group") == Some(&json!(group)), "{kind} is not of {group}");
        let spec = definition.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").context("no spec")?;
        let mut defined = Vec::new();
        walk(spec, "", &mut defined);
        let known: Vec<(String, Vec<String>)> = lines
            .filter_map(|line| {
                let mut words = line.split_whitespace().map(str::to_owned);
                words.next().map(|field| (field, words.collect()))
            })
            .collect();
        for (field, words) in &known {
            let plain = field.trim_end_matches(".**");
            let of_schema = defined.iter().find(|(path, _)| path == plain);
            let (_, of_schema) = of_schema.with_context(|| format!("{kind} has no field {plain}"))?;
            ensure!(words.is_empty() || words == of_schema, "{kind} {field}: {words:?}, not {of_schema:?}");
        }
        for (field, words) in &defined {
            ensure!(has_field(&known, field), "the table lacks {kind} {field}");
            let is_closed = known.iter().any(|(path, listed)| path == field && (listed == words || words.is_empty()));
            ensure!(
                is_closed || !known.iter().any(|(path, _)| path == field),
                "{kind} {field} has the words {words:?}"
            );
        }
    }
    ensure!(kinds == 7, "{kinds} kinds");
    Ok(())
}

#[test]
fn resources_for_kubernetes_are_of_their_schemas() -> Result<()> {
    let image = "registry.shop.example/filters";
    let sidecar = ["--workload", "shop/app=orders,version=v2"];
    let gateway = ["--workload", "shop/gateway.networking.k8s.io/gateway-name=edge", "--gateway", "edge"];
    for (place, workload) in [
        ("wasmplugin", sidecar.as_slice()),
        ("wasmplugin", &gateway),
        ("trafficextension", &sidecar),
        ("trafficextension", &gateway),
        ("envoy-gateway", &gateway),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_sallyport"))
            .current_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/render"))
            .args(["render", "--for", place, "--image", image, "--config", "filters.yaml", "shop"])
            .args(workload)
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        for document in text.split("\n---\n") {
            let resource = testbed::read_yaml(document).context("no YAML")?;
            let faults = testbed::schema_faults(&resource)?.unwrap_or_default();
            ensure!(faults.is_empty(), "{faults:?}\n{document}");
        }
    }
    Ok(())
}

/// Runs the command in a folder, and returns what it prints.
fn sallyport(folder: &Path, arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let output = Command::new(env!("CARGO_BIN_EXE_sallyport")).current_dir(folder).args(arguments).output()?;
    let text = String::from_utf8(output.stdout)? + &String::from_utf8_lossy(&output.stderr);
    Ok((output.status.code(), text))
}

/// Configurations of one filter alone, each with policies for it.
const ALONE: [(&str, &str, &str); 3] = [
    (
        "identity-authz",
        "identityAuthz: {identity: {validation: listener}}",
        "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: reads, namespace: shop}
spec: {rules: [{from: [{source: {namespaces: [web]}}], to: [{operation: {methods: [GET]}}]}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
",
    ),
    (
        "baseline-deny",
        "baselineDeny: {presets: [scanners]}",
        "apiVersion: apps/v1
kind: Deployment
metadata: {name: orders, namespace: shop}
spec: {template: {metadata: {labels: {app: orders}}}}
",
    ),
    (
        "egress-allowlist",
        "egressAllowlist: {identity: {validation: listener}, rules: [{name: partner, hosts: [api.partner.example]}]}",
        "apiVersion: apps/v1
kind: Deployment
metadata: {name: orders, namespace: shop}
spec: {template: {metadata: {labels: {app: orders}}}}
",
    ),
];

#[test]
fn each_filter_alone_is_rendered_for_each_place_without_a_finding() -> Result<()> {
    let (sidecar, gateway) = (["--workload", "shop/app=orders"], ["--workload", "shop", "--gateway", "edge"]);
    let digest = "0".repeat(64);
    let mut rendered = 0;
    for (filter, configuration, policies) in ALONE {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("config.yaml"), configuration)?;
        fs::write(folder.path().join("policies.yaml"), policies)?;
        let image = format!("registry.shop.example/{filter}@sha256:{digest}");
        for (place, workload, is_kubernetes) in [
            ("wasmplugin", sidecar.as_slice(), true),
            ("wasmplugin", &gateway, true),
            ("trafficextension", &sidecar, true),
            ("envoy-gateway", &gateway, true),
            ("envoy-filter", &sidecar, false),
            ("ecds", &sidecar, false),
            ("bootstrap", &sidecar, false),
        ] {
            let mut call = vec!["render", "--for", place, "--config", "config.yaml"];
            call.extend(workload);
            if is_kubernetes {
                call.extend(["--image", &image]);
            }
            if place == "bootstrap" {
                call.extend(["--upstream", "127.0.0.1:8080"]);
            }
            call.push("policies.yaml");
            let (code, text) = sallyport(folder.path(), &call)?;
            if filter == "egress-allowlist" && place == "bootstrap" {
                // A file with the listener of a service, where the filter does not belong.
                ensure!(code == Some(2), "{text}");
                continue;
            }
            ensure!(code == Some(0), "{filter} for {place}: {text}");
            let start = text.find("# Written by").unwrap_or_default();
            let end = text.rfind(&format!("\n{filter}: ")).filter(|end| *end > start).map_or(text.len(), |end| end + 1);
            let text = text.get(start..end).context("no text")?;
            rendered += 1;
            if !is_kubernetes {
                continue;
            }
            let resource = testbed::read_yaml(text).with_context(|| format!("{filter} for {place}: {text}"))?;
            let faults = testbed::schema_faults(&resource)?.unwrap_or_default();
            ensure!(faults.is_empty(), "{filter} for {place}: {faults:?}");
            fs::write(folder.path().join("rendered.yaml"), text)?;
            let (code, said) = sallyport(folder.path(), &["check", "rendered.yaml"])?;
            ensure!(code == Some(0) && !said.contains("warning["), "{filter} for {place}: {said}\n{text}");
        }
    }
    ensure!(rendered == 20, "{rendered}");
    Ok(())
}
