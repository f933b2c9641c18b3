//! What this proxy fronts, and which policies are meant for it.

use super::metadata::read_namespace;
use crate::reader::{Node, Object};
use crate::table::HashMap;

/// The most `targetRefs` of a policy (istio/api `security/v1beta1/authorization_policy.proto`).
const MOST_TARGETS: usize = 16;

/// `workload`: what this proxy fronts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) namespace: String,
    pub(crate) labels: Option<HashMap<String, String>>,
    pub(crate) service: Option<String>,
    pub(crate) gateway: Option<String>,
}

impl Workload {
    pub(crate) fn read(node: &Node<'_>) -> Option<Self> {
        let object = node.object()?;
        let namespace = object.required("namespace", "write the namespace of the workload that this proxy fronts");
        let labels = object.optional("labels");
        let name = |key| object.optional(key).map(|node| node.some_text().map(str::to_owned));
        let (service, gateway) = (name("service"), name("gateway"));
        let namespace = namespace.as_ref().and_then(read_namespace);
        let labels = labels.as_ref().map(read_labels);
        object.finish();
        Some(Self {
            namespace: namespace?,
            labels: transpose(labels)?,
            service: transpose(service)?,
            gateway: transpose(gateway)?,
        })
    }
}

/// Absent is fine, present and unreadable is not.
pub(crate) fn transpose<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        Some(read) => read.map(Some),
        None => Some(None),
    }
}

pub(crate) fn read_labels(node: &Node<'_>) -> Option<HashMap<String, String>> {
    let object = node.object()?;
    let mut labels = HashMap::default();
    for (key, value) in object.all() {
        labels.insert(key.to_owned(), value.text()?.to_owned());
    }
    Some(labels)
}

/// Whom a policy is meant for, besides being in a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Every workload of the namespace; of the mesh, in the root namespace.
    All,
    /// Workloads that carry all of these labels.
    Labels(HashMap<String, String>),
    /// Any of these Services and Gateways, in the policy's own namespace.
    Objects(Vec<TargetRef>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TargetRef {
    kind: TargetKind,
    name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TargetKind {
    Service,
    Gateway,
}

impl Target {
    /// Reads `selector` alone.
    pub(crate) fn read_selector(spec: &Object<'_>) -> Option<Self> {
        let Some(selector) = spec.optional("selector") else { return Some(Self::All) };
        let object = selector.object()?;
        let labels = object.optional("matchLabels");
        let labels = transpose(labels.as_ref().map(read_labels));
        object.finish();
        let labels = labels?.unwrap_or_default();
        if let Some(starred) = labels.iter().find(|(key, value)| key.contains('*') || value.contains('*')) {
            selector.fault(format!("`{}: {}` has a star, selectors are compared exactly", starred.0, starred.1));
            return None;
        }
        Some(if labels.is_empty() { Self::All } else { Self::Labels(labels) })
    }

    /// Reads `selector`, `targetRef` or `targetRefs`: one of them at most.
    pub(crate) fn read(spec: &Object<'_>) -> Option<Self> {
        let selector = spec.optional("selector");
        let reference = spec.optional("targetRef");
        let references = spec.optional("targetRefs");
        let given = [&selector, &reference, &references].iter().filter(|node| node.is_some()).count();
        if given > 1 {
            spec.fault("has more than one of selector, targetRef and targetRefs, keep one");
            return None;
        }
        if selector.is_some() {
            return Self::read_selector(spec);
        }
        if let Some(reference) = reference {
            return TargetRef::read(&reference).map(|reference| Self::Objects(vec![reference]));
        }
        match references {
            None => Some(Self::All),
            Some(node) => {
                let references: Vec<_> = node
                    .some_items(MOST_TARGETS, "to mean the whole namespace")?
                    .map(|item| TargetRef::read(&item))
                    .collect();
                references.into_iter().collect::<Option<Vec<_>>>().map(Self::Objects)
            }
        }
    }

    /// Whether a policy of `namespace` is meant for `workload`.
    ///
    /// Follows Istio: policies of the workload's namespace and of the root namespace, narrowed by the selector;
    /// references reach objects of the policy's own namespace only.
    pub(crate) fn picks(&self, namespace: &str, root_namespace: &str, workload: &Workload) -> bool {
        let same = namespace == workload.namespace;
        match self {
            Self::All => same || namespace == root_namespace,
            Self::Labels(wanted) => {
                let has = |(key, value)| workload.labels.as_ref().is_some_and(|labels| labels.get(key) == Some(value));
                (same || namespace == root_namespace) && wanted.iter().all(has)
            }
            Self::Objects(references) => {
                let is = |reference: &TargetRef| {
                    let own = match reference.kind {
                        TargetKind::Service => &workload.service,
                        TargetKind::Gateway => &workload.gateway,
                    };
                    own.as_ref() == Some(&reference.name)
                };
                same && references.iter().any(is)
            }
        }
    }

    /// What `workload` would have to say for this target to be decided, where it does not.
    pub(crate) fn undecided(&self, workload: &Workload) -> Option<&'static str> {
        match self {
            Self::All => None,
            Self::Labels(_) => workload.labels.is_none().then_some("workload.labels"),
            // What fronts a Service may be a gateway or not; a gateway fronts Services, so it has to say which.
            Self::Objects(references) => {
                let any = |kind| references.iter().any(|reference| reference.kind == kind);
                let service = any(TargetKind::Service) && workload.service.is_none();
                let gateway = any(TargetKind::Gateway) && workload.gateway.is_none() && workload.service.is_none();
                match (service, gateway) {
                    (true, _) => Some("workload.service"),
                    (false, true) => Some("workload.gateway"),
                    (false, false) => None,
                }
            }
        }
    }
}

impl TargetRef {
    fn read(node: &Node<'_>) -> Option<Self> {
        let object = node.object()?;
        let group = object.optional("group");
        let kind = object.required("kind", "write Service or Gateway");
        let name = object.required("name", "name the Service or Gateway");
        object.refused("namespace", "Istio allows references within the policy's own namespace only, remove it");
        let kind = kind
            .as_ref()
            .and_then(|node| node.word(&[("Service", TargetKind::Service), ("Gateway", TargetKind::Gateway)]));
        let name = name.as_ref().and_then(Node::some_text).map(str::to_owned);
        if let (Some(group), Some(kind)) = (&group, kind) {
            let (wanted, written): (&[&str], _) = match kind {
                TargetKind::Service => (&["", "core"], "\"\""),
                TargetKind::Gateway => (&["gateway.networking.k8s.io"], "gateway.networking.k8s.io"),
            };
            if let Some(text) = group.text()
                && !wanted.contains(&text)
            {
                group.fault(format!("`{text}` is not the group of this kind, write {written}"));
            }
        }
        object.finish();
        Some(Self { kind: kind?, name: name? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_policy_reaches_its_namespace_and_from_the_root_namespace_everywhere() {
        let workload = Workload {
            namespace: "shop".to_owned(),
            labels: Some(labels(&[("app", "orders"), ("tier", "back")])),
            service: Some("orders".to_owned()),
            gateway: None,
        };
        let reference = |kind, name: &str| Target::Objects(vec![TargetRef { kind, name: name.to_owned() }]);
        let rows = [
            (Target::All, "shop", true),
            (Target::All, "other", false),
            (Target::All, "istio-system", true),
            (Target::Labels(labels(&[("app", "orders")])), "shop", true),
            (Target::Labels(labels(&[("app", "orders")])), "istio-system", true),
            (Target::Labels(labels(&[("app", "orders")])), "other", false),
            (Target::Labels(labels(&[("app", "orders"), ("tier", "front")])), "shop", false),
            (Target::Labels(labels(&[("absent", "")])), "shop", false),
            (reference(TargetKind::Service, "orders"), "shop", true),
            (reference(TargetKind::Service, "orders"), "istio-system", false),
            (reference(TargetKind::Service, "web"), "shop", false),
            (reference(TargetKind::Gateway, "orders"), "shop", false),
        ];
        for (target, namespace, expected) in rows {
            assert_eq!(target.picks(namespace, "istio-system", &workload), expected, "{target:?} of {namespace}");
        }
    }
}
