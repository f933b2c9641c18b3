//! Kinds of Kubernetes objects that are met among policies, and what each is for.

use crate::config::error_code::ErrorCode;
use crate::config::reader::{ConfigNode, Object, closest_match, one_of};

/// The groups of the kinds that the filters read. Any version of a group is accepted.
const SECURITY: &str = "security.istio.io";
const NETWORKING: &str = "networking.istio.io";
const CILIUM: &str = "cilium.io";

/// The kinds that one filter reads, by name.
pub(crate) struct OwnKinds(pub(crate) &'static [&'static str]);

/// Reader of a kind: a filter, or a part of Envoy or Istio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    IdentityAuthz,
    EgressAllowlist,
    Tokens,
    Routes,
    Listeners,
    Clusters,
    Endpoints,
    EnvoyConfiguration,
    ControlPlane,
}

/// A kind of the groups that the filters read.
struct KnownKind {
    name: &'static str,
    group: &'static str,
    purpose: Purpose,
}

const fn known(name: &'static str, group: &'static str, purpose: Purpose) -> KnownKind {
    KnownKind { name, group, purpose }
}

/// The kinds of Istio's groups (istio/api `kubernetes/customresourcedefinitions.gen.yaml`, 1.31), and the policies of
/// Cilium.
static KNOWN: [KnownKind; 14] = [
    known("AuthorizationPolicy", SECURITY, Purpose::IdentityAuthz),
    known("PeerAuthentication", SECURITY, Purpose::IdentityAuthz),
    known("RequestAuthentication", SECURITY, Purpose::Tokens),
    known("ServiceEntry", NETWORKING, Purpose::EgressAllowlist),
    known("VirtualService", NETWORKING, Purpose::Routes),
    known("Gateway", NETWORKING, Purpose::Listeners),
    known("DestinationRule", NETWORKING, Purpose::Clusters),
    known("WorkloadEntry", NETWORKING, Purpose::Endpoints),
    known("WorkloadGroup", NETWORKING, Purpose::Endpoints),
    known("EnvoyFilter", NETWORKING, Purpose::EnvoyConfiguration),
    known("ProxyConfig", NETWORKING, Purpose::EnvoyConfiguration),
    known("Sidecar", NETWORKING, Purpose::ControlPlane),
    known("CiliumNetworkPolicy", CILIUM, Purpose::EgressAllowlist),
    known("CiliumClusterwideNetworkPolicy", CILIUM, Purpose::EgressAllowlist),
];

/// The kinds that are in no namespace, of those that a filter reads.
const CLUSTER_SCOPED: [&str; 1] = ["CiliumClusterwideNetworkPolicy"];

/// The other kinds of Cilium (cilium/cilium `pkg/k8s/apis/cilium.io/client/crds`, with those of earlier versions),
/// without the `Cilium` that each begins with.
static OTHERS_OF_CILIUM: [&str; 39] = [
    "BGPAdvertisement",
    "BGPClusterConfig",
    "BGPLoadBalancerIPPool",
    "BGPNodeConfig",
    "BGPNodeConfigOverride",
    "BGPPeerConfig",
    "BGPPeeringPolicy",
    "CIDRGroup",
    "ClusterwideEnvoyConfig",
    "DatapathPlugin",
    "EgressGatewayPolicy",
    "EgressNATPolicy",
    "EgressSRv6Policy",
    "Endpoint",
    "EndpointSlice",
    "EnvoyCircuitBreaker",
    "EnvoyConfig",
    "EnvoyExtProcFilter",
    "ExternalWorkload",
    "FlowLogging",
    "GatewayClassConfig",
    "GatewayL4Config",
    "Identity",
    "L2AnnouncementPolicy",
    "LoadBalancerIPPool",
    "LocalRedirectPolicy",
    "NetworkDriverClusterConfig",
    "NetworkDriverConfig",
    "NetworkDriverNodeConfig",
    "Node",
    "NodeConfig",
    "PodIPPool",
    "ResourceIPPool",
    "ResourceNetworkConfig",
    "VTEPConfig",
    "VTEPNodeConfig",
    "VTEPPolicy",
    "WorldCIDRSet",
    "QoSPolicy",
];

/// Products whose objects have the name of a kind that a filter reads, by the end of their group.
static PRODUCTS: [(&str, &str); 4] = [
    ("linkerd.io", "Linkerd"),
    ("kyverno.io", "Kyverno"),
    ("ibm.com", "IBM Cloud"),
    ("rbac.istio.io", "Istio before 1.4"),
];

impl Purpose {
    fn is_a_filter(self) -> bool {
        matches!(self, Self::IdentityAuthz | Self::EgressAllowlist)
    }

    /// The filter, or the part of the configuration of Envoy, that does what such a resource asks for.
    fn describe(self) -> &'static str {
        match self {
            Self::IdentityAuthz => "for identity-authz",
            Self::EgressAllowlist => "for egress-allowlist",
            Self::Tokens => {
                "for envoy.filters.http.jwt_authn; without that filter ALLOW rules that ask for a token let nobody in"
            }
            Self::Routes => "for Envoy's routes",
            Self::Listeners => "for Envoy's listeners",
            Self::Clusters => "for Envoy's clusters",
            Self::Endpoints => "for Envoy's endpoints",
            Self::EnvoyConfiguration => "for Envoy's own configuration",
            Self::ControlPlane => "for Istio's control plane",
        }
    }
}

/// Treatment of a resource, by its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The filter reads this kind.
    Own(&'static str),
    /// The kind is for others: for whom, if that is known.
    PassedOver(Option<&'static str>),
}

impl OwnKinds {
    /// Tells from its kind and group what becomes of a resource. Reports a kind that is misspelt or in the wrong group.
    ///
    /// `kind` is where the kind stands, `version` where `apiVersion` does.
    pub(crate) fn reading(
        &self,
        kind: &ConfigNode<'_>,
        name: &str,
        version: Option<&ConfigNode<'_>>,
        resource: &Object<'_>,
    ) -> Option<Reading> {
        let known = KNOWN.iter().find(|known| known.name == name);
        let Some(version) = version else {
            self.without_version(kind, name, known, resource);
            return None;
        };
        let written = version.text()?;
        let group = written.split('/').next().unwrap_or(written);
        match known {
            Some(known) if known.group == group => Some(match self.0.contains(&known.name) {
                true => Reading::Own(known.name),
                false => Reading::PassedOver(Some(known.purpose.describe())),
            }),
            Some(known) if known.purpose.is_a_filter() || is_of_ours(group) => {
                version.error_as(ErrorCode::WrongGroup, another_group(known, written, group));
                None
            }
            None if group == CILIUM
                && name.strip_prefix("Cilium").is_some_and(|rest| OTHERS_OF_CILIUM.contains(&rest)) =>
            {
                Some(Reading::PassedOver(Some("for Cilium")))
            }
            None if is_of_ours(group) => {
                kind.error_as(ErrorCode::UnknownKind, unknown_kind(name, group, &|known| known.group == group));
                None
            }
            _ => Some(Reading::PassedOver(None)),
        }
    }

    /// Reports the kind of a resource that has no `apiVersion`.
    fn without_version(&self, kind: &ConfigNode<'_>, name: &str, known: Option<&KnownKind>, resource: &Object<'_>) {
        let own = |known: &KnownKind| self.0.contains(&known.name);
        match known {
            Some(KnownKind { group, .. }) => {
                resource.missing("apiVersion", &format!("{name} is of {group}, write {}", versioned(group)));
            }
            None if closest_match(name, self.0.iter().copied()).is_some() => {
                kind.error_as(ErrorCode::UnknownKind, unknown_kind(name, "", &own))
            }
            None => resource.missing("apiVersion", "write the group and version of this kind"),
        }
    }
}

/// Reports whether resources of a kind are in no namespace.
pub(crate) fn is_cluster_scoped(kind: &str) -> bool {
    CLUSTER_SCOPED.contains(&kind)
}

fn is_of_ours(group: &str) -> bool {
    [SECURITY, NETWORKING, CILIUM].contains(&group)
}

/// The group with its current version.
fn versioned(group: &str) -> String {
    format!("{group}/{}", if group == CILIUM { "v2" } else { "v1" })
}

/// The error for a name that is no kind of `group`; `meant` says which kinds it can stand for.
fn unknown_kind(name: &str, group: &str, meant: &dyn Fn(&KnownKind) -> bool) -> String {
    let candidates = || KNOWN.iter().filter(|known| meant(known)).map(|known| known.name);
    let of = if group.is_empty() { String::new() } else { format!(" of {group}") };
    match closest_match(name, candidates()) {
        Some(like) => format!("unknown kind `{name}`{of}, did you mean \"{like}\"?"),
        None => format!("unknown kind `{name}`{of}, expected {}", one_of(candidates())),
    }
}

/// The error for a known kind in another group than its own.
fn another_group(known: &KnownKind, written: &str, group: &str) -> String {
    let KnownKind { name, group: own, .. } = known;
    let is_of =
        |(end, _): &&(&str, &str)| group.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    match PRODUCTS.iter().find(is_of) {
        Some((_, product)) => {
            format!("`{written}` is {name} of {product}, which no filter reads; leave the resource out")
        }
        None => format!(
            "`{written}` is not of the group of {name}, which is {own}; write {} if that one is meant, or leave the resource out",
            versioned(own)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_kind_is_listed_once() {
        for (at, one) in KNOWN.iter().enumerate() {
            assert!(KNOWN.iter().skip(at + 1).all(|other| other.name != one.name), "{} is listed twice", one.name);
        }
    }
}
