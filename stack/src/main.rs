//! The programs of the Compose stack in `envoy-config/stack/`, one for each container that is built here, and the tour
//! that brings the stack up and holds it to its claims.
//!
//! In a container: `certificates`, `rotate`, `ready`, `app`, `outside`, `authorizer`, `spans`, `visitor`, `ask`,
//! `impersonate`. On the machine: `tour`, `up`, `down`, `mode`, `would-deny` and `picture`.

mod app;
mod ask;
mod authorizer;
mod certificates;
mod outside;
mod spans;
mod tour;
mod web;

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

/// Whether all went as it should.
fn run() -> Result<bool> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["certificates", folder] => certificates::serve(Path::new(folder)).map(|()| true),
        ["rotate", folder] => certificates::rotate(Path::new(folder)).map(|()| true),
        ["ready", folder] => Ok(certificates::are_ready(Path::new(folder))),
        ["app", version] => app::serve(version).map(|()| true),
        ["outside", folder] => outside::serve(Path::new(folder)).map(|()| true),
        ["authorizer"] => authorizer::serve().map(|()| true),
        ["spans"] => spans::serve().map(|()| true),
        ["visitor"] => loop {
            std::thread::park();
        },
        ["ask", rest @ ..] => ask::ask(rest).map(|()| true),
        ["impersonate", name, port] => outside::impersonate(name, port.parse()?).map(|()| true),
        ["tour"] => tour::tour(),
        ["up"] => tour::up().map(|()| true),
        ["down"] => tour::down().map(|()| true),
        ["mode", mode] => tour::mode(mode).map(|()| true),
        ["picture"] => tour::picture().map(|()| true),
        ["would-deny"] => tour::would_deny().map(|()| true),
        _ => bail!(
            "expected one of certificates, rotate, ready, app, outside, authorizer, spans, visitor, ask, \
             impersonate, tour, up, down, mode, would-deny, picture"
        ),
    }
}
