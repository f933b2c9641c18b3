//! `sallyport test`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite};
use sallyport_analysis::{Asked, Coverage, Finding, Project, Suite, SuiteReport, read_suites, run_suite};
use serde_json::{Value, json};

use crate::arguments::{CommonArguments, TestArguments, TestFormat};
use crate::choice::choose;
use crate::explain::time_of;
use crate::files::{File, read_config, read_files};
use crate::{FOUND, NOTHING_FOUND, faults, pretty};

/// Cases of one document, played.
pub(crate) struct Played {
    /// Case file.
    pub(crate) file: String,
    /// Name of the file, with the line of the document where there are several.
    pub(crate) name: String,
    /// Project whose texts the outcomes refer to.
    pub(crate) project: Project,
    /// Outcomes.
    pub(crate) report: SuiteReport,
}

/// Runs the cases of all case files.
///
/// # Errors
///
/// Files that cannot be read, and no case file among them.
pub(crate) fn run(arguments: &TestArguments) -> Result<u8> {
    let common = &arguments.common;
    let files = read_files(&common.files)?;
    let config = read_config(common)?;
    let mut all = Project::new(common.settings.settings(None)?);
    files.iter().for_each(|file| all.add(&file.name, &file.text));
    let contents = all.contents();
    let (suites, findings) = read_suites(&all, &contents);
    let as_json = arguments.format == TestFormat::Json;
    if !findings.is_empty() {
        return Ok(faults::print(findings, &all, as_json));
    }
    anyhow::ensure!(!suites.is_empty(), "there is no case file among the files: one is an object with the key cases");
    let now = time_of(arguments.at.as_deref())?;
    let (mut played, mut coverage) = (Vec::new(), Coverage::default());
    for suite in &suites {
        let policies = files.iter().filter(|file| suites.iter().all(|other| other.file != file.name));
        let own = files.iter().filter(|file| file.name == suite.file);
        let files: Vec<&File> = own.chain(policies).collect();
        let mut project = project_of(suite, &files, config.as_ref(), common)?;
        if let Some(findings) = choose(&mut project, &arguments.choice, Asked::Tests, None)? {
            return Ok(faults::print(findings, &project, as_json));
        }
        match play(&project, suite, now) {
            Ok(report) => {
                coverage.merge(&report.coverage);
                played.push(Played { file: suite.file.clone(), name: suite.name.clone(), project, report });
            }
            Err(findings) => return Ok(faults::print(findings, &project, as_json)),
        }
    }
    match arguments.format {
        TestFormat::Pretty => anstream::print!("{}", pretty::test_report(&played, &coverage)),
        TestFormat::Json => anstream::println!("{:#}", json_report(&played, &coverage)),
        TestFormat::Junit => anstream::println!("{}", junit_report(&played).to_string()?),
    }
    let passed = played.iter().flat_map(|one| &one.report.outcomes).all(|outcome| outcome.failures.is_empty());
    let is_covered = coverage.percent() >= usize::from(arguments.threshold);
    if !is_covered {
        anstream::eprintln!(
            "sallyport: coverage is {} %, the threshold is {} %",
            coverage.percent(),
            arguments.threshold
        );
    }
    Ok(if passed && is_covered { NOTHING_FOUND } else { FOUND })
}

/// Returns a project of files and of the policies that a case file names.
fn project_of(suite: &Suite<'_>, files: &[&File], config: Option<&File>, common: &CommonArguments) -> Result<Project> {
    let mut settings = common.settings.settings(None)?;
    settings.workload = settings.workload.or_else(|| suite.workload.clone());
    let mut project = Project::new(settings);
    if let Some(config) = config {
        project.add_config(&config.name, &config.text);
    }
    let folder = Path::new(&suite.file).parent().unwrap_or(Path::new(""));
    let named: Vec<PathBuf> = suite.policies.iter().map(|policy| folder.join(policy)).collect();
    let named = read_files(&named).with_context(|| format!("policies of {}", suite.file))?;
    let mut seen: Vec<PathBuf> = Vec::new();
    for file in files.iter().copied().chain(&named) {
        // A policy that is given twice is one.
        let path = fs::canonicalize(&file.name).unwrap_or_else(|_| PathBuf::from(&file.name));
        if seen.contains(&path) {
            continue;
        }
        seen.push(path);
        project.add(&file.name, &file.text);
    }
    Ok(project)
}

/// Plays the document of a project that was read before as `wanted`.
fn play(project: &Project, wanted: &Suite<'_>, now: Duration) -> Result<SuiteReport, Vec<Finding>> {
    let contents = project.contents();
    let (suites, findings) = read_suites(project, &contents);
    let start = Instant::now();
    match suites.iter().find(|suite| (&suite.file, suite.line) == (&wanted.file, wanted.line)) {
        Some(suite) if findings.is_empty() => run_suite(project, &contents, suite, now, &|| start.elapsed()),
        _ => Err(findings),
    }
}

fn json_report(played: &[Played], coverage: &Coverage) -> Value {
    let cases = played.iter().flat_map(|one| {
        one.report.outcomes.iter().map(move |outcome| {
            let source = one.project.sources().get(outcome.span.source);
            let line = source.map(|source| source.position(outcome.span).line);
            json!({
                "name": outcome.name,
                "file": one.file,
                "line": line,
                "passed": outcome.failures.is_empty(),
                "failures": outcome.failures,
            })
        })
    });
    let unreached = coverage
        .unreached()
        .map(|(rule, file, line)| json!({"policy": rule.policy, "rule": rule.index, "file": file, "line": line}));
    json!({
        "cases": cases.collect::<Vec<_>>(),
        "coverage": {
            "percent": coverage.percent(),
            "rules": coverage.count(),
            "unreached": unreached.collect::<Vec<_>>(),
        },
    })
}

fn junit_report(played: &[Played]) -> Junit {
    let mut junit = Junit::new("sallyport");
    for one in played {
        let mut suite = TestSuite::new(&one.name);
        suite.set_time(one.report.outcomes.iter().map(|outcome| outcome.duration).sum());
        for outcome in &one.report.outcomes {
            let status = match outcome.failures.is_empty() {
                true => TestCaseStatus::success(),
                false => {
                    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                    status.set_message(outcome.failures.join("\n"));
                    status
                }
            };
            let mut case = TestCase::new(&outcome.name, status);
            case.set_classname(&one.name);
            case.set_time(outcome.duration);
            suite.add_test_case(case);
        }
        junit.add_test_suite(suite);
    }
    junit
}
