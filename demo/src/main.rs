//! A small shop behind a real Envoy: who asked for what, the answer, the policy that decided, and why.
//!
//! `demo` runs `envoy-config/ingress.yaml` with fresh certificates, asks as friends and as an intruder, prints the
//! table and ends Envoy. `demo up` leaves it running, `demo down` ends it.

mod running;
mod shop;
mod table;

use std::env;
use std::process::ExitCode;

use anyhow::{Result, bail};

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

/// Whether every answer was as the policies say.
fn run() -> Result<bool> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => {
            running::end()?;
            let shop = shop::Shop::open(false)?;
            let good = table::print(&shop.visits()?);
            shop.close();
            println!("\nTo try it by hand: make up");
            Ok(good)
        }
        ["up"] => {
            running::end()?;
            let shop = shop::Shop::open(true)?;
            let good = table::print(&shop.visits()?);
            shop.leave_open();
            Ok(good)
        }
        ["down"] => running::end().map(|()| true),
        _ => bail!("expected no argument, up or down"),
    }
}
