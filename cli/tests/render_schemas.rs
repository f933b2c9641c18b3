//! Resources for Kubernetes, held against the schemas of their CustomResourceDefinitions where those are at hand.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

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
