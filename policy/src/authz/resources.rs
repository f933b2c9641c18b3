//! Kubernetes resources that define policies.

pub(crate) mod authorization_policy;
pub(crate) mod conditions;
pub(crate) mod field_reader;
pub(crate) mod kinds;
pub(crate) mod object_meta;
pub(crate) mod peer_authentication;
pub(crate) mod rules;
pub(crate) mod tcp;
pub(crate) mod workload;

use std::cell::{Cell, RefCell};

use crate::authz::policy_name::PolicyName;
use crate::authz::resources::kinds::{OwnKinds, Reading, is_cluster_scoped};
use crate::authz::resources::object_meta::{DefaultNamespace, Metadata};
use crate::collections::map::OrderedMap;
use crate::config::document::StreamedList;
use crate::config::document::position::Position;
use crate::config::error_code::ErrorCode;
use crate::config::passed_over::PassedOver;
use crate::config::reader::{ConfigNode, Object};

/// Maximum number of resources in a configuration.
pub(crate) const MAX_RESOURCES: usize = 1_000_000;

/// Resource of a kind that the filter reads.
pub(crate) struct Resource<'r> {
    pub(crate) kind: &'static str,
    pub(crate) object: &'r Object<'r>,
    /// `metadata`; `None` if it is invalid. That of a cluster-scoped kind is left to its reader.
    pub(crate) metadata: Option<Metadata>,
}

/// The reading of `resources` by one filter.
pub(crate) struct ResourceReader<'r> {
    pub(crate) own_kinds: &'r OwnKinds,
    pub(crate) default_namespace: DefaultNamespace<'r>,
    /// Reads one resource. Returns false after it reported an error.
    pub(crate) read: &'r dyn Fn(Resource<'_>) -> bool,
}

/// Kind, group and version that the items of a list have where they do not say.
struct Inherited<'l> {
    kind: &'l str,
    version: Option<&'l ConfigNode<'l>>,
}

/// Kind and name of a resource.
type ResourceKey = (&'static str, PolicyName);

/// The item of the list that a resource is, and whether it is an item of that item.
type Place = (usize, bool);

/// Facts about the resources that were read so far.
#[derive(Default)]
struct Progress {
    places: RefCell<OrderedMap<ResourceKey, Place>>,
    passed_over: RefCell<PassedOver>,
    count: Cell<usize>,
    failed: Cell<bool>,
}

impl ResourceReader<'_> {
    /// Reads the streamed list of resources, and returns counts of those of other kinds. `None` after an error.
    pub(crate) fn read_all(&self, node: &ConfigNode<'_>, items: &StreamedList<'_>) -> Option<PassedOver> {
        // If it is not a list, that is reported, and there are no items.
        let _empty = node.items()?;
        let progress = Progress::default();
        let all_came = node.for_each_item(items, &|position, item| {
            let count = progress.count.get() + 1;
            progress.count.set(count);
            if count <= MAX_RESOURCES && self.read_item(node, position, item, None, &progress).is_none() {
                progress.failed.set(true);
            }
        });
        if progress.count.get() > MAX_RESOURCES {
            node.error_as(
                ErrorCode::LimitExceeded,
                format!("has {} items, the limit is {MAX_RESOURCES}", progress.count.get()),
            );
            return None;
        }
        (all_came && !progress.failed.get()).then(|| progress.passed_over.into_inner())
    }

    /// Reads an item of `resources` or of a list in it. Returns `None` after it reported an error.
    fn read_item(
        &self,
        list: &ConfigNode<'_>,
        position: &Position<'_>,
        node: &ConfigNode<'_>,
        inherited: Option<&Inherited<'_>>,
        progress: &Progress,
    ) -> Option<()> {
        if node.is_null() {
            return Some(());
        }
        let object = node.object()?;
        let (kind, version) = (object.optional("kind"), object.optional("apiVersion"));
        let version = version.as_ref().or(inherited.and_then(|list| list.version));
        let name = match (&kind, inherited) {
            (Some(kind), _) => kind.text()?,
            (None, Some(inherited)) => inherited.kind,
            (None, None) => {
                object.missing("kind", "write the kind of the resource, as in kind: AuthorizationPolicy");
                return None;
            }
        };
        if let Some(of_items) = name.strip_suffix("List")
            && inherited.is_none()
            && (of_items.is_empty() || object.names("items"))
        {
            return self.read_list(list, position, &object, &Inherited { kind: of_items, version }, progress);
        }
        let reading = self.own_kinds.reading(kind.as_ref().unwrap_or(node), name, version, &object)?;
        let kind = match reading {
            Reading::Own(kind) => kind,
            Reading::PassedOver(purpose) => {
                progress.passed_over.borrow_mut().add(name, purpose);
                return Some(());
            }
        };
        object.optional("status");
        let before = node.errors_so_far();
        let metadata = match is_cluster_scoped(kind) {
            true => None,
            false => Metadata::read(&object, &self.default_namespace),
        };
        let key = metadata.as_ref().map(|metadata| (kind, metadata.name.clone()));
        let complete = (self.read)(Resource { kind, object: &object, metadata });
        object.finish();
        if let Some((_, name)) = &key {
            node.name_resource(before, name);
        }
        if let Some((kind, name)) = key
            && complete
        {
            let earlier = progress.places.borrow_mut().insert((kind, name.clone()), position.top());
            if let Some((earlier, within)) = earlier {
                let at = if within { "in" } else { "at" };
                node.error_as(
                    ErrorCode::DuplicateResource,
                    format!("duplicate {kind} {name}, already defined {at} {}[{earlier}]", list.path()),
                );
            }
        }
        complete.then_some(())
    }

    /// Reads a `List`, whose items with a kind were read before, or an `XList`, whose items need none.
    fn read_list(
        &self,
        list: &ConfigNode<'_>,
        position: &Position<'_>,
        object: &Object<'_>,
        inherited: &Inherited<'_>,
        progress: &Progress,
    ) -> Option<()> {
        object.optional("metadata");
        let inherited = Some(inherited).filter(|inherited| !inherited.kind.is_empty());
        let mut complete = true;
        if let Some(items) = object.optional("items") {
            for item in items.items()? {
                complete &= self.read_item(list, position, &item, inherited, progress).is_some();
            }
        }
        object.finish();
        complete.then_some(())
    }
}

#[cfg(test)]
mod tests;
