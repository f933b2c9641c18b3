//! Configuration on which rules and resources depend.

use crate::egress::cilium_network_policy::{Cluster, LabelledWorkload};
use crate::identity::trust_domains::TrustDomains;

/// Configuration that rules and resources refer to.
pub(crate) struct EgressContext<'c> {
    pub(crate) trust_domains: &'c TrustDomains,
    pub(crate) workloads: &'c [LabelledWorkload],
    pub(crate) addresses: bool,
    pub(crate) remote_address_is_trusted: bool,
}

impl EgressContext<'_> {
    pub(crate) fn cluster(&self) -> Cluster<'_> {
        Cluster { workloads: self.workloads, trust_domains: self.trust_domains }
    }
}
