//! Paths of which a DENY leaves the subpaths open.

use crate::lints::cover::covers_pattern;
use crate::lints::policy::{blocks, texts};
use crate::lints::{Lint, Linter};
use crate::source::Span;
use crate::tree::Node;

pub(super) const DENY_WITHOUT_SUBPATHS: Lint = Lint {
    code: "deny-without-subpaths",
    title: "A DENY of `/x` leaves `/x/` and what is below it open",
    fix: "add `/x/*`",
};

pub(super) fn lint(linter: &mut Linter<'_>) {
    let mut found: Vec<(Span, String)> = Vec::new();
    for policy in linter.policies.iter().filter(|policy| policy.action == "DENY") {
        for operation in policy.rules.iter().flat_map(|rule| blocks(rule, "to", "operation")) {
            let known = texts(operation, "paths");
            for path in operation.get("paths").map_or(&[][..], Node::items) {
                let Some(text) = path.as_str().filter(|text| is_folder(text)) else { continue };
                let below = format!("{text}/*");
                let is_listed = |other: &&str| covers_pattern(other, &below) || other.starts_with(&format!("{text}/"));
                if !known.iter().any(is_listed) {
                    found.push((path.span, text.to_owned()));
                }
            }
        }
    }
    for (span, path) in found {
        let message = format!("this denies `{path}`, and leaves `{path}/` and what is below it open");
        linter.warn(DENY_WITHOUT_SUBPATHS, span, message, format!("add `{path}/*`"));
    }
}

/// Reports whether a path is exact and can have others below it: its last segment has no ending, as files have.
fn is_folder(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    !path.contains(['*', '{']) && !last.is_empty() && !last.contains('.')
}
