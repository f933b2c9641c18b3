//! Authorization by AuthorizationPolicy and PeerAuthentication.

pub(crate) mod compiled;
pub(crate) mod custom;
pub(crate) mod decision;
pub(crate) mod denial;
pub(crate) mod engine;
pub(crate) mod fields;
pub(crate) mod identity_authz;
pub(crate) mod mtls_mode;
pub(crate) mod policy_name;
pub(crate) mod resources;
pub(crate) mod stage;
