//! Identities of the peers of a connection.

pub(crate) mod certificate;
pub(crate) mod error;
pub(crate) mod peer;
pub(crate) mod settings;
pub(crate) mod spiffe_id;
pub(crate) mod trust_domains;
pub(crate) mod xfcc;
