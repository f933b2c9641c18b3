//! Settings of a listener's TLS.

use crate::finding::{Finding, Severity};
use crate::lints::listener::{Member, any, is_on};
use crate::lints::needs::Needs;
use crate::lints::{Lint, warning};
use crate::source::Span;
use crate::tree::{Entry, Node};

pub(super) const CLIENT_CERTIFICATE: Lint = Lint {
    code: "client-certificate",
    title: "Policies ask who the caller is, and the listener does not have its certificate proven",
    fix: "write `require_client_certificate: true` and a `validation_context` with `trusted_ca` and \
          `match_typed_subject_alt_names`",
};

pub(crate) const FORGEABLE_IDENTITY: Lint = Lint {
    code: "forgeable-identity",
    title: "Whoever makes a certificate has any identity: the listener validates none, and the filter is told that it does",
    fix: "have the listener validate certificates, or remove `identity: {validation: listener}`",
};

pub(super) const SESSION_RESUMPTION: Lint = Lint {
    code: "session-resumption",
    title: "Policies ask who the caller is, and on a resumed TLS session Envoy does not say that a certificate was proven",
    fix: "write `disable_stateless_session_resumption: true` and `disable_stateful_session_resumption: true`, or \
          `identity: {validation: listener}` in the filter's configuration",
};

/// Keys that hold what a certificate is verified by.
const CONTEXTS: [&str; 4] = [
    "validation_context",
    "validationContext",
    "validation_context_sds_secret_config",
    "validationContextSdsSecretConfig",
];

const COMBINED: [&str; 2] = ["combined_validation_context", "combinedValidationContext"];

const RESUMPTION: [[&str; 2]; 2] = [
    ["disable_stateless_session_resumption", "disableStatelessSessionResumption"],
    ["disable_stateful_session_resumption", "disableStatefulSessionResumption"],
];

/// Finds what a `DownstreamTlsContext` lacks for the filters behind it.
pub(super) fn check(context: &Node, span: Span, members: &[Member<'_>], findings: &mut Vec<Finding>) {
    let by_identity = || members.iter().filter_map(|member| member.needs.as_ref()).filter(|needs| needs.identity);
    let Some(common) = any(context, &["common_tls_context", "commonTlsContext"]) else { return };
    if by_identity().next().is_none() {
        return;
    }
    let is_told = |needs: &Needs| needs.validated_by_listener;
    certificate(context, &common.value, span, by_identity().any(is_told), findings);
    let missing: Vec<&str> =
        RESUMPTION.iter().filter(|keys| !is_on(context, *keys)).filter_map(|keys| keys.first().copied()).collect();
    if !missing.is_empty() && !by_identity().all(is_told) {
        let message = format!(
            "without {} the second connection of a client can resume a session, and rules that ask who it is deny",
            missing.join(" and ")
        );
        findings.push(warning(SESSION_RESUMPTION, span, message, SESSION_RESUMPTION.fix));
    }
}

fn certificate(context: &Node, common: &Node, span: Span, is_told: bool, findings: &mut Vec<Finding>) {
    let mut found = |span, message: &str, help: &str| findings.push(warning(CLIENT_CERTIFICATE, span, message, help));
    let combined = any(common, &COMBINED);
    let validation: Option<&Entry> = any(common, &CONTEXTS).or(combined);
    let Some(validation) = validation else {
        found(
            span,
            "without a validation_context Envoy asks for no certificate, so nobody has an identity",
            CLIENT_CERTIFICATE.fix,
        );
        return;
    };
    let inline = any(common, &["validation_context", "validationContext"]).map(|entry| &entry.value).or_else(|| {
        let combined = combined?;
        any(&combined.value, &["default_validation_context", "defaultValidationContext"]).map(|entry| &entry.value)
    });
    if let Some(accepted) =
        inline.and_then(|inline| any(inline, &["trust_chain_verification", "trustChainVerification"]))
        && accepted.value.as_str() == Some("ACCEPT_UNTRUSTED")
    {
        findings.push(unvalidated(accepted.value.span, is_told, "remove it, or write VERIFY_TRUST_CHAIN"));
    }
    let mut found = |span, message: &str, help: &str| findings.push(warning(CLIENT_CERTIFICATE, span, message, help));
    let names = [
        "match_typed_subject_alt_names",
        "matchTypedSubjectAltNames",
        "match_subject_alt_names",
        "matchSubjectAltNames",
        "custom_validator_config",
        "customValidatorConfig",
    ];
    let is_named = inline.is_some_and(|inline| any(inline, &names).is_some());
    // What a secret of discovery says is not in this file.
    let is_elsewhere = inline.is_none() || combined.is_some();
    if !is_named && !is_elsewhere {
        found(
            validation.key_span,
            "without match_typed_subject_alt_names every trusted authority may issue identities of any trust domain",
            "write match_typed_subject_alt_names: [{san_type: URI, matcher: {prefix: spiffe://TRUST-DOMAIN/}}]",
        );
    }
    // Envoy insists on a certificate where it has names to match, and `false` is a decision.
    let required = any(context, &["require_client_certificate", "requireClientCertificate"]);
    if required.is_none() && !is_named {
        found(
            span,
            "without require_client_certificate a client without a certificate gets in, and has no identity",
            "write require_client_certificate: true, or false if policies are for clients without a certificate too",
        );
    }
}

/// Returns the finding about a listener that takes any certificate.
pub(super) fn unvalidated(span: Span, is_told: bool, help: &str) -> Finding {
    if is_told {
        let message = "whoever makes a certificate has any identity: nothing validates it, and the filter's \
                       configuration has identity.validation: listener";
        return Finding { severity: Severity::Error, ..warning(FORGEABLE_IDENTITY, span, message, help) };
    }
    let message = "the listener takes certificates that nothing has validated, which prove nothing";
    warning(CLIENT_CERTIFICATE, span, message, help)
}
