//! Filters by the crate `proxy-wasm`: their cost per request, in instructions, which are the same on every machine, and
//! that no filter of this repository depends on the crate.

use std::process::Command;

use anyhow::{Result, ensure};
use host_tests::filter;
use host_tests::wasm_host::{Connection, Request, Vm};

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

/// One caller, one method, one path.
const POLICY: &str = r#"{"resources": [{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
    "metadata": {"name": "allow-web", "namespace": "shop"},
    "spec": {"rules": [{"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/web"]}}],
        "to": [{"operation": {"methods": ["GET"], "paths": ["/a"]}}]}]}}]}"#;

/// Returns the instructions that an allowed request takes, after the first on its connection.
fn instructions(filter: &str, configuration: &str, request: &Request) -> Result<u64> {
    let (mut vm, root) = Vm::configured(&filter::load_metered(filter)?, configuration)?;
    vm.request(root, Connection::mtls(7, WEB), request.clone())?;
    let outcome = vm.request(root, Connection::mtls(7, WEB), request.clone())?;
    ensure!(outcome.continues, "{filter}: {outcome:?}");
    Ok(outcome.instructions)
}

#[test]
fn one_header_with_the_sdk_takes_more_instructions_than_a_policy() -> Result<()> {
    let request = Request::new("GET", "orders.shop", "/a").with("x-token", b"open-sesame");
    let own = instructions("identity-authz", POLICY, &request)?;
    let guest = instructions("auth-by-header", "open-sesame", &request)?;
    println!("{guest} instructions for auth-by-header, {own} for identity-authz with a principal, a method and a path");
    ensure!(guest > own, "{guest} instructions for auth-by-header, {own} for identity-authz");
    Ok(())
}

#[test]
fn no_filter_depends_on_the_sdk() -> Result<()> {
    let mut tree = Command::new(env!("CARGO"));
    tree.current_dir(testbed::root()).args(["tree", "--locked", "--offline", "--edges", "normal,build"]);
    tree.args(["--target", "wasm32-unknown-unknown", "--prefix", "none", "--format", "{p}"]);
    for filter in ["identity-authz", "baseline-deny", "egress-allowlist"] {
        tree.args(["--package", filter]);
    }
    let output = tree.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let packages = String::from_utf8(output.stdout)?;
    ensure!(packages.contains("sallyport-policy "), "no filter depends on the policies:\n{packages}");
    ensure!(!packages.contains("proxy-wasm "), "a filter depends on the crate proxy-wasm:\n{packages}");
    Ok(())
}
