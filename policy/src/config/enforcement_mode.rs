//! `mode`: whether a filter, a policy or a rule is enforced or only reported.

use crate::config::reader::ConfigNode;

/// `mode` of a filter's configuration or of a rule, and the dry run of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EnforcementMode {
    /// A denial is carried out.
    Enforce,
    /// A denial is reported, and the request goes on.
    Report,
}

impl EnforcementMode {
    /// Reads the value of the key `mode`, where it is given. Default: enforce.
    pub(crate) fn read(node: Option<&ConfigNode<'_>>) -> Option<Self> {
        match node {
            Some(node) => node.enum_value(&[("enforce", Self::Enforce), ("report", Self::Report)]),
            None => Some(Self::Enforce),
        }
    }
}
