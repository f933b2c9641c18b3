//! Callers that policies name and that the listener before them does not accept.

use crate::discovery::discovered;
use crate::finding::Finding;
use crate::lints::policy::{Policy, blocks, texts};
use crate::lints::{Lint, Linter, warning};
use crate::plugin::find_plugins;
use crate::project::Contents;
use crate::resource::Resource;
use crate::settings::Filter;
use crate::tree::{Entry, Node};

pub(super) const UNACCEPTED_TRUST_DOMAIN: Lint = Lint {
    code: "unaccepted-trust-domain",
    title: "A policy names callers of trust domains alone that the listener does not accept",
    fix: "write the trust domain of the callers in the policy, and in `match_typed_subject_alt_names` and `trustDomain`",
};

/// Trust domain that principals use for the own one.
const MESH: &str = "cluster.local";

pub(super) fn lint(linter: &Linter<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut open: Vec<&Node> = linter.contents.others.clone();
    while let Some(node) = open.pop() {
        let chains = any(node, &["filter_chains", "filterChains"]).map_or(&[][..], |entry| entry.value.items());
        let default = any(node, &["default_filter_chain", "defaultFilterChain"]).map(|entry| &entry.value);
        for chain in chains.iter().chain(default) {
            let Some(accepted) = accepted(chain) else { continue };
            for configuration in configurations(linter, chain) {
                compare(&configuration, &accepted, &mut findings);
            }
        }
        open.extend(node.items());
        open.extend(node.entries().iter().map(|entry| &entry.value));
    }
    findings
}

fn any<'n>(node: &'n Node, keys: &[&str]) -> Option<&'n Entry> {
    keys.iter().find_map(|key| node.entry(key))
}

/// Returns the trust domains of which a filter chain accepts SPIFFE IDs; `None` if that cannot be told.
fn accepted(chain: &Node) -> Option<Vec<String>> {
    let socket = &any(chain, &["transport_socket", "transportSocket"])?.value;
    let context = &any(socket, &["typed_config", "typedConfig"])?.value;
    let common = &any(context, &["common_tls_context", "commonTlsContext"])?.value;
    let validation = &any(common, &["validation_context", "validationContext"])?.value;
    let matchers = &any(validation, &["match_typed_subject_alt_names", "matchTypedSubjectAltNames"])?.value;
    let domain = |matcher: &Node| {
        let kind = any(matcher, &["san_type", "sanType"])?.value.as_str()?;
        let text = ["prefix", "exact"].iter().find_map(|key| matcher.text_at(&["matcher", key]))?;
        let (domain, _) = text.strip_prefix("spiffe://")?.split_once('/')?;
        (kind == "URI" && !domain.is_empty()).then(|| domain.to_owned())
    };
    let domains: Option<Vec<String>> = matchers.items().iter().map(domain).collect();
    domains.filter(|domains| !domains.is_empty())
}

/// Returns the configurations of `identity-authz` in a filter chain, and in the file that a filter of it takes.
fn configurations(linter: &Linter<'_>, chain: &Node) -> Vec<Node> {
    let Some(source) = linter.project.sources().get(chain.span.source) else { return Vec::new() };
    let inline = find_plugins(chain, chain.span.source, source);
    let mut plugins: Vec<_> = inline.into_iter().filter(|plugin| plugin.filter == Filter::IdentityAuthz).collect();
    let takes = discovered([chain]).iter().any(|one| one.filter() == Some(Filter::IdentityAuthz));
    let mut others = linter.project.plugins().iter().filter(|plugin| plugin.filter == Filter::IdentityAuthz);
    if let (true, Some(only), None) = (takes, others.next(), others.next()) {
        plugins.push(only.clone());
    }
    plugins.into_iter().filter_map(|plugin| plugin.configuration).collect()
}

fn compare(configuration: &Node, accepted: &[String], findings: &mut Vec<Finding>) {
    // Another source of identities does not depend on this listener's certificates.
    if configuration.text_at(&["identity", "source"]).is_some_and(|source| source != "peerCertificate") {
        return;
    }
    let aliases = texts(configuration, "trustDomainAliases");
    let own: Vec<&str> = [configuration.text_at(&["trustDomain"]).unwrap_or(MESH)].into_iter().chain(aliases).collect();
    let is_accepted = |principal: &str| {
        let domain = principal.trim_start_matches("spiffe://").split('/').next().unwrap_or_default();
        let is_of_mesh = domain == MESH || own.contains(&domain);
        let stands_for = if is_of_mesh { own.clone() } else { vec![domain] };
        domain.is_empty()
            || domain.contains('*')
            || stands_for.iter().any(|one| accepted.iter().any(|known| known == one))
    };
    let contents = Contents { resources: Resource::all_of(configuration), ..Contents::default() };
    for policy in Policy::all(&contents) {
        let sources = policy.rules.iter().flat_map(|rule| blocks(rule, "from", "source"));
        let lists = sources.flat_map(|source| ["principals", "notPrincipals"].map(|key| source.entry(key)));
        for entry in lists.flatten() {
            let named: Vec<&Node> = entry.value.items().iter().filter(|value| value.as_str().is_some()).collect();
            let Some(first) = named.first() else { continue };
            if named.iter().any(|value| value.as_str().is_some_and(is_accepted)) {
                continue;
            }
            let effect = match (policy.action, entry.key.as_str()) {
                (_, "notPrincipals") => "nobody is excluded by it",
                ("ALLOW", _) => "nobody is allowed by it",
                _ => "it matches nobody",
            };
            let message = format!(
                "the listener accepts SPIFFE IDs of {} alone, and this names others: {effect}",
                accepted.join(" and ")
            );
            findings.push(warning(UNACCEPTED_TRUST_DOMAIN, first.span, message, UNACCEPTED_TRUST_DOMAIN.fix));
        }
    }
}
