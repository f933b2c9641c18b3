//! Regular expressions where a policy compares texts and knows `*` alone.

use sallyport_policy::{ValueKind, globs_of_regex, looks_like_regex};

use crate::lints::policy::{Policy, blocks};
use crate::lints::{Lint, Linter};
use crate::source::Span;
use crate::tree::{Entry, Node};

pub(super) const LOOKS_LIKE_REGEX: Lint = Lint {
    code: "looks-like-regex",
    title: "A value looks like a regular expression, and is compared as it stands",
    fix: "write the exact value, a prefix `x*` or a suffix `*x`; `*` stands for any text, `.*` for a dot and any text",
};

pub(super) fn lint(linter: &mut Linter<'_>) {
    let found: Vec<_> = linter.policies.iter().flat_map(of_policy).collect();
    for (span, message, help) in found {
        linter.warn(LOOKS_LIKE_REGEX, span, message, help);
    }
}

/// Finds them in `exempt` of the settings of `baseline-deny`.
pub(super) fn lint_exemptions(linter: &mut Linter<'_>, settings: &Node) {
    let lists = [("userAgents", ValueKind::UserAgent), ("paths", ValueKind::Path)];
    let entries = lists.into_iter().filter_map(|(key, kind)| Some((settings.at(&["exempt"])?.entry(key)?, kind)));
    for (span, message, help) in entries.flat_map(|(entry, kind)| of_list(entry, kind)) {
        linter.warn(LOOKS_LIKE_REGEX, span, message, help);
    }
}

fn of_policy(policy: &Policy<'_>) -> Vec<(Span, String, String)> {
    let mut found = Vec::new();
    for rule in policy.rules {
        for part in
            [("from", "source"), ("to", "operation")].into_iter().flat_map(|(list, key)| blocks(rule, list, key))
        {
            found.extend(part.entries().iter().flat_map(|entry| of_list(entry, kind_of(&entry.key))));
        }
        for condition in rule.get("when").map_or(&[][..], Node::items) {
            let Some(key) = condition.text_at(&["key"]) else { continue };
            let lists = ["values", "notValues"].into_iter().filter_map(|list| condition.entry(list));
            found.extend(lists.flat_map(|entry| of_list(entry, kind_of(key))));
        }
    }
    found
}

fn kind_of(key: &str) -> ValueKind {
    let name = key.strip_prefix("not").unwrap_or(key).to_ascii_lowercase();
    match name.as_str() {
        "paths" => ValueKind::Path,
        "methods" => ValueKind::Method,
        "request.headers[user-agent]" => ValueKind::UserAgent,
        "namespaces" | "request.auth.audiences" | "request.auth.presenter" | "source.namespace" => ValueKind::Word,
        _ if name.starts_with("request.auth.claims[") || name.starts_with("request.headers[") => ValueKind::Word,
        _ => ValueKind::Dotted,
    }
}

fn of_list(entry: &Entry, kind: ValueKind) -> Vec<(Span, String, String)> {
    let finding = |item: &Node| {
        let text = item.as_str().filter(|text| looks_like_regex(text, kind))?;
        let message = format!("`{text}` looks like a regular expression, and is compared as it stands");
        let globs = globs_of_regex(text, kind);
        let help = globs.map_or_else(|| LOOKS_LIKE_REGEX.fix.to_owned(), |globs| format!("write {}", listed(&globs)));
        Some((item.span, message, help))
    };
    entry.value.items().iter().filter_map(finding).collect()
}

fn listed(globs: &[String]) -> String {
    globs.iter().map(|glob| format!("`{glob}`")).collect::<Vec<_>>().join(" and ")
}
