//! The match fields of `baseline-deny`: what a client asserts about itself and its request.

use crate::authz::fields::reader::Registry;
use crate::authz::fields::{host, method, path, port};
use crate::baseline::header_field;

/// The fields that policies of this filter can name.
pub(crate) static CLIENT_FIELDS: Registry = Registry {
    source: &[],
    rejected_source: &[],
    rejects_service_accounts_beside_principals: false,
    operation: &[host::OPERATION, port::OPERATION, method::OPERATION, path::OPERATION],
    conditions: &[port::CONDITION],
    named_conditions: &[header_field::NAMED],
};
