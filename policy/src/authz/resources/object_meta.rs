//! `metadata`: which policy it is, and whether it is only to be reported.

use std::fmt;

use crate::authz::policy_name::PolicyName;
use crate::config::enforcement_mode::EnforcementMode;
use crate::config::error_code::ErrorCode;
use crate::config::reader::{ConfigNode, Object};

/// The parts of `metadata` that matter. Labels and all other Kubernetes keys are ignored.
pub(crate) struct Metadata {
    pub(crate) name: PolicyName,
    pub(crate) mode: EnforcementMode,
    pub(crate) created: Option<CreationTime>,
}

/// The namespace of resources that name none.
#[derive(Clone, Copy)]
pub(crate) struct DefaultNamespace<'c> {
    namespace: Option<&'c str>,
    /// The keys of the configuration that set it, for the error where none does.
    keys: &'static str,
}

/// `metadata.creationTimestamp`, as Kubernetes writes it: RFC 3339 in UTC, in whole seconds. Ordered by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CreationTime([u8; 20]);

const DRY_RUN: &str = "istio.io/dry-run";

impl Metadata {
    pub(crate) fn read(resource: &Object<'_>, default: &DefaultNamespace<'_>) -> Option<Self> {
        let node = resource.required("metadata", "write its name and namespace")?;
        let metadata = node.object()?;
        let name = metadata.required("name", "name the policy; denials are reported under it");
        let name = name.as_ref().and_then(|node| label(node, 253, true));
        let namespace = match (metadata.optional("namespace"), default.namespace) {
            (Some(node), _) => read_namespace(&node),
            (None, Some(default)) => Some(default.to_owned()),
            (None, None) => {
                let keys = default.keys;
                metadata.missing(
                    "namespace",
                    &format!("write the namespace, which decides where the policy applies, or {keys} for all resources without one"),
                );
                None
            }
        };
        let mode = match metadata.optional("annotations") {
            Some(annotations) if dry_run(&annotations)? => EnforcementMode::Report,
            Some(_) | None => EnforcementMode::Enforce,
        };
        let created = metadata.optional("creationTimestamp").and_then(|node| CreationTime::read(&node));
        Some(Self { name: PolicyName::of_resource(&namespace?, &name?), mode, created })
    }
}

impl CreationTime {
    /// Reads a time in the form of Kubernetes; any other is as good as none.
    fn read(node: &ConfigNode<'_>) -> Option<Self> {
        let text: [u8; 20] = node.as_str()?.as_bytes().try_into().ok()?;
        let is_in_form = text.iter().zip(b"0000-00-00T00:00:00Z").all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            _ => byte == form,
        });
        is_in_form.then_some(Self(text))
    }
}

impl fmt::Display for CreationTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// Reads `defaultNamespace`; `own` is the one that counts where it is absent.
pub(crate) fn read_default_namespace(object: &Object<'_>, own: Option<&str>) -> Option<Option<String>> {
    match object.optional("defaultNamespace") {
        Some(node) => read_namespace(&node).map(Some),
        None => Some(own.map(str::to_owned)),
    }
}

impl<'c> DefaultNamespace<'c> {
    /// Takes what [`read_default_namespace`] gave. Where that was an error, resources without a namespace are no further
    /// one.
    pub(crate) fn new(read: Option<&'c Option<String>>, keys: &'static str) -> Self {
        Self { namespace: read.map_or(Some("unreadable"), Option::as_deref), keys }
    }
}

/// The name of a namespace.
pub(crate) fn read_namespace(node: &ConfigNode<'_>) -> Option<String> {
    label(node, 63, false)
}

/// Reads a DNS label or, with `dots`, a DNS subdomain (Kubernetes object names), so that counters and response code
/// details contain no other characters.
pub(crate) fn label(node: &ConfigNode<'_>, most: usize, dots: bool) -> Option<String> {
    let text = node.non_empty_str()?;
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || (dots && byte == b'.');
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let good = text.len() <= most && text.bytes().all(inner) && edge(text.bytes().next()) && edge(text.bytes().last());
    if !good {
        let characters = if dots { "a-z, 0-9, `-` and `.`" } else { "a-z, 0-9 and `-`" };
        node.error(format!("bad name `{text}`: Kubernetes names are of {characters}, start and end with a letter or digit, and have at most {most} characters"));
        return None;
    }
    Some(text.to_owned())
}

/// The annotation's value, by the words that Istio takes (Go's `strconv.ParseBool`).
fn dry_run(annotations: &ConfigNode<'_>) -> Option<bool> {
    let annotations = annotations.object()?;
    let Some((_, node)) = annotations.all().find(|(key, _)| *key == DRY_RUN) else { return Some(false) };
    match node.text()? {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        other => {
            node.error_as(ErrorCode::UnknownValue, format!("unknown value `{other}`, expected \"true\" or \"false\""));
            None
        }
    }
}
