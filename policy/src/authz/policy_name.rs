//! Names of policies and of their rules.

use std::fmt;
use std::rc::Rc;

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
    /// A resource that is in no namespace.
    Cluster,
    /// Version of the built-in list.
    Preset(u64),
    /// A key of the filter's own configuration.
    Setting,
}

impl PolicyName {
    pub(crate) fn of_resource(namespace: &str, name: &str) -> Self {
        Self { origin: Origin::Namespace(namespace.to_owned()), name: name.to_owned() }
    }

    pub(crate) fn of_cluster_resource(name: &str) -> Self {
        Self { origin: Origin::Cluster, name: name.to_owned() }
    }

    pub(crate) fn into_peer_authentication(self) -> Self {
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

    /// Returns `metadata.namespace`; a built-in list has none, nor has a resource of the whole cluster.
    pub fn namespace(&self) -> Option<&str> {
        match &self.origin {
            Origin::Namespace(namespace) | Origin::PeerAuthentication(namespace) => Some(namespace),
            Origin::Cluster | Origin::Preset(_) | Origin::Setting => None,
        }
    }

    /// Returns `metadata.name`, or the name of the list, setting or rule.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the part of counter names for the policy: `policy.<namespace>.<name>`,
    /// `peer_authentication.<namespace>.<name>`, `cluster_policy.<name>`, `preset.<name>.v<version>` or
    /// `setting.<key>`.
    pub fn counter(&self) -> String {
        match &self.origin {
            Origin::Namespace(namespace) => format!("policy.{namespace}.{}", self.name),
            Origin::PeerAuthentication(namespace) => format!("peer_authentication.{namespace}.{}", self.name),
            Origin::Cluster => format!("cluster_policy.{}", self.name),
            Origin::Preset(version) => format!("preset.{}.v{version}", self.name),
            Origin::Setting => format!("setting.{}", self.name),
        }
    }

    pub(crate) fn bracketed(&self) -> String {
        match &self.origin {
            Origin::Namespace(namespace) => format!("ns[{namespace}]-policy[{}]", self.name),
            Origin::PeerAuthentication(namespace) => format!("ns[{namespace}]-peer_authentication[{}]", self.name),
            Origin::Cluster => format!("cluster-policy[{}]", self.name),
            Origin::Preset(_) => format!("preset[{}]", self.name),
            Origin::Setting => format!("setting[{}]", self.name),
        }
    }
}

/// `shop/no-deletes`, `PeerAuthentication shop/strict`, `cluster policy updates`, `preset/scanners` or
/// `setting/userAgent`.
impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Namespace(namespace) => write!(f, "{namespace}/{}", self.name),
            Origin::PeerAuthentication(namespace) => write!(f, "PeerAuthentication {namespace}/{}", self.name),
            Origin::Cluster => write!(f, "cluster policy {}", self.name),
            Origin::Preset(_) => write!(f, "preset/{}", self.name),
            Origin::Setting => write!(f, "setting/{}", self.name),
        }
    }
}

/// A rule of a policy, written as Istio names it: `ns[shop]-policy[no-deletes]-rule[0]`. A pattern of a built-in list is
/// a rule named after its tool: `preset[scanners]-rule[sqlmap]`.
///
/// Ordered by that text, which is the order in which Envoy tries rules, so that the same one is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleName {
    /// Shared by all rules of the policy.
    policy: Rc<PolicyName>,
    label: RuleLabel,
}

/// Label of a rule within its policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RuleLabel {
    /// Index in `spec.rules`, from 0.
    Number(usize),
    /// Name of the rule's subject.
    Name(String),
}

impl RuleName {
    pub(crate) fn new(policy: impl Into<Rc<PolicyName>>, label: RuleLabel) -> Self {
        Self { policy: policy.into(), label }
    }

    /// The policy that it is of.
    pub fn policy(&self) -> &PolicyName {
        &self.policy
    }

    /// Returns the part of the rule's text after the policy name.
    pub(crate) fn text_in_policy(&self) -> String {
        format!("-rule[{}]", self.label())
    }

    /// The rule by itself: its number or its word.
    pub fn label(&self) -> String {
        match &self.label {
            RuleLabel::Number(number) => number.to_string(),
            RuleLabel::Name(word) => word.clone(),
        }
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.policy.bracketed())?;
        f.write_str(&self.text_in_policy())
    }
}
