//! Kubernetes resources that define policies.

pub(crate) mod authorization_policy;
pub(crate) mod conditions;
pub(crate) mod field_reader;
pub(crate) mod object_meta;
pub(crate) mod peer_authentication;
pub(crate) mod rules;
pub(crate) mod tcp;
pub(crate) mod workload;

use std::cell::RefCell;

use crate::authz::resources::authorization_policy::{AuthorizationPolicy, Context};
use crate::authz::resources::peer_authentication::PeerAuthentication;
use crate::collections::map::OrderedMap;
use crate::config::document::StreamedList;
use crate::config::reader::ConfigNode;

/// Maximum number of resources in a configuration.
pub(crate) const MAX_RESOURCES: usize = 1_000_000;

/// The resources of a configuration, by kind.
#[derive(Default)]
pub(crate) struct Resources {
    pub(crate) policies: Vec<AuthorizationPolicy>,
    pub(crate) peer_authentications: Vec<PeerAuthentication>,
}

/// Reads a streamed list of AuthorizationPolicy and PeerAuthentication resources.
pub(crate) fn read_resources(
    node: &ConfigNode<'_>,
    items: &StreamedList<'_>,
    context: &Context<'_>,
) -> Option<Resources> {
    // If it is not a list, that is reported, and there are no items.
    let _empty = node.items()?;
    if items.count() > MAX_RESOURCES {
        node.error(format!("has {} items, the limit is {MAX_RESOURCES}", items.count()));
        return None;
    }
    let read = RefCell::new(Some(Resources::default()));
    let names = RefCell::new(OrderedMap::default());
    let all_came = node.for_each_item(items, &|position, item| {
        let Some(resource) = Resource::read(item, context) else {
            read.take();
            return;
        };
        let name = match &resource {
            Resource::AuthorizationPolicy(policy) => &policy.name,
            Resource::PeerAuthentication(resource) => &resource.name,
        };
        if let Some(earlier) = names.borrow_mut().insert(name.clone(), position) {
            let list = node.path();
            item.error(format!("duplicate resource {name}, already defined at {list}[{earlier}]"));
        }
        let mut read = read.borrow_mut();
        match (resource, read.as_mut()) {
            (Resource::AuthorizationPolicy(policy), Some(resources)) => resources.policies.push(policy),
            (Resource::PeerAuthentication(resource), Some(resources)) => resources.peer_authentications.push(resource),
            (_, None) => {}
        }
    });
    read.take().filter(|_| all_came)
}

/// The groups that resources come from. Any version of a group is accepted.
const SECURITY_GROUP: &str = "security.istio.io";

/// Item of `resources`.
pub(crate) enum Resource {
    AuthorizationPolicy(AuthorizationPolicy),
    PeerAuthentication(PeerAuthentication),
}

impl Resource {
    pub(crate) fn read(node: &ConfigNode<'_>, context: &Context<'_>) -> Option<Self> {
        let object = node.object()?;
        let kind = object.required("kind", "write kind: AuthorizationPolicy");
        let version = object.required("apiVersion", "write apiVersion: security.istio.io/v1");
        let kind = kind.as_ref().and_then(|kind| match kind.text()? {
            known @ ("AuthorizationPolicy" | "PeerAuthentication") => Some((kind, known)),
            "RequestAuthentication" => {
                kind.error("RequestAuthentication is the work of envoy.filters.http.jwt_authn, configure that filter before this one");
                None
            }
            other => {
                kind.error(format!("unknown kind `{other}`, expected AuthorizationPolicy or PeerAuthentication"));
                None
            }
        });
        let (kind, name) = kind?;
        if name == "PeerAuthentication" && context.peer_authentication.is_none() {
            kind.error("this filter knows no identities, use identity-authz for PeerAuthentication");
            return None;
        }
        if let Some(version) = &version
            && let Some(text) = version.text()
            && text.split('/').next() != Some(SECURITY_GROUP)
        {
            version.error(format!("`{text}` has no {name}, write {SECURITY_GROUP}/v1"));
        }
        object.optional("status");
        let resource = match name {
            "PeerAuthentication" => {
                context.peer_authentication.and_then(|read| read(&object)).map(Self::PeerAuthentication)
            }
            _ => AuthorizationPolicy::read(&object, context).map(Self::AuthorizationPolicy),
        };
        object.finish();
        resource
    }
}

#[cfg(test)]
mod tests;
