//! Lints: what a filter takes and its author is not likely to mean.

mod authentication;
mod broad;
pub(crate) mod cover;
mod hosts;
mod never;
mod paths;
mod plugins;
pub(crate) mod policy;
mod superfluous;
mod workloads;

use crate::finding::{Finding, Severity};
use crate::lints::policy::Policy;
use crate::project::{Contents, Project};
use crate::source::Span;

/// A kind of lint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lint {
    /// Stable name.
    pub code: &'static str,
    /// One line about it.
    pub title: &'static str,
}

/// All lints.
pub const LINTS: [Lint; 13] = [
    never::NEVER_MATCHES,
    superfluous::SUPERFLUOUS_RULE,
    broad::ALLOWS_EVERYONE,
    broad::DRY_RUN,
    hosts::HOST_WITHOUT_PORT,
    paths::DENY_WITHOUT_SUBPATHS,
    authentication::TOKEN_WITHOUT_AUTHENTICATION,
    workloads::SELECTS_NOTHING,
    workloads::HTTP_FIELD_ON_TCP,
    plugins::FAIL_OPEN,
    plugins::MUTABLE_IMAGE,
    plugins::DOCUMENT_NOT_READ,
    LOAD_WARNING,
];

/// Warning that a filter logs at load.
pub(crate) const LOAD_WARNING: Lint = Lint { code: "load-warning", title: "A filter takes this and warns at load" };

/// The policies of a project and what lints find about them.
pub(crate) struct Linter<'p> {
    pub(crate) project: &'p Project,
    pub(crate) contents: &'p Contents<'p>,
    pub(crate) policies: Vec<Policy<'p>>,
    findings: Vec<Finding>,
}

impl Linter<'_> {
    fn warn(&mut self, lint: Lint, span: Span, message: String, help: String) {
        let severity = Severity::Warning;
        self.findings.push(Finding { severity, code: lint.code.to_owned(), message, help, span: Some(span) });
    }
}

/// Returns the warnings about the resources of a project.
pub(crate) fn lint(project: &Project, contents: &Contents<'_>) -> Vec<Finding> {
    let policies = Policy::all(contents);
    let mut linter = Linter { project, contents, policies, findings: Vec::new() };
    never::lint(&mut linter);
    superfluous::lint(&mut linter);
    broad::lint(&mut linter);
    hosts::lint(&mut linter);
    paths::lint(&mut linter);
    authentication::lint(&mut linter);
    workloads::lint(&mut linter);
    plugins::lint(&mut linter);
    linter.findings
}
