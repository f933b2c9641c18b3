//! `check`: every fault that a filter would refuse, and what it takes and its author is not likely to mean.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use sallyport_policy::ErrorCode;

use crate::codes::fix;
use crate::filters::{FilterInput, Loaded};
use crate::finding::{Finding, Severity, settle};
use crate::lints::{LOAD_WARNING, SAME_SCOPE, lint};
use crate::plugin::Plugin;
use crate::project::{Contents, Project};
use crate::resource::Resource;
use crate::settings::Filter;
use crate::source::Span;
use crate::tree::{Node, Value};

/// Findings of a check.
#[derive(Debug, Default)]
pub struct Report {
    /// Findings, by file and line.
    pub findings: Vec<Finding>,
    /// Number of resources of each kind that no filter reads.
    pub passed_over: Vec<(String, usize)>,
}

/// Checks all files of a project; findings of the codes `ignored` are left out.
pub fn check(project: &Project, ignored: &[String]) -> Report {
    let contents = project.contents();
    let mut findings = project.findings().to_vec();
    findings.extend(duplicates(project, &contents));
    findings.extend(config_findings(&contents));
    for filter in Filter::ALL {
        let Some(input) = FilterInput::new(project, &contents, filter) else { continue };
        match input.load() {
            Ok(loaded) => findings.extend(warnings(&input, &loaded)),
            Err(faults) => {
                let is_counted = |fault: &Finding| counts(project, &contents, filter, fault);
                findings.extend(faults.into_iter().filter(is_counted));
            }
        }
    }
    let plugins = project.plugins().iter().enumerate();
    for (_, plugin) in plugins.filter(|(index, _)| !project.is_chosen(*index)) {
        findings.extend(plugin_findings(project, plugin));
    }
    findings.extend(lint(project, &contents));
    drop_repeated_scopes(&mut findings);
    settle(&mut findings, project.sources(), ignored);
    let passed_over = passed_over(&contents, &findings);
    Report { findings, passed_over }
}

/// Drops what a lint says about two PeerAuthentications where their filter says it, as an error or a warning.
fn drop_repeated_scopes(findings: &mut Vec<Finding>) {
    let is_lint = |finding: &Finding| finding.code == SAME_SCOPE.code;
    let is_said = |finding: &&Finding| {
        !is_lint(finding) && (finding.message.contains("older") || finding.help.contains("the older one"))
    };
    let said: Vec<Option<Span>> = findings.iter().filter(is_said).map(|finding| finding.span).collect();
    findings.retain(|finding| !(is_lint(finding) && said.contains(&finding.span)));
}

/// Returns what the filter of a plugin configuration refuses and warns of.
fn plugin_findings(project: &Project, plugin: &Plugin) -> Vec<Finding> {
    let configuration = match readable(plugin) {
        Ok(configuration) => configuration,
        Err(fault) => return vec![fault],
    };
    let input = FilterInput::complete(project, plugin.filter, configuration, plugin.span);
    match input.load() {
        Ok(loaded) => warnings(&input, &loaded),
        Err(faults) => faults,
    }
}

/// Returns the configuration that a plugin carries.
///
/// # Errors
///
/// The fault for which no filter can read it.
pub(crate) fn readable(plugin: &Plugin) -> Result<&Node, Finding> {
    let Some(configuration) = &plugin.configuration else {
        return Err(Finding {
            severity: Severity::Error,
            code: ErrorCode::MissingField.as_str().to_owned(),
            message: format!("the filter {} has no configuration", plugin.filter.name()),
            help: "write it as pluginConfig, config or configuration".to_owned(),
            span: Some(plugin.span),
        });
    };
    if let Some(span) = plugin.unreadable {
        let (message, help) = match plugin.image.is_some() {
            true => (
                "the configuration is a text, and has to be an object",
                "write an object: without the quotes, or without the `|`",
            ),
            false => ("the configuration is a text and no JSON", fix(ErrorCode::Unreadable)),
        };
        return Err(Finding {
            severity: Severity::Error,
            code: ErrorCode::Unreadable.as_str().to_owned(),
            message: message.to_owned(),
            help: help.to_owned(),
            span: Some(span),
        });
    }
    Ok(configuration)
}

/// Reports whether a fault is one of the files. Without a workload nothing is said about what applies to it.
fn counts(project: &Project, contents: &Contents<'_>, filter: Filter, fault: &Finding) -> bool {
    let settings = project.filter_settings(contents, filter);
    let is = |code: ErrorCode| fault.code == code.as_str();
    // They are found among all resources, those with other faults too.
    if is(ErrorCode::DuplicateResource) {
        return false;
    }
    let is_open = !settings.has("workload");
    !(is_open && (is(ErrorCode::UndecidedTarget) || is(ErrorCode::MissingDefaultAction) && settings.section.is_none()))
}

/// Kinds of which the later of two with one name takes the place of the earlier, beside those that a filter reads.
const NAMED_ONCE: [&str; 7] = [
    "RequestAuthentication",
    "WasmPlugin",
    "TrafficExtension",
    "EnvoyExtensionPolicy",
    "EnvoyFilter",
    "ClientTrafficPolicy",
    "SecurityPolicy",
];

/// Returns a fault for each resource whose kind, namespace and name an earlier one has.
fn duplicates(project: &Project, contents: &Contents<'_>) -> Vec<Finding> {
    let default_namespace = contents.default_namespace.as_deref();
    let mut seen: HashMap<(&str, &str, &str), &Resource<'_>> = HashMap::new();
    let mut findings = Vec::new();
    for resource in &contents.resources {
        let is_policy = resource.is_for_identity()
            || resource.is_for_egress()
            || resource.kind().is_some_and(|kind| NAMED_ONCE.contains(&kind));
        let namespace = resource.namespace().or(default_namespace).unwrap_or_default();
        let Some((kind, name)) = resource.kind().zip(resource.name()).filter(|_| is_policy) else { continue };
        match seen.entry((kind, namespace, name)) {
            Slot::Vacant(slot) => {
                slot.insert(resource);
            }
            Slot::Occupied(earlier) => {
                let full_name = if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") };
                findings.push(Finding {
                    severity: Severity::Error,
                    code: ErrorCode::DuplicateResource.as_str().to_owned(),
                    message: format!(
                        "duplicate {kind} {full_name}, already defined at {}",
                        project.place(earlier.get().span())
                    ),
                    help: "rename or remove one of the two".to_owned(),
                    span: Some(resource.span()),
                });
            }
        }
    }
    findings
}

/// Returns the findings about the keys of the configuration file.
pub(crate) fn config_findings(contents: &Contents<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(config) = contents.config else { return findings };
    let mut unknown = |span, message: String, help: &str| {
        findings.push(Finding {
            severity: Severity::Error,
            code: ErrorCode::UnknownField.as_str().to_owned(),
            message,
            help: help.to_owned(),
            span: Some(span),
        });
    };
    for entry in config.entries() {
        if Filter::ALL.iter().all(|filter| filter.key() != entry.key) {
            unknown(
                entry.key_span,
                "unknown field".to_owned(),
                "expected identityAuthz, baselineDeny or egressAllowlist",
            );
        } else if let Some(resources) = entry.value.entry("resources") {
            unknown(
                resources.key_span,
                "resources do not belong into the configuration file".to_owned(),
                "remove the key, and give the resources as files",
            );
        } else if !matches!(entry.value.value, Value::Object(_) | Value::Null) {
            unknown(
                entry.key_span,
                "the settings of a filter are no object".to_owned(),
                "write keys and values below it",
            );
        }
    }
    if config.entries().is_empty() {
        unknown(
            config.first_span(),
            "the configuration file is no object".to_owned(),
            "write an object with identityAuthz, baselineDeny or egressAllowlist",
        );
    }
    findings
}

/// Returns what a filter says at load about what it takes and may surprise.
fn warnings(input: &FilterInput<'_>, loaded: &Loaded) -> Vec<Finding> {
    // What looks like a regular expression is found at each value.
    let is_found = |line: &&String| !line.starts_with("values that look like regular expressions");
    // Of files without a workload everything is read, which is no news to who has set none; nor is that a policy picks none
    // of the workloads of a list that is not there.
    let (lists_workloads, is_complete) = (input.has("workloads"), input.is_complete());
    let is_about_files = |line: &&String| {
        (is_complete || !line.contains("no workload is set"))
            && (lists_workloads || !line.contains("listed under workloads"))
    };
    let finding = |line: &String| {
        let (message, help) = line.split_once("; ").unwrap_or((line, "see docs/errors.md"));
        Finding {
            severity: Severity::Warning,
            code: LOAD_WARNING.code.to_owned(),
            message: message.to_owned(),
            help: help.to_owned(),
            span: input.named_resource(line).or(input.key_span()),
        }
    };
    let without_effect = nothing_applies(input, loaded);
    loaded
        .report()
        .warnings()
        .iter()
        .filter(is_about_files)
        .filter(is_found)
        .map(finding)
        .chain(without_effect)
        .collect()
}

/// Returns a warning where a configuration that is complete by itself has policies, and none of them applies.
fn nothing_applies(input: &FilterInput<'_>, loaded: &Loaded) -> Option<Finding> {
    let why = loaded.report().notes().iter().find(|line| line.contains(" do not apply here: "))?;
    let is_empty = input.is_complete() && loaded.report().summary().contains(", 0 apply here,");
    is_empty.then(|| Finding {
        severity: Severity::Warning,
        code: LOAD_WARNING.code.to_owned(),
        message: format!("no policy applies to this workload: {why}"),
        help: "correct the selectors and namespaces of the policies, or the workload".to_owned(),
        span: input.workload_span().or(input.key_span()),
    })
}

/// Counts the resources of the kinds that no filter reads and that are no faults.
fn passed_over(contents: &Contents<'_>, findings: &[Finding]) -> Vec<(String, usize)> {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for resource in contents.resources.iter().filter(|resource| !resource.is_list) {
        let Some(kind) = resource.kind().filter(|_| !(resource.is_for_identity() || resource.is_for_egress())) else {
            continue;
        };
        let kind_span = resource.node.get("kind").map(|kind| kind.span);
        if kind_span.is_some() && findings.iter().any(|finding| finding.span == kind_span) {
            continue;
        }
        match counts.iter_mut().find(|(known, _)| known == kind) {
            Some((_, count)) => *count += 1,
            None => counts.push((kind.to_owned(), 1)),
        }
    }
    counts
}
