//! `mode`: whether a filter turns requests away, or only tells which it would.

use crate::reader::Object;

/// `mode` of a filter's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Enforce,
    Report,
}

impl Mode {
    /// Reads the key `mode`. Default: enforce.
    pub(crate) fn read(object: &Object<'_>) -> Option<Self> {
        match object.optional("mode") {
            Some(node) => node.word(&[("enforce", Self::Enforce), ("report", Self::Report)]),
            None => Some(Self::Enforce),
        }
    }
}
