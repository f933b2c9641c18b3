//! `mode`: whether a filter or a rule turns requests away, or only tells which it would.

use crate::config::reader::ConfigNode;

/// `mode` of a filter's configuration, or of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Enforce,
    Report,
}

impl Mode {
    /// Reads the value of the key `mode`, where it is given. Default: enforce.
    pub(crate) fn read(node: Option<&ConfigNode<'_>>) -> Option<Self> {
        match node {
            Some(node) => node.enum_value(&[("enforce", Self::Enforce), ("report", Self::Report)]),
            None => Some(Self::Enforce),
        }
    }
}

/// Whether the rules of a policy are carried out or only reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Enforcement {
    Enforced,
    Reported,
}
