//! Configuration on which rules and resources depend.

use std::cell::Cell;

use crate::authz::resources::rules::RuleSizes;
use crate::egress::workloads::Workloads;
use crate::identity::trust_domains::TrustDomains;

/// Whom a ServiceEntry without `exportTo` is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DefaultExport {
    /// Workloads of its own namespace.
    Namespace,
    /// Everyone, as in Istio.
    All,
}

/// Configuration that rules and resources refer to.
pub(crate) struct EgressContext<'c> {
    pub(crate) trust_domains: &'c TrustDomains,
    pub(crate) workloads: &'c Workloads,
    pub(crate) addresses: bool,
    pub(crate) remote_address_is_trusted: bool,
    pub(crate) default_export: DefaultExport,
    /// True if an address that a ServiceEntry lists leads to its host.
    pub(crate) leads_to_hosts: bool,
    /// Number of names of `toFQDNs` that were repeated for a list of `serverNames`, in all policies so far.
    pub(crate) repeated_names: Cell<usize>,
    /// Number of combinations of sources and lists of hosts so far.
    pub(crate) rule_sizes: RuleSizes,
}
