//! Lints: what a filter takes and its author is not likely to mean.

mod authentication;
mod broad;
pub(crate) mod cover;
mod denied;
mod gateway_settings;
mod hosts;
mod images;
mod insertion;
mod listener;
mod listener_http;
mod listener_tls;
mod needs;
mod never;
mod paths;
mod peers;
mod placement;
mod plugins;
pub(crate) mod policy;
mod size;
mod superfluous;
mod workloads;

pub(crate) use crate::lints::peers::SAME_SCOPE;
pub(crate) use crate::lints::plugins::REPORT_MODE;

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
    /// One line that says what to write instead.
    pub fix: &'static str,
}

/// All lints.
pub const LINTS: [Lint; 28] = [
    never::NEVER_MATCHES,
    denied::DENIED_ANYWAY,
    superfluous::SUPERFLUOUS_RULE,
    broad::ALLOWS_EVERYONE,
    broad::DRY_RUN,
    hosts::HOST_WITHOUT_PORT,
    paths::DENY_WITHOUT_SUBPATHS,
    authentication::TOKEN_WITHOUT_AUTHENTICATION,
    workloads::SELECTS_NOTHING,
    workloads::HTTP_FIELD_ON_TCP,
    peers::SAME_SCOPE,
    plugins::FAIL_OPEN,
    listener::FILTER_DISABLED,
    insertion::FILTER_NOT_INSERTED,
    insertion::FILTER_IN_BOTH_DIRECTIONS,
    images::MUTABLE_IMAGE,
    images::UNLOADABLE_IMAGE,
    size::NEAR_SIZE_LIMIT,
    listener_tls::CLIENT_CERTIFICATE,
    listener_tls::SESSION_RESUMPTION,
    listener_http::PATH_NORMALIZATION,
    listener_http::CLIENT_ADDRESS,
    listener_http::TOKEN_PAYLOAD,
    listener_http::MISSING_MARK,
    listener::MISSING_TLS_INSPECTOR,
    plugins::DOCUMENT_NOT_READ,
    plugins::REPORT_MODE,
    LOAD_WARNING,
];

/// Warning that a filter logs at load.
pub(crate) const LOAD_WARNING: Lint = Lint {
    code: "load-warning",
    title: "A filter takes this, and warns at load",
    fix: "write what the message names, or leave it if that is meant",
};

/// The policies of a project and what lints find about them.
pub(crate) struct Linter<'p> {
    pub(crate) project: &'p Project,
    pub(crate) contents: &'p Contents<'p>,
    pub(crate) policies: Vec<Policy<'p>>,
    findings: Vec<Finding>,
}

impl Linter<'_> {
    fn warn(&mut self, lint: Lint, span: Span, message: String, help: impl Into<String>) {
        self.findings.push(warning(lint, span, message, help));
    }
}

/// Returns a finding of a lint.
fn warning(lint: Lint, span: Span, message: impl Into<String>, help: impl Into<String>) -> Finding {
    let severity = Severity::Warning;
    let code = lint.code.to_owned();
    Finding { severity, code, message: message.into(), help: help.into(), span: Some(span) }
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
    let mut findings = std::mem::take(&mut linter.findings);
    let lints =
        [denied::lint, peers::lint, images::lint, insertion::lint, size::lint, listener::lint, gateway_settings::lint];
    lints.into_iter().for_each(|lint| findings.extend(lint(&linter)));
    findings
}
