//! `sallyport check`.

use anyhow::Result;
use sallyport_analysis::{Severity, check, formats};

use crate::arguments::{CheckArguments, Format};
use crate::files::read_project;
use crate::{FOUND, NOTHING_FOUND, pretty};

/// Checks the files and prints the findings.
///
/// # Errors
///
/// Files that cannot be read.
pub(crate) fn run(arguments: &CheckArguments) -> Result<u8> {
    let project = read_project(&arguments.common)?;
    let report = check(&project, &arguments.ignore);
    let sources = project.sources();
    match arguments.format {
        Format::Pretty => anstream::print!("{}", pretty::report(&report, sources)),
        Format::Json => anstream::println!("{:#}", formats::json::report(&report, sources)),
        Format::Sarif => {
            let folder = std::env::current_dir().ok();
            let folder = folder.as_deref().and_then(|folder| folder.to_str());
            let version = env!("CARGO_PKG_VERSION");
            anstream::println!("{:#}", formats::sarif::report(&report, sources, version, folder));
        }
        Format::Github => anstream::print!("{}", formats::github::report(&report, sources)),
    }
    let is_clean = report.findings.iter().all(|finding| finding.severity == Severity::Note);
    Ok(if is_clean { NOTHING_FOUND } else { FOUND })
}
