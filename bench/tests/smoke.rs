//! A minimal run of `make bench`, from Envoy to the page. Its numbers are meaningless.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Result, ensure};

fn bench(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    for (name, value) in [
        ("BENCH_ROUNDS", "2"),
        ("BENCH_ROUND_MILLISECONDS", "1"),
        ("BENCH_LATENCY_REQUESTS", "8"),
        ("BENCH_LARGEST", "10"),
        ("BENCH_UPDATES", "20"),
        ("BENCH_REQUESTS", "2000"),
    ] {
        command.env(name, value);
    }
    command.env("BENCH_FOLDER", folder);
    command
}

fn printed(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

#[test]
fn the_page_has_every_variant_and_every_part() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let output = bench(folder.path()).output()?;
    let printed = printed(&output);
    let page = fs::read_to_string(folder.path().join("performance.md")).unwrap_or_default();
    for row in [
        "| no filter |  | ",
        "| the cheapest Wasm filter |  | ",
        "| handwritten: connection tag |  | ",
        "| handwritten: connection tag and headers |  | ",
        "| identity-authz, principals | 10 | ",
        "| identity-authz, one rule per principal | 10 | ",
        "| identity-authz, principals with method and path | 10 | ",
        "| identity-authz, one rule per path | 10 | ",
        "| egress-allowlist, hosts | 10 | ",
        "| baseline-deny, scanner preset |  | ",
        "| baseline-deny, user-agent patterns | 10 | ",
        "| native RBAC as Istio emits it, principals | 10 | ",
        "| native RBAC as Istio emits it, principals | 100,000 | not measured: ",
        "| native RBAC as Istio emits it, caller last | 10 | ",
        "| native RBAC as Istio emits it, no DNS SAN | 10 | ",
        "| native RBAC as Istio emits it, one rule per path | 10 | ",
        "| native RBAC with a matcher tree, principals | 10 | ",
        "| Lua with a table, principals | 10 | ",
        "| identity-authz, principals with method and path, allowedPolicy | 10 | ",
        "| egress-allowlist, hosts, allowedPolicy | 10 | ",
        "\n`allowedPolicy: true`, by which filter state names what let a request in, adds ",
        "\n| 10 principals, relative to the handwritten connection tag | ",
        "\n| 10 principals, relative to the cheapest Wasm filter | ",
        "\n| 10 | rules with one path each, for one principal | 0.",
        "each with another principal, then 2,000 requests, ",
        "\n| the most expensive hostile request of 60 KiB, in requests without a filter | ",
        "\n## Hostile requests\n",
        "\n| baseline-deny | texts of the built-in list | ",
        "\n| identity-authz | a claim with many elements | ",
        "\n## Updates\n",
        "\n| hosts (egress-allowlist) | 10: 0.",
        "\n| clauses of rules with ten principals and ten paths each | 10: 0.",
    ] {
        ensure!(page.contains(row), "the page lacks {row:?}:\n{page}\n{printed}");
    }
    ensure!(!page.contains("| no filter |  |  |"), "the row without a filter has no measurement:\n{page}");
    let chart = fs::read_to_string(folder.path().join("performance.svg"))?;
    ensure!(page.contains("(performance.svg)"), "the page does not show its chart");
    for line in ["identity-authz, 10: ", "RBAC as Istio emits it, 10: ", "RBAC with a matcher tree, 10: ", "Lua, 10: "]
    {
        ensure!(chart.contains(line), "the chart lacks {line:?}:\n{chart}");
    }
    // Thresholds may fail in so short a run, but the exit status has to agree with the page.
    ensure!(output.status.success() != page.contains("**not met**"), "exited with {}:\n{printed}", output.status);
    ensure!(printed.contains("\nnot measured  100,000 principals, relative to 10: "), "{printed}");
    Ok(())
}

#[test]
fn a_soak_replaces_its_section_of_the_page() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let page = folder.path().join("performance.md");
    fs::write(&page, "# Performance\n\n## Soak in Envoy\n\nold\n\n## Other\n\nkept\n")?;
    let output = bench(folder.path()).arg("soak").output()?;
    let (printed, page) = (printed(&output), fs::read_to_string(page)?);
    ensure!(page.contains(" answers 2,000 requests of 200 callers over 20 connections "), "{page}\n{printed}");
    ensure!(page.contains("\n| linear memory of the VMs, KiB | ") && !page.contains("KiB | 0 |"), "{page}\n{printed}");
    ensure!(page.contains("\n## Other\n\nkept\n") && !page.contains("old"), "{page}\n{printed}");
    ensure!(printed.contains("KiB of linear memory of the VMs gained in the second half of the soak"), "{printed}");
    Ok(())
}

#[test]
fn an_invalid_setting_is_rejected_before_the_run() -> Result<()> {
    let output = bench(Path::new("/nonexistent")).env("BENCH_ROUNDS", "few").output()?;
    ensure!(!output.status.success(), "the run started");
    let printed = printed(&output);
    ensure!(printed == "bench: BENCH_ROUNDS is `few`, expected a positive whole number such as 150\n", "{printed}");
    Ok(())
}
