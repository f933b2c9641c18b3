//! The command `sallyport`: what policies do, before they are in a proxy.

mod arguments;
mod check;
mod choice;
mod completions;
mod explain;
mod faults;
mod files;
mod pretty;
mod render;
mod test_cases;
mod who;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Verb};

/// Exit code where nothing was found.
const NOTHING_FOUND: u8 = 0;

/// Exit code where something was found: a fault or a warning, a denial, a failed test.
const FOUND: u8 = 1;

/// Exit code for wrong use and unreadable input.
const WRONG_USE: u8 = 2;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    arguments.color.write_global();
    let done = match &arguments.verb {
        Verb::Check(check) => check::run(check),
        Verb::Explain(explain) => explain::run(explain),
        Verb::Render(arguments) => render::run(arguments),
        Verb::Test(test) => test_cases::run(test),
        Verb::Who(who) => who::run(who),
        Verb::Completions(arguments) => completions::run(arguments),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            anstream::eprintln!("sallyport: {error:#}");
            ExitCode::from(WRONG_USE)
        }
    }
}
