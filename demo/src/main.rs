//! A small shop behind a real Envoy: sends requests of several clients and prints the decisions with their reasons.
//!
//! `demo` runs `envoy-config/ingress.yaml` with new certificates, sends allowed and denied requests, prints a table and
//! stops Envoy; then it does the same for outbound requests with `envoy-config/egress.yaml`, and asks the command `sallyport`
//! about the same policies. `demo up` leaves the ingress Envoy running, `demo down` stops it. `demo picture` draws the
//! tables of a run into `docs/demo.svg`.

mod command;
mod detached;
mod egress;
mod egress_request;
mod ingress_request;
mod outcome;
mod picture;
mod scenarios;
mod shop;
mod table;

use std::env;
use std::fs;
use std::process::ExitCode;

use anyhow::{Result, bail};

use shop::Shop;

/// The configuration of the ingress scenarios.
const INGRESS: &str = "envoy-config/ingress.yaml";
/// The configuration of the egress scenarios.
const EGRESS: &str = "envoy-config/egress.yaml";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a command; true if every outcome was the expected one.
fn run() -> Result<bool> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => {
            detached::stop()?;
            let shop = Shop::start(false)?;
            let ingress_as_expected = table::print(INGRESS, &shop.run_all()?);
            shop.stop();
            let egress_as_expected = table::print(EGRESS, &egress::run_all()?);
            let command_as_expected = command::print_answers(INGRESS, &detached::folder())?;
            println!("\nTo send your own requests: make up");
            Ok(ingress_as_expected && egress_as_expected && command_as_expected)
        }
        ["up"] => {
            detached::stop()?;
            let shop = Shop::start(true)?;
            let as_expected = table::print(INGRESS, &shop.run_all()?);
            shop.detach();
            Ok(as_expected)
        }
        ["picture"] => {
            detached::stop()?;
            let shop = Shop::start(false)?;
            let ingress = shop.run_all()?;
            shop.stop();
            let egress = egress::run_all()?;
            let svg = picture::draw(&[(INGRESS, &ingress), (EGRESS, &egress)]);
            fs::write(testbed::root().join("docs/demo.svg"), svg)?;
            println!("docs/demo.svg");
            Ok(ingress.iter().chain(&egress).all(|outcome| outcome.as_expected))
        }
        ["down"] => detached::stop().map(|()| true),
        _ => bail!("expected no argument, `up`, `down` or `picture`"),
    }
}
