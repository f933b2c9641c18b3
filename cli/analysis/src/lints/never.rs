//! Sources, operations and conditions that no request meets.

use crate::lints::cover::covers_list;
use crate::lints::policy::{Policy, blocks, texts};
use crate::lints::{Lint, Linter};
use crate::source::Span;
use crate::tree::Node;

pub(super) const NEVER_MATCHES: Lint = Lint {
    code: "never-matches",
    title: "A rule can never match: a list excludes what its twin names, or conditions exclude each other",
    fix: "correct the values: as it is, the rule has no effect",
};

/// Keys with one value a request: two lists without a common value exclude each other.
const SINGLE: [&str; 4] = ["source.principal", "source.namespace", "destination.port", "connection.sni"];

pub(super) fn lint(linter: &mut Linter<'_>) {
    let mut found: Vec<(Span, String)> = Vec::new();
    for policy in &linter.policies {
        for rule in policy.rules {
            contradictions(policy, rule, &mut found);
        }
    }
    for (span, message) in found {
        linter.warn(NEVER_MATCHES, span, message, NEVER_MATCHES.fix);
    }
}

fn contradictions(policy: &Policy<'_>, rule: &Node, found: &mut Vec<(Span, String)>) {
    let parts = [("from", "source"), ("to", "operation")];
    for block in parts.into_iter().flat_map(|(list, key)| blocks(rule, list, key)) {
        for entry in block.entries().iter().filter(|entry| !entry.key.starts_with("not")) {
            let not = format!("not{}", capitalized(&entry.key));
            let (values, excluded) = (texts(block, &entry.key), texts(block, &not));
            if !values.is_empty() && covers_list(&excluded, &values) {
                let message = format!("{}: `{not}` excludes every value of `{}`", policy.name(), entry.key);
                found.push((entry.key_span, message));
            }
        }
        let namespaces = texts(block, "namespaces");
        let is_elsewhere = |principal: &&str| match principal.split('/').collect::<Vec<_>>().as_slice() {
            [.., "ns", namespace, "sa", _] => !namespaces.iter().any(|known| known == namespace || known.contains('*')),
            _ => false,
        };
        let principals = texts(block, "principals");
        if let Some(entry) = block.entry("principals").filter(|_| !namespaces.is_empty() && !principals.is_empty())
            && principals.iter().all(is_elsewhere)
        {
            let message = format!("{}: none of the `principals` is of one of the `namespaces`", policy.name());
            found.push((entry.key_span, message));
        }
    }
    let conditions = rule.get("when").map_or(&[][..], Node::items);
    for condition in conditions {
        elsewhere(policy, rule, condition, found);
    }
    for (index, condition) in conditions.iter().enumerate() {
        let Some((key, values)) = condition.text_at(&["key"]).zip(condition.entry("values")) else { continue };
        let own = texts(condition, "values");
        let not = texts(condition, "notValues");
        if !own.is_empty() && covers_list(&not, &own) {
            let message = format!("{}: `notValues` excludes every value of `values`", policy.name());
            found.push((values.key_span, message));
        }
        let is_exact = |values: &[&str]| values.iter().all(|value| !value.contains('*'));
        let excludes = |other: &&Node| {
            let others = texts(other, "values");
            let is_same = other.text_at(&["key"]) == Some(key) && SINGLE.contains(&key);
            is_same
                && !others.is_empty()
                && is_exact(&others)
                && is_exact(&own)
                && others.iter().all(|one| !own.contains(one))
        };
        if conditions.iter().take(index).any(|other| excludes(&other)) {
            let message = format!("{}: an earlier condition on `{key}` has none of these values", policy.name());
            found.push((values.key_span, message));
        }
    }
}

fn capitalized(key: &str) -> String {
    let mut characters = key.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}

/// Finds a condition that excludes every source or operation of its rule.
fn elsewhere(policy: &Policy<'_>, rule: &Node, condition: &Node, found: &mut Vec<(Span, String)>) {
    let places = [
        ("destination.port", "to", "operation", "ports"),
        ("source.principal", "from", "source", "principals"),
        ("source.namespace", "from", "source", "namespaces"),
    ];
    let of_key = |(known, ..): &&(&str, _, _, _)| condition.text_at(&["key"]) == Some(*known);
    let Some((_, list, part, key)) = places.iter().find(of_key) else { return };
    let Some(values) = condition.entry("values") else { return };
    let (wanted, excluded) = (texts(condition, "values"), texts(condition, "notValues"));
    let mut parts = blocks(rule, list, part).peekable();
    let is_exact = |values: &[&str]| !values.is_empty() && values.iter().all(|value| !value.contains('*'));
    if parts.peek().is_none() || !is_exact(&wanted) || !excluded.is_empty() {
        return;
    }
    let excludes = |part: &Node| {
        let own = texts(part, key);
        is_exact(&own) && own.iter().all(|one| !wanted.contains(one))
    };
    if parts.all(excludes) {
        found.push((
            values.key_span,
            format!("{}: none of the `{key}` of the rule is among these values", policy.name()),
        ));
    }
}
