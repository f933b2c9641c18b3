//! A small shop behind a real Envoy: who asked for what, the answer, the policy that decided, and why.
//!
//! `demo` runs `envoy-config/ingress.yaml` with fresh certificates, asks as friends and as an intruder, prints the
//! table and ends Envoy; then the same with `envoy-config/egress.yaml` and those who want out. `demo up` leaves it running, `demo down` ends it.

mod egress;
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
            let good = table::print("envoy-config/ingress.yaml", &shop.visits()?);
            shop.close();
            let good_out = table::print("envoy-config/egress.yaml", &egress::visits()?);
            println!("\nTo try it by hand: make up");
            Ok(good && good_out)
        }
        ["up"] => {
            running::end()?;
            let shop = shop::Shop::open(true)?;
            let good = table::print("envoy-config/ingress.yaml", &shop.visits()?);
            shop.leave_open();
            Ok(good)
        }
        ["down"] => running::end().map(|()| true),
        _ => bail!("expected no argument, up or down"),
    }
}
