//! Policies that let everyone in, or that only report.

use crate::lints::policy::{Policy, blocks, texts};
use crate::lints::{Lint, Linter};
use crate::source::Span;
use crate::tree::Node;

pub(super) const ALLOWS_EVERYONE: Lint = Lint {
    code: "allows-everyone",
    title: "An ALLOW rule lets everyone do everything",
    fix: "say who or what in from, to or when, or write `defaultAction: ALLOW` if that is meant",
};

pub(super) const DRY_RUN: Lint = Lint {
    code: "dry-run",
    title: "A policy is only reported: `istio.io/dry-run` is on",
    fix: "remove the annotation once its reports are read",
};

pub(super) fn lint(linter: &mut Linter<'_>) {
    let mut everyone: Vec<(Span, String)> = Vec::new();
    let mut reported: Vec<(Span, String)> = Vec::new();
    for policy in &linter.policies {
        if policy.action == "ALLOW" {
            let open = policy.rules.iter().enumerate().filter(|(_, rule)| is_open(rule));
            everyone.extend(open.map(|(index, rule)| (rule.first_span(), message(policy, index))));
        }
        if let Some(span) = policy.dry_run() {
            reported.push((span, format!("{} is only reported: it denies and allows nothing", policy.name())));
        }
    }
    for (span, message) in everyone {
        linter.warn(ALLOWS_EVERYONE, span, message, ALLOWS_EVERYONE.fix);
    }
    for (span, message) in reported {
        linter.warn(DRY_RUN, span, message, DRY_RUN.fix);
    }
}

fn message(policy: &Policy<'_>, index: usize) -> String {
    format!("rule {index} of {} lets everyone do everything, so no other ALLOW counts", policy.name())
}

/// Reports whether a rule matches every request.
fn is_open(rule: &Node) -> bool {
    let is_any = |values: &[&str]| values.iter().any(|value| ["*", "/*", "0.0.0.0/0"].contains(value));
    let has_any_block = |list: &str, key: &'static str, wide: &[&str]| {
        rule.get(list).is_none()
            || blocks(rule, list, key).any(|block| {
                let entries = block.entries();
                !entries.is_empty()
                    && entries
                        .iter()
                        .all(|entry| wide.contains(&entry.key.as_str()) && is_any(&texts(block, &entry.key)))
            })
    };
    rule.get("when").is_none()
        && has_any_block("from", "source", &["ipBlocks", "remoteIpBlocks"])
        && has_any_block("to", "operation", &["paths", "methods", "hosts"])
}
