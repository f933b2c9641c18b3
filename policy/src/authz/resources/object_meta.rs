//! `metadata`: which policy it is, and whether it is only to be reported.

use crate::authz::policy_name::PolicyName;
use crate::config::enforcement_mode::EnforcementMode;
use crate::config::reader::{ConfigNode, Object};

/// Name and namespace in `metadata`. Labels and all other Kubernetes keys are ignored.
pub(crate) struct Metadata {
    pub(crate) name: PolicyName,
    pub(crate) mode: EnforcementMode,
}

const DRY_RUN: &str = "istio.io/dry-run";

impl Metadata {
    pub(crate) fn read(resource: &Object<'_>) -> Option<Self> {
        let node = resource.required("metadata", "write its name and namespace")?;
        let metadata = node.object()?;
        let name = metadata.required("name", "name the policy; denials are reported under it");
        let namespace = metadata.required("namespace", "write the namespace; it decides where the policy applies");
        let name = name.as_ref().and_then(|node| label(node, 253, true));
        let namespace = namespace.as_ref().and_then(read_namespace);
        let mode = match metadata.optional("annotations") {
            Some(annotations) if dry_run(&annotations)? => EnforcementMode::Report,
            Some(_) | None => EnforcementMode::Enforce,
        };
        Some(Self { name: PolicyName::of_resource(&namespace?, &name?), mode })
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
    if annotations.is_null() {
        return Some(false);
    }
    let annotations = annotations.object()?;
    let Some((_, node)) = annotations.all().find(|(key, _)| *key == DRY_RUN) else { return Some(false) };
    match node.text()? {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        other => {
            node.error(format!("unknown value `{other}`, expected \"true\" or \"false\""));
            None
        }
    }
}
