//! Tokens that nothing validates.

use std::collections::BTreeSet;

use crate::lints::{Lint, Linter};
use crate::source::Span;

pub(super) const TOKEN_WITHOUT_AUTHENTICATION: Lint = Lint {
    code: "token-without-authentication",
    title: "A policy asks for a token, and no RequestAuthentication validates one",
};

/// Namespace whose resources count everywhere.
const ROOT_NAMESPACE: &str = "istio-system";

pub(super) fn lint(linter: &mut Linter<'_>) {
    // In Envoy by itself the filter jwt_authn is configured by hand.
    let mut text = String::new();
    linter.contents.others.iter().for_each(|other| crate::json::write_json(other, &mut text));
    if text.contains("envoy.filters.http.jwt_authn") {
        return;
    }
    let default_namespace = linter.contents.default_namespace.as_deref();
    let validating: BTreeSet<&str> = linter
        .contents
        .resources
        .iter()
        .filter(|resource| resource.kind() == Some("RequestAuthentication"))
        .map(|resource| resource.namespace().or(default_namespace).unwrap_or_default())
        .collect();
    // What a policy of the root namespace asks for may be validated anywhere.
    let is_validated = |namespace: &str| {
        validating.contains(namespace)
            || validating.contains(ROOT_NAMESPACE)
            || namespace == ROOT_NAMESPACE && !validating.is_empty()
    };
    let mut found: Vec<(Span, String)> = Vec::new();
    for policy in linter.policies.iter().filter(|policy| !is_validated(policy.namespace)) {
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
        let help = "add a RequestAuthentication for this workload, or check that jwt_authn stands before the filter"
            .to_owned();
        linter.warn(TOKEN_WITHOUT_AUTHENTICATION, span, message, help);
    }
}
