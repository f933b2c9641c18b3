//! Programs that people have, run against the egress gateway of the stack through a proxy beside them, as
//! `envoy-config/egress-client.yaml` has it.

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use testbed::{ClientMessage, client_messages};

use super::assertions::has;
use super::stack::Stack;

/// The ways that a program goes without a certificate of its own.
const WAYS: [&str; 2] = ["HTTP", "CONNECT"];

/// Body that the declared host serves.
const REACHED: &str = "this is api.partner.example";
const DECLARED: &str = "api.partner.example";
const UNDECLARED: &str = "undeclared.example";
const PRINCIPAL: &str = "cluster.local/ns/demo/sa/clients";

/// Time limit for one run of a program, in seconds.
const LIMIT: &str = "120";

/// Runs each program of the table in `docs/egress.md` for the declared and the undeclared host; true if all is as the
/// table says.
pub(super) fn run(stack: &Stack) -> Result<bool> {
    let start = Instant::now();
    let container = stack.start_clients()?;
    let (mut passed, mut failed) = (0, 0);
    for row in client_messages()?.iter().filter(|row| WAYS.contains(&row.way.as_str())) {
        for client in &row.clients {
            match check(&container, client, row) {
                Ok(text) => {
                    passed += 1;
                    println!("pass    {:26} {text}", format!("{client}, {}", row.way));
                }
                Err(error) => {
                    failed += 1;
                    println!("FAIL    {:26} {error:#}", format!("{client}, {}", row.way));
                }
            }
        }
    }
    stack.find_log_entry("egress", "the denial in the access log", |entry| {
        has(entry, "decision", "deny") && has(entry, "principal", PRINCIPAL)
    })?;
    stack.remove_clients()?;
    println!(
        "\n{passed} of {} programs and ways are as documented after {} s.",
        passed + failed,
        start.elapsed().as_secs()
    );
    Ok(failed == 0 && passed > 0)
}

/// Runs one program for both hosts, and returns the text that it prints for the undeclared one.
fn check(container: &str, client: &str, row: &ClientMessage) -> Result<String> {
    let (succeeded, printed) = fetch(container, client, &row.way, DECLARED)?;
    ensure!(succeeded && printed.contains(REACHED), "the declared host is not reached: {printed}");
    let (_, printed) = fetch(container, client, &row.way, UNDECLARED)?;
    ensure!(!printed.contains("this is undeclared.example"), "the undeclared host is reached");
    match row.texts.iter().find(|text| testbed::is_quoted(text, &printed)) {
        Some(text) => Ok(text.clone()),
        None => bail!("expected {:?}, got {printed}", row.texts),
    }
}

/// Runs a program in its container; true if it succeeded, and all that it printed.
fn fetch(container: &str, client: &str, way: &str, host: &str) -> Result<(bool, String)> {
    let arguments = ["exec", container, "timeout", LIMIT, "/clients/run", client, way, host];
    let output = Command::new("docker").args(arguments).output()?;
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    Ok((output.status.success(), printed.into_owned()))
}
