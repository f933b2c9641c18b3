//! `metadata`: which policy it is, and whether it is only to be reported.

use std::fmt;

use crate::reader::{Node, Object};

/// A policy, as it appears in details, counters and filter state: an AuthorizationPolicy, a built-in list or a
/// setting of the filter that denies.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyName {
    origin: Origin,
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Origin {
    /// `metadata.namespace`.
    Namespace(String),
    /// `metadata.namespace` of a PeerAuthentication.
    PeerAuthentication(String),
    /// Version of the built-in list.
    Preset(u64),
    /// A key of the filter's own configuration.
    Setting,
}

impl PolicyName {
    pub(crate) fn of_resource(namespace: &str, name: &str) -> Self {
        Self { origin: Origin::Namespace(namespace.to_owned()), name: name.to_owned() }
    }

    pub(super) fn into_peer_authentication(self) -> Self {
        match self.origin {
            Origin::Namespace(namespace) => Self { origin: Origin::PeerAuthentication(namespace), ..self },
            _ => self,
        }
    }

    pub(crate) fn of_preset(name: &str, version: u64) -> Self {
        Self { origin: Origin::Preset(version), name: name.to_owned() }
    }

    pub(crate) fn of_setting(key: &str) -> Self {
        Self { origin: Origin::Setting, name: key.to_owned() }
    }

    /// Its `metadata.namespace`; a built-in list has none.
    pub fn namespace(&self) -> Option<&str> {
        match &self.origin {
            Origin::Namespace(namespace) | Origin::PeerAuthentication(namespace) => Some(namespace),
            Origin::Preset(_) | Origin::Setting => None,
        }
    }

    /// Its `metadata.name`, or the name of the list, setting or rule.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The part of counter names that stands for it: `policy.<namespace>.<name>`,
    /// `peer_authentication.<namespace>.<name>`, `preset.<name>.v<version>` or
    /// `setting.<key>`.
    pub fn counter(&self) -> String {
        match &self.origin {
            Origin::Namespace(namespace) => format!("policy.{namespace}.{}", self.name),
            Origin::PeerAuthentication(namespace) => format!("peer_authentication.{namespace}.{}", self.name),
            Origin::Preset(version) => format!("preset.{}.v{version}", self.name),
            Origin::Setting => format!("setting.{}", self.name),
        }
    }

    pub(crate) fn bracketed(&self) -> String {
        match &self.origin {
            Origin::Namespace(namespace) => format!("ns[{namespace}]-policy[{}]", self.name),
            Origin::PeerAuthentication(namespace) => format!("ns[{namespace}]-peer_authentication[{}]", self.name),
            Origin::Preset(_) => format!("preset[{}]", self.name),
            Origin::Setting => format!("setting[{}]", self.name),
        }
    }
}

/// `shop/no-deletes`, `PeerAuthentication shop/strict`, `preset/scanners` or `setting/userAgent`.
impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Namespace(namespace) => write!(f, "{namespace}/{}", self.name),
            Origin::PeerAuthentication(namespace) => write!(f, "PeerAuthentication {namespace}/{}", self.name),
            Origin::Preset(_) => write!(f, "preset/{}", self.name),
            Origin::Setting => write!(f, "setting/{}", self.name),
        }
    }
}

/// What `metadata` says that matters here. Labels and everything else that Kubernetes keeps there is passed over.
pub(crate) struct Metadata {
    pub(crate) name: PolicyName,
    pub(crate) dry_run: bool,
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
        let dry_run = match metadata.optional("annotations") {
            Some(annotations) => dry_run(&annotations)?,
            None => false,
        };
        Some(Self { name: PolicyName::of_resource(&namespace?, &name?), dry_run })
    }
}

/// The name of a namespace.
pub(crate) fn read_namespace(node: &Node<'_>) -> Option<String> {
    label(node, 63, false)
}

/// A DNS label or, with `dots`, a DNS subdomain, as Kubernetes has it: no other character can be smuggled into
/// counters and details.
pub(crate) fn label(node: &Node<'_>, most: usize, dots: bool) -> Option<String> {
    let text = node.some_text()?;
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || (dots && byte == b'.');
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let good = text.len() <= most && text.bytes().all(inner) && edge(text.bytes().next()) && edge(text.bytes().last());
    if !good {
        let characters = if dots { "a-z, 0-9, `-` and `.`" } else { "a-z, 0-9 and `-`" };
        node.fault(format!("bad name `{text}`: Kubernetes names are of {characters}, start and end with a letter or digit, and have at most {most} characters"));
        return None;
    }
    Some(text.to_owned())
}

/// The annotation's value, by the words that Istio takes (Go's `strconv.ParseBool`).
fn dry_run(annotations: &Node<'_>) -> Option<bool> {
    if annotations.is_null() {
        return Some(false);
    }
    let annotations = annotations.object()?;
    let Some((_, node)) = annotations.all().find(|(key, _)| *key == DRY_RUN) else { return Some(false) };
    match node.text()? {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        other => {
            node.fault(format!("unknown value `{other}`, expected \"true\" or \"false\""));
            None
        }
    }
}
