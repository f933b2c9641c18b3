//! `make bench` in little, so that the command does not rot: from Envoy to the page. Its numbers mean nothing.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};

#[test]
fn the_page_has_every_variant_and_every_part() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let output = Command::new(env!("CARGO_BIN_EXE_bench")).arg("--quick").arg(folder.path()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = fs::read_to_string(folder.path().join("performance.md"))?;
    for row in [
        "| no filter |  |  |  | ",
        "| the cheapest possible Wasm filter |  | ",
        "| identity-authz, principals | 50 | ",
        "| identity-authz, principals with method and path | 10 | ",
        "| identity-authz, paths under one principal | 50 | ",
        "| egress-allowlist, hosts | 50 | ",
        "| baseline-deny, the scanner list |  | ",
        "| baseline-deny, user-agent patterns | 50 | ",
        "| native RBAC as Istio emits it, principals | 50 | ",
        "| native RBAC as Istio emits it, paths under one principal | 50 | ",
        "| native RBAC with a matcher tree, principals | 50 | ",
        "| Lua with a table of principals | 50 | ",
        "| 10 principals, against the cheapest possible Wasm filter | ",
        "\n| 100 | 0.",
        " MiB after a tenth of 2,000 requests and ",
    ] {
        ensure!(page.contains(row), "the page lacks {row:?}:\n{page}");
    }
    let chart = fs::read_to_string(folder.path().join("performance.svg"))?;
    ensure!(page.contains("(performance.svg)"), "the page does not show its chart");
    for line in ["identity-authz, 50: ", "RBAC as Istio emits it, 50: ", "RBAC with a matcher tree, 50: ", "Lua, 50: "]
    {
        ensure!(chart.contains(line), "the chart lacks {line:?}:\n{chart}");
    }
    Ok(())
}
