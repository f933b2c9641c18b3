//! Codes of findings: those of the filters' errors, of texts that cannot be read, and of lints.

use sallyport_policy::ErrorCode;

use crate::finding::Severity;
use crate::kustomization::KUSTOMIZE_PATCH;
use crate::lints::{FORGEABLE_IDENTITY, LINTS, Lint, REPORT_MODE};

/// Text that cannot be read.
pub(crate) const NOT_YAML: Lint = Lint {
    code: "not-yaml",
    title: "A text is neither YAML nor JSON",
    fix: "correct the text; what stands in this document is not read",
};

/// Document without a resource.
pub(crate) const NOT_A_RESOURCE: Lint = Lint {
    code: "not-a-resource",
    title: "A document holds no object, or a list without a kind",
    fix: "write resources as apiVersion, kind, metadata and spec, or leave the file out",
};

/// Configuration file beside another.
pub(crate) const SECOND_CONFIGURATION: Lint = Lint {
    code: "second-configuration",
    title: "There are two configuration files",
    fix: "keep one, or name it with --config and leave the other out",
};

/// Kind of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// Stable name.
    pub name: &'static str,
    /// Weight of its findings.
    pub severity: Severity,
    /// One line about it.
    pub title: &'static str,
    /// One line that says what to write instead.
    pub fix: &'static str,
}

/// Returns the codes of all findings: errors first.
pub fn codes() -> Vec<Code> {
    let of_lint = |severity| move |lint: Lint| Code { name: lint.code, severity, title: lint.title, fix: lint.fix };
    let of_filter =
        |code: ErrorCode| Code { name: code.as_str(), severity: Severity::Error, title: code.title(), fix: fix(code) };
    let of_files = [NOT_YAML, NOT_A_RESOURCE, SECOND_CONFIGURATION].map(of_lint(Severity::Error));
    let of_patches = of_lint(Severity::Note)(KUSTOMIZE_PATCH);
    let of_lints = LINTS.into_iter().map(|lint| {
        let severity = match lint {
            FORGEABLE_IDENTITY => Severity::Error,
            REPORT_MODE => Severity::Note,
            _ => Severity::Warning,
        };
        of_lint(severity)(lint)
    });
    ErrorCode::ALL.into_iter().map(of_filter).chain(of_files).chain(of_lints).chain([of_patches]).collect()
}

/// Returns what to do about an error of the filters whose text names no fix.
pub(crate) fn fix(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::InvalidValue => "write a value of the form that the message names",
        ErrorCode::WrongType => "write a value of the type that the message names",
        ErrorCode::UnknownField => "remove the key, or write the one that is meant",
        ErrorCode::UnknownValue => "write one of the words that the message names",
        ErrorCode::UnknownKind | ErrorCode::WrongGroup => "write the kind and the group that are meant",
        ErrorCode::MissingField => "write the key",
        ErrorCode::EmptyValue => "write a value, or remove the key",
        ErrorCode::RepeatedKey => "keep one",
        ErrorCode::DuplicateResource => "rename or remove one of the two",
        ErrorCode::Unsupported => "remove it",
        ErrorCode::LimitExceeded => "write less of it, or split it",
        ErrorCode::NoEffect => "write what it has to do, or remove it",
        ErrorCode::Conflict => "keep one",
        ErrorCode::UndecidedTarget => "say it with --workload, --service or --gateway, or in the configuration file",
        ErrorCode::MissingDefaultAction => {
            "write --default-action DENY or ALLOW, or defaultAction in the configuration file"
        }
        ErrorCode::UntrustedAddress => {
            "write remoteAddress: trusted in the configuration file once the proxy's settings hold"
        }
        ErrorCode::MissingAuthorizer => "write customProviders in the configuration file",
        ErrorCode::Unreadable => "write JSON, or give the configuration as a google.protobuf.Struct",
    }
}
