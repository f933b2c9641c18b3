//! `make bench` in little, so that the command does not rot: from Envoy to the page. Its numbers mean nothing.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Result, ensure};

fn bench(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    for (name, value) in [
        ("BENCH_ROUNDS", "2"),
        ("BENCH_TURN_MILLISECONDS", "1"),
        ("BENCH_TIMED", "8"),
        ("BENCH_LARGEST", "10"),
        ("BENCH_UPDATES", "20"),
        ("BENCH_REQUESTS", "2000"),
    ] {
        command.env(name, value);
    }
    command.env("BENCH_FOLDER", folder);
    command
}

fn told(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

#[test]
fn the_page_has_every_variant_and_every_part() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let output = bench(folder.path()).output()?;
    let told = told(&output);
    let page = fs::read_to_string(folder.path().join("performance.md")).unwrap_or_default();
    for row in [
        "| no filter |  | ",
        "| the cheapest possible Wasm filter |  | ",
        "| identity-authz, principals | 10 | ",
        "| identity-authz, a rule for each principal | 10 | ",
        "| identity-authz, principals with method and path | 10 | ",
        "| identity-authz, paths under one principal | 10 | ",
        "| egress-allowlist, hosts | 10 | ",
        "| baseline-deny, the scanner list |  | ",
        "| baseline-deny, user-agent patterns | 10 | ",
        "| native RBAC as Istio emits it, principals | 10 | ",
        "| native RBAC as Istio emits it, principals | 100,000 | not measured: ",
        "| native RBAC as Istio emits it, the caller last of the principals | 10 | ",
        "| native RBAC as Istio emits it, client certificate without a DNS name | 10 | ",
        "| native RBAC as Istio emits it, paths under one principal | 10 | ",
        "| native RBAC with a matcher tree, principals | 10 | ",
        "| Lua with a table of principals | 10 | ",
        "\n| 10 principals, against the cheapest possible Wasm filter | ",
        "\n| 10 | rules of a path each, under one principal | 0.",
        "Then it takes 2,000 requests, ",
    ] {
        ensure!(page.contains(row), "the page lacks {row:?}:\n{page}\n{told}");
    }
    ensure!(!page.contains("| no filter |  |  |"), "no filter is not compared with itself:\n{page}");
    let chart = fs::read_to_string(folder.path().join("performance.svg"))?;
    ensure!(page.contains("(performance.svg)"), "the page does not show its chart");
    for line in ["identity-authz, 10: ", "RBAC as Istio emits it, 10: ", "RBAC with a matcher tree, 10: ", "Lua, 10: "]
    {
        ensure!(chart.contains(line), "the chart lacks {line:?}:\n{chart}");
    }
    // The numbers are too few to say anything, but the command has to end as it says they are.
    ensure!(output.status.success() != page.contains("**not met**"), "ended with {}:\n{told}", output.status);
    ensure!(told.contains("\nnot measured  100,000 principals, against 10: "), "{told}");
    Ok(())
}

#[test]
fn a_setting_that_is_no_number_is_refused_before_anything_starts() -> Result<()> {
    let output = bench(Path::new("/nonexistent")).env("BENCH_ROUNDS", "few").output()?;
    ensure!(!output.status.success(), "it went on");
    let told = told(&output);
    ensure!(told == "bench: BENCH_ROUNDS is `few`, expected a whole number from 1, as in 150\n", "{told}");
    Ok(())
}
