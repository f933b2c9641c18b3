//! The Kubernetes objects that policies come as.

mod authorization_policy;
mod cilium_network_policy;
mod metadata;
mod service_entry;
mod workload;

pub(crate) use authorization_policy::{
    Action, AuthorizationPolicy, Context, Term, read_listed, read_sources, read_values,
};
pub(crate) use cilium_network_policy::{CiliumNetworkPolicy, Cluster, LabelledWorkload};
pub use metadata::PolicyName;
pub(crate) use metadata::{label, read_namespace};
pub(crate) use service_entry::{ExportedTo, ServiceEntry};
pub(crate) use workload::{Target, Workload};

use crate::reader::Node;
use crate::table::Table;

/// So many resources are more than any mesh has.
pub(crate) const MOST_RESOURCES: usize = 1_000_000;

/// Reads a list of AuthorizationPolicy resources.
pub(crate) fn read_policies(node: &Node<'_>, context: &Context<'_>) -> Option<Vec<AuthorizationPolicy>> {
    let mut policies: Vec<AuthorizationPolicy> = Vec::new();
    let mut names = Table::default();
    let mut complete = true;
    for (position, item) in node.items_up_to(MOST_RESOURCES)?.enumerate() {
        match Resource::read(&item, context) {
            Some(Resource::AuthorizationPolicy(policy)) => {
                if let Some(earlier) = names.insert(policy.name.clone(), position) {
                    let (name, list) = (&policy.name, node.place());
                    item.fault(format!(
                        "the policy {name} stands at {list}[{earlier}] already, a cluster has one of a name"
                    ));
                }
                policies.push(policy);
            }
            None => complete = false,
        }
    }
    complete.then_some(policies)
}

/// The groups that resources come from. Any version of a group is accepted.
const SECURITY_GROUP: &str = "security.istio.io";

/// What `resources` can hold.
pub(crate) enum Resource {
    AuthorizationPolicy(AuthorizationPolicy),
}

impl Resource {
    pub(crate) fn read(node: &Node<'_>, context: &Context<'_>) -> Option<Self> {
        let object = node.object()?;
        let kind = object.required("kind", "write kind: AuthorizationPolicy");
        let version = object.required("apiVersion", "write apiVersion: security.istio.io/v1");
        let kind = kind.as_ref().and_then(|kind| match kind.text()? {
            "AuthorizationPolicy" => Some(()),
            "PeerAuthentication" => {
                kind.fault("PeerAuthentication is not supported yet; require client certificates in the listener's TLS context");
                None
            }
            "RequestAuthentication" => {
                kind.fault("RequestAuthentication is the work of envoy.filters.http.jwt_authn, configure that filter before this one");
                None
            }
            other => {
                kind.fault(format!("unknown kind `{other}`, expected AuthorizationPolicy"));
                None
            }
        });
        if let Some(version) = &version
            && let Some(text) = version.text()
            && text.split('/').next() != Some(SECURITY_GROUP)
            && kind.is_some()
        {
            version.fault(format!("`{text}` has no AuthorizationPolicy, write {SECURITY_GROUP}/v1"));
        }
        object.optional("status");
        let policy = kind.and_then(|()| AuthorizationPolicy::read(&object, context));
        if kind.is_some() {
            object.finish();
        }
        policy.map(Self::AuthorizationPolicy)
    }
}
