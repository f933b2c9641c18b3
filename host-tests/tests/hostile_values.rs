//! Cost of the most expensive values that a request can have, in instructions of the module: linear in their bytes.

use anyhow::{Result, ensure};
use host_tests::filter;
use host_tests::wasm_host::{Connection, Module, Request, Vm};

/// Patterns of each kind.
const PATTERNS: usize = 1_000;

/// A fifth above what the dearest of these takes.
const MOST: u64 = 21_000_000;

fn policy(action: &str, rule: &str) -> String {
    format!(
        r#"{{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
            "metadata": {{"name": "p", "namespace": "shop"}},
            "spec": {{"action": "{action}", "rules": [{rule}]}}}}"#
    )
}

fn listed(form: &dyn Fn(usize) -> String) -> String {
    (0..PATTERNS).map(|number| format!("{:?}", form(number))).collect::<Vec<_>>().join(", ")
}

fn instructions(module: &Module, configuration: &str, request: &Request) -> Result<u64> {
    let (mut vm, root) = Vm::configured(module, configuration)?;
    let mut cost = 0;
    // The first ones fill what is kept for later ones.
    for id in 1..=3 {
        cost = vm.request(root, Connection::plaintext(id), request.clone())?.instructions;
    }
    Ok(cost)
}

#[test]
fn a_path_with_every_reading_costs_by_its_bytes() -> Result<()> {
    let module = filter::load_metered("identity-authz")?;
    let paths = listed(&|number| format!("/a{number}/*"));
    let rule = format!(r#"{{"to": [{{"operation": {{"paths": [{paths}]}}}}]}}"#);
    let resources = policy("DENY", &rule);
    let configuration = format!(r#"{{"defaultAction": "ALLOW", "resources": [{resources}]}}"#);
    let cost = |bytes: usize| {
        let path: String = "/x//b%2F..;p=1\\c/./d".chars().cycle().take(bytes).collect();
        instructions(&module, &configuration, &Request::new("GET", "orders.shop", &path))
    };
    let (half, whole) = (cost(4_096)?, cost(8_192)?);
    println!("{half} instructions for 4 KiB, {whole} for 8 KiB");
    ensure!(whole <= MOST, "{whole} instructions for 8 KiB");
    ensure!(whole <= half * 5 / 2, "{half} instructions for 4 KiB, {whole} for 8 KiB");
    let denied = instructions(
        &module,
        &configuration,
        &Request::new("GET", "orders.shop", &format!("/a1/{}", "a".repeat(57_344))),
    )?;
    println!("{denied} for 56 KiB of one reading, denied");
    let longer = cost(57_344)?;
    println!("{longer} for 56 KiB, which is not compared");
    ensure!(longer <= denied * 4, "{longer} instructions for 56 KiB, {denied} for a plain path that is denied");
    Ok(())
}

#[test]
fn a_header_of_elements_costs_by_its_bytes() -> Result<()> {
    for name in ["identity-authz", "baseline-deny"] {
        let module = filter::load_metered(name)?;
        let values = listed(&|number| match number % 4 {
            0 => format!("a{number}"),
            1 => format!("b{number}*"),
            2 => format!("*c{number}"),
            _ => format!("*d{number}*"),
        });
        let rule = format!(r#"{{"when": [{{"key": "request.headers[x-role]", "values": [{values}]}}]}}"#);
        let default = if name == "identity-authz" { r#""defaultAction": "ALLOW","# } else { "" };
        let configuration = format!(r#"{{{default} "resources": [{}]}}"#, policy("DENY", &rule));
        let cost = |bytes: usize| {
            let value: String = "x,".chars().cycle().take(bytes).collect();
            let request = Request::new("GET", "orders.shop", "/").with("x-role", value.as_bytes());
            instructions(&module, &configuration, &request)
        };
        let one = Request::new("GET", "orders.shop", "/").with("x-role", "x".repeat(61_440).as_bytes());
        println!("{name}: {} instructions for 60 KiB without a comma", instructions(&module, &configuration, &one)?);
        let (half, whole) = (cost(30_720)?, cost(61_440)?);
        println!("{name}: {half} instructions for 30 KiB, {whole} for 60 KiB");
        ensure!(whole <= MOST, "{name}: {whole} instructions");
        ensure!(whole <= half * 5 / 2, "{name}: {half} instructions for 30 KiB, {whole} for 60 KiB");
    }
    Ok(())
}
