//! The match fields of AuthorizationPolicy, each in a file: its patterns, its index, its words and its keys.
//!
//! A [`Registry`] lists the fields that one filter reads. A new field is a file and a line in the registries.

/// Gives a newtype of a string pattern the pattern's text and a way to take it out.
macro_rules! string_pattern_newtype {
    ($pattern:ty) => {
        impl From<$pattern> for crate::matcher::string_pattern::StringPattern {
            fn from(pattern: $pattern) -> Self {
                pattern.0
            }
        }

        impl std::fmt::Display for $pattern {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

pub(crate) mod header;
pub(crate) mod host;
pub(crate) mod ip_block;
pub(crate) mod metadata;
pub(crate) mod method;
pub(crate) mod namespace;
pub(crate) mod path;
pub(crate) mod port;
pub(crate) mod principal;
pub(crate) mod request_principal;
pub(crate) mod server_name;
pub(crate) mod service_account;
pub(crate) mod time;
pub(crate) mod trust_domain;

use std::rc::Rc;

use crate::attributes::jwt_claims::ClaimSource;
use crate::attributes::readings::path::PathReadings;
use crate::authz::engine::field::AnyFieldValues;
use crate::config::reader::ConfigNode;
use crate::identity::trust_domains::TrustDomains;
use crate::matcher::path_template::SegmentBytes;
use crate::matcher::string_pattern::StringPattern;
use crate::matcher::value_ids::ValueId;

/// The rest of the configuration, as far as the values of a field depend on it.
pub(crate) struct FieldContext<'c> {
    pub(crate) trust_domains: &'c TrustDomains,
    pub(crate) claims: &'c Rc<ClaimSource>,
    /// The readings of a path that upstreams make.
    pub(crate) path_readings: PathReadings,
    /// Whether addresses may be compared that a client can choose where the proxy does not keep it from that.
    pub(crate) trusts_remote_address: bool,
    /// The namespace of the policy, if it has one.
    pub(crate) namespace: Option<&'c str>,
    /// The bytes that the operators of a path template stand for.
    pub(crate) operators: SegmentBytes,
}

/// Reads the values of a field. None where an error was reported.
pub(crate) type ReadValues = fn(&ConfigNode<'_>, &FieldContext<'_>) -> Option<Rc<dyn AnyFieldValues>>;

/// A field of `source` or `operation`.
pub(crate) struct FieldReader {
    /// Its key, and that of its `not` twin.
    pub(crate) keys: [&'static str; 2],
    pub(crate) read: ReadValues,
}

/// A key of `when` that takes no name in brackets.
pub(crate) struct ConditionReader {
    pub(crate) key: &'static str,
    pub(crate) read: ReadValues,
}

/// A key of `when` with a name in brackets: the reader of its values, or the error in it. None where it is another key.
pub(crate) type NamedConditionReader = fn(&str) -> Option<Result<Box<ReadNamedValues<'static>>, String>>;

/// [`ReadValues`] that can depend on a name.
pub(crate) type ReadNamedValues<'r> = dyn Fn(&ConfigNode<'_>, &FieldContext<'_>) -> Option<Rc<dyn AnyFieldValues>> + 'r;

/// The fields that a filter reads, by where they stand.
pub(crate) struct Registry {
    /// Fields of `from[].source`.
    pub(crate) source: &'static [FieldReader],
    /// Keys of `from[].source` that are rejected, with the reason.
    pub(crate) rejected_source: &'static [(&'static str, &'static str)],
    /// Whether a source with service accounts beside principals or namespaces is rejected, as in Istio.
    pub(crate) rejects_service_accounts_beside_principals: bool,
    /// Fields of `to[].operation`.
    pub(crate) operation: &'static [FieldReader],
    /// Keys of `when[]`.
    pub(crate) conditions: &'static [ConditionReader],
    /// Keys of `when[]` with a name.
    pub(crate) named_conditions: &'static [NamedConditionReader],
}

/// All fields of AuthorizationPolicy: those of `identity-authz`.
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

/// String patterns out of their newtypes, for an index.
pub(crate) fn unwrap_patterns<P: Into<StringPattern>>(patterns: Vec<(P, ValueId)>) -> Vec<(StringPattern, ValueId)> {
    patterns.into_iter().map(|(pattern, id)| (pattern.into(), id)).collect()
}
