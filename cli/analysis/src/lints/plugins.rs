//! Lints of the resources that carry a filter's configuration to the proxy.

use crate::finding::{Finding, Severity};
use crate::lints::{Lint, Linter, warning};
use crate::settings::Filter;
use crate::source::Span;
use crate::tree::Node;

pub(super) const FAIL_OPEN: Lint = Lint {
    code: "fail-open",
    title: "A filter, or the authorizer that it relies on, lets requests through when it fails",
    fix: "remove it, or write false or FAIL_CLOSE",
};

pub(super) const DOCUMENT_NOT_READ: Lint = Lint {
    code: "document-not-read",
    title: "A document stands behind Envoy's configuration in one file, and Envoy reads the first alone",
    fix: "remove the line ---, or write a file of its own",
};

pub(crate) const REPORT_MODE: Lint = Lint {
    code: "report-mode",
    title: "A filter is in report mode: it says what it would deny, and denies nothing",
    fix: "remove `mode: report` once its reports are read",
};

pub(super) fn lint(linter: &mut Linter<'_>) {
    let mut open: Vec<Span> = Vec::new();
    for plugin in linter.project.plugins() {
        open.extend(plugin.fail_open);
    }
    for span in open {
        let message = "a filter that fails or is not loaded lets every request through".to_owned();
        linter.warn(FAIL_OPEN, span, message, FAIL_OPEN.fix);
    }
    let of_file = Filter::ALL.iter().filter_map(|filter| linter.contents.config?.get(filter.key()));
    let carried = linter.project.plugins().iter().filter_map(|plugin| plugin.configuration.as_ref());
    let modes = carried.chain(of_file).filter_map(|configuration| configuration.get("mode"));
    let reporting: Vec<Span> = modes.filter(|mode| mode.as_str() == Some("report")).map(|mode| mode.span).collect();
    for span in reporting {
        let message = "the filter denies nothing, and only reports".to_owned();
        let finding = Finding { severity: Severity::Note, ..warning(REPORT_MODE, span, message, REPORT_MODE.fix) };
        linter.findings.push(finding);
    }
    for span in documents_behind_envoy(linter) {
        let message = "Envoy reads the first document of a file alone, so this one is not loaded".to_owned();
        linter.warn(DOCUMENT_NOT_READ, span, message, DOCUMENT_NOT_READ.fix);
    }
}

/// Returns the first keys of documents behind a document of Envoy's configuration in the same file.
fn documents_behind_envoy(linter: &Linter<'_>) -> Vec<Span> {
    let firsts: Vec<&Node> = linter.contents.others.iter().copied().filter(|node| is_of_envoy(node)).collect();
    let roots = linter.contents.others.iter().copied().chain(linter.contents.resources.iter().map(|one| one.node));
    let is_behind = |node: &&Node| {
        firsts.iter().any(|first| first.span.source == node.span.source && first.span.start < node.span.start)
    };
    roots.filter(is_behind).map(Node::first_span).collect()
}

/// Reports whether a document is a bootstrap, or a file that Envoy watches.
fn is_of_envoy(node: &Node) -> bool {
    let is_typed = |item: &Node| item.get("@type").is_some();
    ["static_resources", "dynamic_resources"].iter().any(|key| node.get(key).is_some())
        || node
            .get("resources")
            .is_some_and(|resources| !resources.items().is_empty() && resources.items().iter().all(is_typed))
}
