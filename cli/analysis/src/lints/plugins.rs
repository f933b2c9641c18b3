//! Lints of the resources that carry a filter's configuration to the proxy.

use crate::lints::{Lint, Linter};
use crate::source::Span;
use crate::tree::Node;

pub(super) const FAIL_OPEN: Lint = Lint { code: "fail-open", title: "A filter that fails lets requests through" };

pub(super) const MUTABLE_IMAGE: Lint =
    Lint { code: "mutable-image", title: "An image is named by a tag that can come to mean another" };

pub(super) const DOCUMENT_NOT_READ: Lint =
    Lint { code: "document-not-read", title: "Envoy reads the first document of a file alone" };

pub(super) fn lint(linter: &mut Linter<'_>) {
    let mut open: Vec<Span> = Vec::new();
    let mut images: Vec<(Span, String)> = Vec::new();
    for plugin in linter.project.plugins() {
        open.extend(plugin.fail_open);
        images.extend(plugin.image.clone().filter(|(_, url)| is_mutable(url)));
    }
    for span in open {
        let message = "a filter that fails or is not loaded lets every request through".to_owned();
        linter.warn(FAIL_OPEN, span, message, "remove it, or write false or FAIL_CLOSE".to_owned());
    }
    for (span, url) in images {
        let message = format!("the image `{url}` can be another tomorrow");
        linter.warn(
            MUTABLE_IMAGE,
            span,
            message,
            "name it by a version and its digest, as in :1.0.0@sha256:...".to_owned(),
        );
    }
    for span in documents_behind_envoy(linter) {
        let message = "Envoy reads the first document of a file alone, so this one is not loaded".to_owned();
        let help = "remove the line ---, or write a file of its own".to_owned();
        linter.warn(DOCUMENT_NOT_READ, span, message, help);
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

/// Reports whether an image has no digest, and the tag `latest` or none.
fn is_mutable(url: &str) -> bool {
    let image = url.strip_prefix("oci://").unwrap_or(url);
    if image.contains("://") || image.contains('@') {
        return false;
    }
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}
