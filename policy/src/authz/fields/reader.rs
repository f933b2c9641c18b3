//! Readers of the fields of a policy, and the registry of those that a filter has.

use std::rc::Rc;

use crate::attributes::jwt_claims::ClaimSource;
use crate::attributes::readings::path::PathReadings;
use crate::authz::engine::field::AnyFieldValues;
use crate::config::reader::ConfigNode;
use crate::identity::trust_domains::TrustDomains;
use crate::matcher::path_template::SegmentBytes;

/// Configuration on which the values of a field depend.
pub(crate) struct FieldContext<'c> {
    pub(crate) trust_domains: &'c TrustDomains,
    pub(crate) claims: &'c Rc<ClaimSource>,
    /// The readings of a path that upstreams make.
    pub(crate) path_readings: PathReadings,
    /// True if the configuration trusts addresses that a client can choose unless the proxy prevents it.
    pub(crate) trusts_remote_address: bool,
    /// The namespace of the policy, if it has one.
    pub(crate) namespace: Option<&'c str>,
    /// Bytes that the operators of a path template stand for.
    pub(crate) operators: SegmentBytes,
}

/// Reads the values of a field. None where an error was reported.
pub(crate) type ReadValues = fn(&ConfigNode<'_>, &FieldContext<'_>) -> Option<Rc<dyn AnyFieldValues>>;

/// A field of `source` or `operation`.
pub(crate) struct FieldReader {
    /// Keys of the field and of its `not` counterpart.
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
    /// True if a source with service accounts beside principals or namespaces is rejected, as in Istio.
    pub(crate) rejects_service_accounts_beside_principals: bool,
    /// Fields of `to[].operation`.
    pub(crate) operation: &'static [FieldReader],
    /// Keys of `when[]`.
    pub(crate) conditions: &'static [ConditionReader],
    /// Keys of `when[]` with a name.
    pub(crate) named_conditions: &'static [NamedConditionReader],
}
