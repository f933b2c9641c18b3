//! `sallyport check`.

use anyhow::{Result, bail};
use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite};
use sallyport_analysis::{Report, Severity, Source, check, codes, formats};

use crate::arguments::{CheckArguments, Format};
use crate::files::read_project;
use crate::{FOUND, NOTHING_FOUND, pretty};

/// Checks the files and prints the findings.
///
/// # Errors
///
/// Files that cannot be read, and a code that is none.
pub(crate) fn run(arguments: &CheckArguments) -> Result<u8> {
    let known = codes();
    if let Some(unknown) = arguments.ignore.iter().find(|ignored| known.iter().all(|code| code.name != **ignored)) {
        bail!("--ignore: there is no code `{unknown}`; docs/errors.md lists them");
    }
    let mut project = read_project(&arguments.common)?;
    project.set_layer(arguments.layer.into());
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
        Format::Junit => anstream::println!("{}", junit_report(&report, sources).to_string()?),
        Format::Github => anstream::print!("{}", formats::github::report(&report, sources)),
    }
    let is_clean = report.findings.iter().all(|finding| finding.severity == Severity::Note);
    Ok(if is_clean { NOTHING_FOUND } else { FOUND })
}

/// Returns a failed case for each finding that a caller has to act on.
fn junit_report(report: &Report, sources: &[Source]) -> Junit {
    let mut suite = TestSuite::new("check");
    for finding in report.findings.iter().filter(|finding| finding.severity != Severity::Note) {
        let (file, position) = finding.place(sources);
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_message(format!("{}; {}", finding.message, finding.help));
        let mut case = TestCase::new(format!("{} at {file}:{}", finding.code, position.line), status);
        case.set_classname(file);
        suite.add_test_case(case);
    }
    let mut junit = Junit::new("sallyport");
    junit.add_test_suite(suite);
    junit
}
