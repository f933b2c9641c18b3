//! Lints: what a filter takes and its author is not likely to mean.

mod addresses;
mod authentication;
mod broad;
mod carrier;
pub(crate) mod connections;
pub(crate) mod cover;
mod denied;
mod discovered;
mod fields;
mod filter_type;
mod gateway_policies;
mod gateway_settings;
mod hosts;
mod images;
mod insertion;
mod listener;
mod listener_http;
mod listener_tls;
mod mesh_identity;
mod near_miss;
mod needs;
mod never;
mod paths;
mod peers;
mod phase;
mod placement;
mod plugin_type;
mod plugins;
pub(crate) mod policy;
mod regular_expression;
mod routes;
mod size;
mod superfluous;
mod trust_domains;
mod twice;
mod two_filters;
mod workload_mismatch;
mod workloads;
mod wrong_module;

pub(crate) use crate::lints::listener_tls::FORGEABLE_IDENTITY;
pub(crate) use crate::lints::peers::SAME_SCOPE;
pub(crate) use crate::lints::plugins::REPORT_MODE;

use crate::filters::FilterInput;
use crate::finding::{Finding, Severity};
use crate::lints::policy::Policy;
use crate::project::{Contents, Project};
use crate::resource::Resource;
use crate::settings::{Filter, Layer};
use crate::source::Span;
use crate::tree::Node;

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
pub const LINTS: [Lint; 39] = [
    never::NEVER_MATCHES,
    denied::DENIED_ANYWAY,
    superfluous::SUPERFLUOUS_RULE,
    broad::ALLOWS_EVERYONE,
    broad::DRY_RUN,
    hosts::HOST_WITHOUT_PORT,
    paths::DENY_WITHOUT_SUBPATHS,
    regular_expression::LOOKS_LIKE_REGEX,
    authentication::TOKEN_WITHOUT_AUTHENTICATION,
    workloads::SELECTS_NOTHING,
    connections::HTTP_FIELD_ON_TCP,
    peers::SAME_SCOPE,
    plugins::FAIL_OPEN,
    listener::FILTER_DISABLED,
    insertion::FILTER_NOT_INSERTED,
    insertion::FILTER_IN_BOTH_DIRECTIONS,
    twice::FILTER_TWICE,
    phase::PLUGIN_PHASE,
    workload_mismatch::WORKLOAD_MISMATCH,
    images::MUTABLE_IMAGE,
    images::UNLOADABLE_IMAGE,
    size::NEAR_SIZE_LIMIT,
    FORGEABLE_IDENTITY,
    listener_tls::CLIENT_CERTIFICATE,
    listener_tls::SESSION_RESUMPTION,
    mesh_identity::PLAINTEXT,
    listener_http::PATH_NORMALIZATION,
    listener_http::CLIENT_ADDRESS,
    listener_http::TOKEN_PAYLOAD,
    listener_http::MISSING_MARK,
    listener::MISSING_TLS_INSPECTOR,
    plugins::DOCUMENT_NOT_READ,
    plugins::REPORT_MODE,
    LOAD_WARNING,
    discovered::DISCOVERY_NAME,
    filter_type::FILTER_TYPE,
    two_filters::HEADER_CASE,
    trust_domains::UNACCEPTED_TRUST_DOMAIN,
    wrong_module::WRONG_MODULE,
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

impl<'p> Linter<'p> {
    fn new(project: &'p Project, contents: &'p Contents<'p>) -> Self {
        Self { project, contents, policies: Policy::all(contents), findings: Vec::new() }
    }

    fn lint_policies(&mut self) {
        OF_POLICIES.iter().for_each(|lint| lint(self));
        let mut denied = denied::lint(self);
        self.findings.append(&mut denied);
    }

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

/// Lints of policies by themselves, whatever else is among the files.
const OF_POLICIES: [fn(&mut Linter<'_>); 6] =
    [never::lint, superfluous::lint, broad::lint, hosts::lint, paths::lint, regular_expression::lint];

/// Lints that look at everything.
const OF_PROJECT: [fn(&Linter<'_>) -> Vec<Finding>; 2] = [peers::lint, near_miss::lint];

/// Lints of manifests that carry filters, and of the proxies around them.
const OF_CARRIERS: [fn(&Linter<'_>) -> Vec<Finding>; 18] = [
    images::lint,
    insertion::lint,
    size::lint,
    listener::lint,
    gateway_settings::lint,
    addresses::lint,
    fields::lint,
    filter_type::lint,
    gateway_policies::lint,
    mesh_identity::lint,
    phase::lint,
    plugin_type::lint,
    routes::lint,
    twice::lint,
    workload_mismatch::lint,
    discovered::lint,
    trust_domains::lint,
    wrong_module::lint,
];

/// Returns the warnings about the resources of a project.
pub(crate) fn lint(project: &Project, contents: &Contents<'_>) -> Vec<Finding> {
    let mut linter = Linter::new(project, contents);
    linter.lint_policies();
    authentication::lint(&mut linter);
    workloads::lint(&mut linter);
    connections::lint(&mut linter);
    two_filters::lint(&mut linter);
    plugins::lint(&mut linter);
    let baseline_deny = contents.config.and_then(|config| config.get(Filter::BaselineDeny.key()));
    baseline_deny.iter().for_each(|settings| regular_expression::lint_exemptions(&mut linter, settings));
    let mut findings = std::mem::take(&mut linter.findings);
    OF_PROJECT.iter().for_each(|lint| findings.extend(lint(&linter)));
    if cfg!(feature = "whole") {
        OF_CARRIERS.iter().for_each(|lint| findings.extend(lint(&linter)));
    }
    // The policies of each configuration are for one proxy, and are compared with each other alone.
    for plugin in project.plugins() {
        let Some(configuration) = &plugin.configuration else { continue };
        let resources = configuration.get("resources").map_or(&[][..], Node::items);
        let resources: Vec<Resource<'_>> = resources.iter().filter_map(Resource::open).flatten().collect();
        let default_namespace = configuration.text_at(&["defaultNamespace"]).map(str::to_owned);
        let contents = Contents { resources, default_namespace, ..Contents::default() };
        let mut linter = Linter::new(project, &contents);
        linter.lint_policies();
        if plugin.filter == Filter::IdentityAuthz && plugin.position.layer == Some(Layer::Tcp) {
            let input = FilterInput::complete(project, plugin.filter, configuration, plugin.span);
            connections::lint_of_filter(&mut linter, &input.applicable().ok());
        }
        regular_expression::lint_exemptions(&mut linter, configuration);
        findings.append(&mut linter.findings);
    }
    findings
}

#[cfg(test)]
mod tests;
