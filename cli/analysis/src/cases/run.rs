//! The run of the cases of one file.

use std::time::Duration;

use crate::cases::coverage::{Coverage, Rule};
use crate::cases::read::{Case, Suite};
use crate::explain::{Answer, Deciders, Explanation};
use crate::finding::Finding;
use crate::project::{Contents, Project};
use crate::simulated_request::SimulatedRequest;
use crate::source::Span;

/// Outcomes of the cases of one document.
#[derive(Debug)]
pub struct SuiteReport {
    /// Outcomes, in the order of the cases.
    pub outcomes: Vec<Outcome>,
    /// Rules that the cases reached.
    pub coverage: Coverage,
}

/// Outcome of one case.
#[derive(Debug)]
pub struct Outcome {
    /// Name of the case.
    pub name: String,
    /// The name in the case file.
    pub span: Span,
    /// Differences from the expected outcome; empty if the case passed.
    pub failures: Vec<String>,
    /// Time that the case took, with the loading of its own configuration.
    pub duration: Duration,
}

/// Runs the cases of a document at a time since the Unix epoch. `project` has the case file among its texts and all policies
/// that it names; `clock` tells the time since any moment.
///
/// # Errors
///
/// The faults for which `identity-authz` refuses the configuration of the file or of a case.
pub fn run_suite(
    project: &Project,
    contents: &Contents<'_>,
    suite: &Suite<'_>,
    now: Duration,
    clock: &dyn Fn() -> Duration,
) -> Result<SuiteReport, Vec<Finding>> {
    let shared = suite.cases.iter().any(|case| case.configuration.is_none());
    let shared = shared.then(|| Deciders::configured(project, contents, suite.configuration)).transpose()?;
    let mut coverage = Coverage::new(project, contents);
    let mut outcomes = Vec::new();
    for case in &suite.cases {
        let start = clock();
        let own = match case.configuration {
            Some(configuration) => Some(Deciders::configured(project, contents, Some(configuration))?),
            None => None,
        };
        let Some(deciders) = own.as_ref().or(shared.as_ref()) else { continue };
        let request = SimulatedRequest { time: Some(now), ..case.request.clone() };
        let explanation = deciders.explain(&request);
        if let (Some(policy), Some(rule)) = (&explanation.policy, explanation.rule) {
            coverage.reach(&Rule { policy: policy.clone(), index: rule });
        }
        let failures = failures(case, &explanation);
        let duration = clock().saturating_sub(start);
        outcomes.push(Outcome { name: case.name.clone(), span: case.span, failures, duration });
    }
    Ok(SuiteReport { outcomes, coverage })
}

fn failures(case: &Case<'_>, explanation: &Explanation) -> Vec<String> {
    let expect = &case.expect;
    let mut failures = Vec::new();
    let is_reached = explanation.answer != Answer::Denied;
    let word = |reached: bool| if reached { "reached" } else { "denied" };
    if let Some(expected) = expect.is_reached.filter(|expected| *expected != is_reached) {
        failures.push(format!("{}, expected {}: {}", word(is_reached), word(expected), explanation.reason));
    }
    let decision = match explanation.answer {
        Answer::Allowed => "allow",
        Answer::Denied => "deny",
        Answer::WouldBeDenied => "would_deny",
    };
    if let Some(expected) = expect.decision.as_deref().filter(|expected| *expected != decision) {
        failures.push(format!("decision {decision}, expected {expected}"));
    }
    let policy = explanation.policy.as_deref();
    if let Some(expected) = &expect.policy {
        // The filter state names a PeerAuthentication with its kind.
        let name = expected.strip_prefix("PeerAuthentication ").unwrap_or(expected);
        if policy != Some(name) {
            failures.push(format!("policy {}, expected {expected}", policy.unwrap_or("none")));
        }
    }
    if let Some(expected) = expect.reason.as_ref().filter(|expected| **expected != explanation.reason) {
        failures.push(format!("reason `{}`, expected `{expected}`", explanation.reason));
    }
    failures
}
