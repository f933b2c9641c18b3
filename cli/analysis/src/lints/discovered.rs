//! Files that Envoy watches, and the filters that take their configuration from them.

use crate::discovery::{Discovered, Watched, discovered, watched};
use crate::finding::Finding;
use crate::lints::{Lint, Linter, filter_type, warning};
use crate::plugin::{find_plugins, named_filter};
use crate::project::Project;
use crate::settings::Filter;
use crate::tree::Node;

pub(super) const DISCOVERY_NAME: Lint = Lint {
    code: "discovery-name",
    title: "A file that Envoy watches has another name for the filter than the listener, so Envoy refuses it",
    fix: "write one resource, with the `name` that the filter has in the listener",
};

pub(super) fn lint(linter: &Linter<'_>) -> Vec<Finding> {
    let roots = || linter.contents.others.iter().copied();
    let (filters, files) = (discovered(roots()), watched(roots()));
    let mut findings = Vec::new();
    for file in &files {
        // Listeners of one proxy can share a file, and have one name for it then.
        let takers: Vec<&Discovered<'_>> =
            filters.iter().filter(|filter| takes(linter.project, filter, file, &filters, &files)).collect();
        let Some(first) = takers.first() else { continue };
        let wanted = first.name.as_str().unwrap_or_default();
        let place = linter.project.place(first.name.span);
        let is_taken = |name: &str| takers.iter().any(|taker| taker.name.as_str() == Some(name));
        let mut names = file.resources.iter().filter_map(|resource| resource.get("name"));
        if file.resources.len() > 1 {
            let span = file.resources.get(1).map_or(file.root.span, Node::first_span);
            let message = format!(
                "{place} takes its configuration from this file, of which Envoy reads one resource: it refuses {}",
                file.resources.len()
            );
            findings.push(warning(DISCOVERY_NAME, span, message, "write a file for each filter"));
        } else if let Some(name) = names.next().filter(|name| name.as_str().is_none_or(|name| !is_taken(name))) {
            let message = format!(
                "the resource is `{}` and the filter that takes it `{wanted}` ({place}), so Envoy refuses it: Unexpected \
                 resource name in ExtensionConfigDS response",
                name.as_str().unwrap_or_default()
            );
            findings.push(warning(DISCOVERY_NAME, name.span, message, format!("write name: {wanted}")));
        }
        let of_takers = takers.iter().flat_map(|taker| {
            let place = linter.project.place(taker.name.span);
            file.resources.iter().filter_map(move |resource| filter_type::of_resource(resource, taker, &place))
        });
        findings.extend(of_takers);
    }
    findings
}

/// Reports whether a filter takes its configuration from a file: from one of that name, or, where none has it, from the
/// only file with a configuration of this filter.
fn takes(
    project: &Project,
    filter: &Discovered<'_>,
    file: &Watched<'_>,
    filters: &[Discovered<'_>],
    files: &[Watched<'_>],
) -> bool {
    let Some(path) = filter.path else { return false };
    let is_named = |file: &Watched<'_>| {
        let source = project.sources().get(file.root.span.source);
        source.is_some_and(|source| last(&source.name) == last(path))
    };
    if files.iter().any(is_named) {
        return is_named(file);
    }
    let of_file = |file: &Watched<'_>| carried(project, file);
    let own = filter.filter();
    let count = files.iter().filter(|file| of_file(file) == own).count();
    let others = filters.iter().filter(|other| other.filter() == own && other.path != filter.path).count();
    own.is_some() && of_file(file) == own && count == 1 && others == 0
}

/// Returns the filter whose configuration a file has.
fn carried(project: &Project, file: &Watched<'_>) -> Option<Filter> {
    let source = project.sources().get(file.root.span.source)?;
    let of_plugin = find_plugins(file.root, file.root.span.source, source).first().map(|plugin| plugin.filter);
    of_plugin.or_else(|| named_filter(&[file.resources.first()?.get("name")?]))
}

fn last(path: &str) -> Option<&str> {
    path.rsplit(['/', '\\']).next()
}
