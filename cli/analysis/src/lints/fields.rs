//! Fields of the resources that carry filters: what a CustomResourceDefinition does not have, a cluster drops without a word.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use sallyport_policy::{ErrorCode, closest_match};

use crate::finding::{Finding, Severity};
use crate::lints::Linter;
use crate::resource::Resource;
use crate::source::Span;
use crate::tree::{Node, Value};

/// Fields below `spec` of a kind, each with the words that it takes; none where it takes others than words.
type Fields = BTreeMap<&'static str, Vec<&'static str>>;

/// The kinds, each with its API group and its fields.
static KINDS: LazyLock<BTreeMap<&'static str, (&'static str, Fields)>> = LazyLock::new(|| {
    let mut kinds = BTreeMap::new();
    for part in include_str!("fields.txt").split("\n\n").skip(1) {
        let mut lines = part.lines();
        let Some((kind, group)) = lines.next().and_then(|line| line.split_once(' ')) else { continue };
        let field = |line: &'static str| {
            let mut words = line.split_whitespace();
            words.next().map(|path| (path, words.collect()))
        };
        kinds.insert(kind, (group, lines.filter_map(field).collect()));
    }
    kinds
});

pub(super) fn lint(linter: &Linter<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for resource in linter.contents.resources.iter().filter(|resource| !resource.is_list) {
        let Some((group, fields)) = resource.kind().and_then(|kind| KINDS.get(kind)) else { continue };
        if resource.group() == Some(*group) {
            check(resource, fields, &mut findings);
        }
    }
    findings
}

fn check(resource: &Resource<'_>, fields: &Fields, findings: &mut Vec<Finding>) {
    let kind = resource.kind().unwrap_or_default();
    for entry in resource.node.entries() {
        // An item of a list inherits kind and version.
        if !["apiVersion", "kind", "metadata", "spec", "status"].contains(&entry.key.as_str()) {
            let known = ["apiVersion", "kind", "metadata", "spec"].map(str::to_owned);
            findings.push(unknown(kind, "", &entry.key, entry.key_span, &known));
        }
    }
    let Some(spec) = resource.node.get("spec") else { return };
    let mut open: Vec<(String, &Node)> = vec![(String::new(), spec)];
    while let Some((path, node)) = open.pop() {
        for entry in node.entries().iter().filter(|entry| !matches!(entry.value.value, Value::Null)) {
            let mut within = match path.is_empty() {
                true => entry.key.clone(),
                false => format!("{path}.{}", entry.key),
            };
            let mut items = vec![&entry.value];
            while items.iter().any(|item| matches!(item.value, Value::List(_))) {
                items = items.iter().flat_map(|item| item.items()).collect();
                within.push_str("[]");
            }
            if fields.contains_key(format!("{within}.**").as_str()) {
                continue;
            }
            // An empty list or object has nothing below it, and one for the other is refused by the cluster.
            let is_known = |path: &str| fields.contains_key(path) || fields.contains_key(format!("{path}[]").as_str());
            let Some(words) = fields.get(within.as_str()) else {
                let plain = within.trim_end_matches("[]");
                if !is_known(plain) && !is_open(fields, plain) {
                    findings.push(unknown(kind, &path, &entry.key, entry.key_span, &beside(fields, &path)));
                }
                continue;
            };
            for item in items {
                let word = item.as_str().filter(|word| !words.is_empty() && !words.contains(word));
                findings.extend(word.map(|word| unknown_word(&entry.key, word, item.span, words)));
                open.push((within.clone(), item));
            }
        }
    }
}

/// Reports whether a field or the items of a list have anything below them.
fn is_open(fields: &Fields, path: &str) -> bool {
    fields.contains_key(format!("{path}.**").as_str()) || fields.contains_key(format!("{path}[].**").as_str())
}

/// Returns the fields at a place.
fn beside(fields: &Fields, path: &str) -> Vec<String> {
    let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
    let below = fields.keys().filter_map(|field| field.strip_prefix(prefix.as_str()));
    let mut names: Vec<String> =
        below.filter_map(|field| field.split('.').next()).map(|name| name.trim_end_matches("[]").to_owned()).collect();
    names.dedup();
    names
}

fn unknown(kind: &str, path: &str, key: &str, span: Span, known: &[String]) -> Finding {
    let help = match closest_match(key, known.iter().map(String::as_str)) {
        Some(nearest) => format!("write `{nearest}`"),
        None => format!("remove it; {} has {}", if path.is_empty() { kind } else { path }, known.join(", ")),
    };
    Finding {
        severity: Severity::Error,
        code: ErrorCode::UnknownField.as_str().to_owned(),
        message: format!("{kind} has no field `{key}` here, and a cluster drops it without a word"),
        help,
        span: Some(span),
    }
}

fn unknown_word(key: &str, word: &str, span: Span, words: &[&str]) -> Finding {
    Finding {
        severity: Severity::Error,
        code: ErrorCode::UnknownValue.as_str().to_owned(),
        message: format!("unknown value `{word}` of {key}, which a cluster refuses"),
        help: format!("write {}", words.join(", ")),
        span: Some(span),
    }
}
