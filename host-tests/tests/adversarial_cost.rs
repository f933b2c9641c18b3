//! The cost of the most expensive requests that a client can send, in instructions of the module: for each filter they
//! grow no faster than the bytes of the request, and stay below what a worker has for one request.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use host_tests::filter;
use host_tests::hostile_requests::{HostileRequest, LARGEST, hostile_requests};
use host_tests::wasm_host::{Connection, Vm, metadata};
use libtest_mimic::{Arguments, Trial};
use serde_json::json;

/// Returns the instructions of a request of so many bytes.
fn instructions(row: &HostileRequest, bytes: usize) -> Result<u64> {
    let module = filter::load_metered(row.filter)?;
    let (mut vm, root) = Vm::configured(&module, &(row.configuration)().to_string())?;
    let (request, claims) = (row.request)(bytes);
    let mut connection = Connection::plaintext(1);
    if !claims.is_empty() {
        let jwt = json!({"envoy.filters.http.jwt_authn": {"payload": claims}});
        connection.metadata = metadata::encode(jwt.as_object().context("an object")?);
    }
    let mut cost = 0;
    // The first requests fill what is kept for later ones.
    for _ in 0..3 {
        cost = vm.request(root, connection.clone(), request.clone())?.instructions;
    }
    Ok(cost)
}

fn check(row: &HostileRequest) -> Result<()> {
    let (half, whole) = (instructions(row, LARGEST / 2)?, instructions(row, LARGEST)?);
    println!("{}: {half} instructions for half of the bytes, {whole} for all", row.name);
    ensure!(whole <= half * 5 / 2, "{half} instructions for half of the bytes, {whole} for all");
    ensure!(whole <= row.limit, "{whole} instructions, the limit is {}", row.limit);
    Ok(())
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = hostile_requests().map(|row| {
        let run = move || check(row).context(row.filter).map_err(|error| format!("{error:#}").into());
        Trial::test(format!("{}: {}", row.filter, row.name), run)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
