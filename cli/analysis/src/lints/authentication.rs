//! Tokens that nothing validates.

use crate::lints::policy::Policy;
use crate::lints::{Lint, Linter};
use crate::resource::Resource;
use crate::source::Span;
use crate::tree::Node;

pub(super) const TOKEN_WITHOUT_AUTHENTICATION: Lint = Lint {
    code: "token-without-authentication",
    title: "A policy asks for a token, and no RequestAuthentication is for it",
    fix: "add a RequestAuthentication for this workload, or check that jwt_authn stands before the filter",
};

/// Namespace whose resources count everywhere.
pub(super) const ROOT_NAMESPACE: &str = "istio-system";

pub(super) fn lint(linter: &mut Linter<'_>) {
    // In Envoy by itself the filter jwt_authn is configured by hand.
    let mut text = String::new();
    linter.contents.others.iter().for_each(|other| crate::json::write_json(other, &mut text));
    if text.contains("envoy.filters.http.jwt_authn") {
        return;
    }
    let default_namespace = linter.contents.default_namespace.as_deref();
    let validating: Vec<(&str, &Resource<'_>)> = linter
        .contents
        .resources
        .iter()
        .filter(|resource| resource.kind() == Some("RequestAuthentication"))
        .map(|resource| (resource.namespace().or(default_namespace).unwrap_or_default(), resource))
        .collect();
    // What a policy of the root namespace asks for may be validated anywhere.
    let is_validated = |policy: &Policy<'_>| {
        validating.iter().any(|(namespace, resource)| {
            policy.namespace == ROOT_NAMESPACE
                || *namespace == ROOT_NAMESPACE
                || *namespace == policy.namespace && can_be_for_one(resource, policy)
        })
    };
    let mut found: Vec<(Span, String)> = Vec::new();
    for policy in linter.policies.iter().filter(|policy| !is_validated(policy)) {
        let mut fields = policy.fields().into_iter();
        let is_of_token = |name: &str| {
            ["requestPrincipals", "notRequestPrincipals"].contains(&name) || name.starts_with("request.auth.")
        };
        if let Some((name, entry)) = fields.find(|(name, _)| is_of_token(name)) {
            let span = if entry.key == "key" { entry.value.span } else { entry.key_span };
            found.push((
                span,
                format!("{} asks for a token by `{name}`, and no RequestAuthentication is for it", policy.name()),
            ));
        }
    }
    for (span, message) in found {
        linter.warn(TOKEN_WITHOUT_AUTHENTICATION, span, message, TOKEN_WITHOUT_AUTHENTICATION.fix);
    }
}

/// Reports whether a workload can be selected by both: no label has to have two values.
fn can_be_for_one(resource: &Resource<'_>, policy: &Policy<'_>) -> bool {
    let own = resource.node.at(&["spec", "selector", "matchLabels"]).map_or(&[][..], Node::entries);
    let wanted = policy.labels().unwrap_or_default();
    own.iter().all(|entry| wanted.iter().all(|(key, value)| entry.key != *key || entry.value.as_str() == Some(value)))
}
