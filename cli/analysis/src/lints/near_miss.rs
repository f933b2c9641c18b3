//! Policies that miss a workload by a letter.

use crate::finding::Finding;
use crate::lints::authentication::ROOT_NAMESPACE;
use crate::lints::{LOAD_WARNING, Linter, warning};
use crate::render::{effective_workload, workload_of};
use crate::resource::Resource;
use crate::settings::{Filter, Workload};
use crate::source::Span;
use crate::tree::Node;

/// Shortest word that is compared: of shorter ones many differ by a letter.
const MIN_LENGTH: usize = 4;

/// Shortest word of which one letter in place of another is taken for a slip.
const MIN_REPLACED: usize = 5;

/// Finds what misses the workload of a flag or of the configuration file, and in each configuration that a proxy is given
/// what misses its own.
pub(super) fn lint(linter: &Linter<'_>) -> Vec<Finding> {
    let (project, contents) = (linter.project, linter.contents);
    let mut findings = Vec::new();
    if let Some(workload) = effective_workload(project, contents) {
        let section = project.filter_settings(contents, Filter::IdentityAuthz).section;
        findings.extend(misses(&contents.resources, contents.default_namespace.as_deref(), section, &workload));
    }
    let plugins = project.plugins().iter().filter(|plugin| plugin.filter == Filter::IdentityAuthz);
    for configuration in plugins.filter_map(|plugin| plugin.configuration.as_ref()) {
        let Some(workload) = configuration.get("workload").and_then(workload_of) else { continue };
        let default_namespace = configuration.text_at(&["defaultNamespace"]);
        findings.extend(misses(&Resource::all_of(configuration), default_namespace, Some(configuration), &workload));
    }
    findings
}

fn misses(
    resources: &[Resource<'_>],
    default_namespace: Option<&str>,
    settings: Option<&Node>,
    workload: &Workload,
) -> Vec<Finding> {
    let root_namespace = settings.and_then(|settings| settings.text_at(&["rootNamespace"])).unwrap_or(ROOT_NAMESPACE);
    let default_namespace = default_namespace.unwrap_or(&workload.namespace);
    Scope { resources, default_namespace, root_namespace, workload }.findings()
}

/// Policies that are compared with one workload.
struct Scope<'s> {
    resources: &'s [Resource<'s>],
    default_namespace: &'s str,
    root_namespace: &'s str,
    workload: &'s Workload,
}

/// Word of a policy that is like one of the workload, but for a letter.
struct Miss<'s> {
    span: Span,
    difference: String,
    help: String,
    /// Word of the policy, which others can have on purpose.
    word: &'s str,
}

impl<'s> Scope<'s> {
    fn findings(&self) -> Vec<Finding> {
        let policies = self.resources.iter().filter(|one| !one.is_list && one.is_for_identity());
        let missed = policies.filter_map(|policy| Some((policy, self.miss(policy)?)));
        let missed: Vec<(&Resource<'_>, Miss<'_>)> = missed.collect();
        let meant = missed.iter().filter(|(policy, miss)| !self.is_meant(policy, miss));
        let finding = |(policy, miss): &(&Resource<'_>, Miss<'_>)| {
            let name = format!("{}/{}", self.namespace(policy), policy.name().unwrap_or_default());
            let message = format!("{name} does not apply to this workload: {}", miss.difference);
            warning(LOAD_WARNING, miss.span, message, miss.help.as_str())
        };
        meant.map(finding).collect()
    }

    fn namespace<'r>(&'r self, resource: &'r Resource<'_>) -> &'r str {
        resource.namespace().unwrap_or(self.default_namespace)
    }

    /// Returns in what a policy misses the workload, if that is a letter of a single word.
    fn miss(&self, policy: &'s Resource<'s>) -> Option<Miss<'s>> {
        let own = self.workload.labels.as_deref();
        let selector = policy.node.at(&["spec", "selector", "matchLabels"]).map_or(&[][..], Node::entries);
        let carries = |entry: &&crate::tree::Entry| {
            own.is_some_and(|own| {
                own.iter().any(|(key, value)| *key == entry.key && Some(value.as_str()) == entry.value.as_str())
            })
        };
        let differing: Vec<_> = selector.iter().filter(|entry| !carries(entry)).collect();
        let namespace = self.namespace(policy);
        if namespace != self.workload.namespace && namespace != self.root_namespace {
            let node = policy.node.at(&["metadata", "namespace"])?;
            let is_slip = differing.is_empty() && is_slip(namespace, &self.workload.namespace);
            return is_slip.then(|| Miss {
                span: node.span,
                difference: format!(
                    "it is of the namespace `{namespace}`, this workload is in `{}`",
                    self.workload.namespace
                ),
                help: format!(
                    "write {}, or leave the policy out if it is for another namespace",
                    self.workload.namespace
                ),
                word: node.as_str().unwrap_or_default(),
            });
        }
        let ([entry], Some(own)) = (differing.as_slice(), own) else { return None };
        let value = entry.value.as_str()?;
        let by_value = own.iter().find(|(key, of_own)| *key == entry.key && is_slip(value, of_own));
        let by_key = || own.iter().find(|(key, of_own)| of_own == value && is_slip(&entry.key, key));
        let (span, word, (key, of_own)) = match by_value {
            Some(label) => (entry.value.span, value, label),
            None => (entry.key_span, entry.key.as_str(), by_key()?),
        };
        Some(Miss {
            span,
            difference: format!("its selector asks for `{}: {value}`, this workload has `{key}: {of_own}`", entry.key),
            help: format!("write `{key}: {of_own}`, or leave the policy out if it is for another workload"),
            word,
        })
    }

    /// Reports whether another resource has the word too, so that there is something of this name.
    fn is_meant(&self, policy: &Resource<'_>, miss: &Miss<'_>) -> bool {
        self.resources.iter().filter(|other| other.span() != policy.span()).any(|other| has_word(other.node, miss.word))
    }
}

/// Reports whether a value has a word, by itself or as a part of a path or a host.
fn has_word(root: &Node, word: &str) -> bool {
    let mut open = vec![root];
    while let Some(node) = open.pop() {
        if node.as_str().is_some_and(|text| text.split(['/', '.', ':']).any(|part| part == word))
            || node.entries().iter().any(|entry| entry.key == word)
        {
            return true;
        }
        open.extend(node.items());
        open.extend(node.entries().iter().map(|entry| &entry.value));
    }
    false
}

/// Reports whether two words differ as a slip of the pen does: by case, or by one letter that is missing, superfluous,
/// another one, or has changed places with its neighbour. What a number or a part of one letter tells apart differs on
/// purpose.
fn is_slip(one: &str, other: &str) -> bool {
    if one.eq_ignore_ascii_case(other) {
        return one != other;
    }
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    let (short, long): (Vec<char>, Vec<char>) = (short.chars().collect(), long.chars().collect());
    let start = short.iter().zip(&long).take_while(|(one, other)| one == other).count();
    let end = short.iter().rev().zip(long.iter().rev()).take_while(|(one, other)| one == other).count();
    let end = end.min(short.len() - start);
    let middle = |word: &[char]| word.get(start..word.len() - end).unwrap_or_default().to_vec();
    let (of_short, of_long) = (middle(&short), middle(&long));
    let is_letter = |letter: &char| letter.is_alphabetic();
    let is_part = long.get(start.wrapping_sub(1)).is_none_or(|before| !before.is_alphanumeric())
        && long.get(start + of_long.len()).is_none_or(|after| !after.is_alphanumeric());
    let is_long = |length| short.len().max(long.len()) > length;
    match (of_short.as_slice(), of_long.as_slice()) {
        ([], [more]) => is_letter(more) && short.len() >= MIN_LENGTH,
        ([one], [other]) => is_letter(one) && is_letter(other) && !is_part && is_long(MIN_REPLACED - 1),
        ([a, b], [c, d]) => a == d && b == c && is_letter(a) && is_letter(b) && is_long(MIN_LENGTH - 1),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_slip;

    #[test]
    fn a_slip_is_one_letter_and_no_number() {
        let slips = [
            ("orders", "order"),
            ("orders", "orderss"),
            ("orders", "odrers"),
            ("orders", "orderz"),
            ("orders", "Orders"),
            ("market", "markt"),
            ("app", "App"),
        ];
        let meant = [
            ("orders", "orders"),
            ("orders", "orders2"),
            ("v1", "v2"),
            ("web1", "web2"),
            ("orders-a", "orders-b"),
            ("api", "app"),
            ("card", "cart"),
            ("web", "webs"),
            ("orders", "billing"),
            ("orders", "orders-canary"),
            ("blue", "green"),
        ];
        for (one, other) in slips {
            assert!(is_slip(one, other) && is_slip(other, one), "{one} {other}");
        }
        for (one, other) in meant {
            assert!(!is_slip(one, other) && !is_slip(other, one), "{one} {other}");
        }
    }
}
