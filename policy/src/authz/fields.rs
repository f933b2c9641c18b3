//! The match fields of AuthorizationPolicy, each in a file: its patterns, its index, its words and its keys.
//!
//! A [`Registry`] lists the fields that one filter reads. A new field is a file and a line in the registries.

pub(crate) mod header;
pub(crate) mod host;
pub(crate) mod ip_block;
pub(crate) mod metadata;
pub(crate) mod method;
pub(crate) mod namespace;
pub(crate) mod path;
pub(crate) mod peer_index;
pub(crate) mod port;
pub(crate) mod principal;
pub(crate) mod reader;
pub(crate) mod request_principal;
pub(crate) mod server_name;
pub(crate) mod service_account;
pub(crate) mod time;
pub(crate) mod trust_domain;

use crate::authz::fields::reader::Registry;

/// Match fields of AuthorizationPolicy, used by `identity-authz`.
pub(crate) static ALL_FIELDS: Registry = Registry {
    source: &[
        principal::SOURCE,
        namespace::SOURCE,
        service_account::SOURCE,
        trust_domain::SOURCE,
        ip_block::SOURCE,
        ip_block::REMOTE_SOURCE,
        request_principal::SOURCE,
    ],
    rejected_source: &[],
    rejects_service_accounts_beside_principals: true,
    operation: &[host::OPERATION, port::OPERATION, method::OPERATION, path::OPERATION],
    conditions: &[
        ip_block::SOURCE_CONDITION,
        ip_block::REMOTE_CONDITION,
        namespace::CONDITION,
        service_account::CONDITION,
        trust_domain::CONDITION,
        principal::CONDITION,
        request_principal::CONDITION,
        metadata::AUDIENCES,
        metadata::PRESENTER,
        ip_block::DESTINATION_CONDITION,
        port::CONDITION,
        server_name::CONDITION,
        time::CONDITION,
    ],
    named_conditions: &[header::NAMED, metadata::NAMED],
};
