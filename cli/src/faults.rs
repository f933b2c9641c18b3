//! Faults of policies for which a verb has no answer.

use sallyport_analysis::{Finding, Project, Report, formats};

use crate::{FOUND, pretty};

/// Prints the faults, and returns the exit code for them.
pub(crate) fn print(findings: Vec<Finding>, project: &Project, as_json: bool) -> u8 {
    let report = Report { findings, passed_over: Vec::new() };
    match as_json {
        true => anstream::println!("{:#}", formats::json::report(&report, project.sources())),
        false => anstream::eprint!("{}", pretty::report(&report, project.sources())),
    }
    FOUND
}
