//! The programs of the Compose stack in `envoy-config/stack/`, and its acceptance test.
//!
//! In a container: `certificates`, `rotate`, `ready`, `exists`, `app`, `outside`, `authorizer`, `spans`, `visitor`,
//! `probe`, `impersonate`, `zone`. On the host machine: `acceptance`, `up`, `down`, `mode`, `would-deny`, `clients` and
//! `pictures`.

mod acceptance;
mod app;
mod authorizer;
mod certificates;
mod outside;
mod probe;
mod spans;
mod web;
mod zone;

use std::env;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("stack: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a sub-command; false if a check failed.
fn run() -> Result<bool> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["certificates", folder] => certificates::serve(Path::new(folder)).map(|()| true),
        ["rotate", folder] => certificates::rotate(Path::new(folder)).map(|()| true),
        ["ready", folder] => Ok(certificates::are_ready(Path::new(folder))),
        ["exists", file] => Ok(Path::new(file).exists()),
        ["zone", rules, folder, address] => zone::serve(Path::new(rules), Path::new(folder), address).map(|()| true),
        ["app", version] => app::serve(version).map(|()| true),
        ["outside", folder] => outside::serve(Path::new(folder)).map(|()| true),
        ["authorizer"] => authorizer::serve().map(|()| true),
        ["spans"] => spans::serve().map(|()| true),
        ["visitor"] => loop {
            std::thread::park();
        },
        ["probe", rest @ ..] => probe::run(rest).map(|()| true),
        ["impersonate", name, port] => outside::impersonate(name, port.parse()?).map(|()| true),
        ["acceptance"] => acceptance::run(),
        ["up"] => acceptance::up().map(|()| true),
        ["down"] => acceptance::down().map(|()| true),
        ["mode", mode] => acceptance::mode(mode).map(|()| true),
        ["pictures"] => acceptance::pictures().map(|()| true),
        ["clients"] => acceptance::clients(),
        ["would-deny"] => acceptance::would_deny(),
        _ => bail!(
            "expected one of certificates, rotate, ready, exists, app, outside, authorizer, spans, visitor, \
             probe, impersonate, zone, acceptance, up, down, mode, would-deny, clients, pictures"
        ),
    }
}
