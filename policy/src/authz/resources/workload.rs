//! Workload behind this proxy, and the selection of policies for it.

mod mismatch;

use crate::authz::resources::object_meta::read_namespace;
use crate::collections::map::HashMap;
use crate::config::error_code::ErrorCode;
use crate::config::reader::{ConfigNode, Object};

/// The most `targetRefs` of a policy (istio/api `security/v1beta1/authorization_policy.proto`).
const MAX_TARGETS: usize = 16;

/// The longest name of a target, and the longest value of a label (istio/api `type/v1beta1/selector.proto`).
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// `workload`: what this proxy fronts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) namespace: String,
    pub(crate) labels: Option<HashMap<String, String>>,
    pub(crate) service: Option<String>,
    pub(crate) service_entry: Option<String>,
    pub(crate) gateway: Option<String>,
    pub(crate) gateway_class: Option<String>,
}

impl Workload {
    pub(crate) fn read(node: &ConfigNode<'_>) -> Option<Self> {
        let object = node.object()?;
        let namespace = object.required("namespace", "write the namespace of the workload that this proxy fronts");
        let labels = object.optional("labels");
        let name = |key| object.optional(key).map(|node| node.non_empty_str().map(str::to_owned));
        let (service, service_entry) = (name("service"), name("serviceEntry"));
        let (gateway, gateway_class) = (name("gateway"), name("gatewayClass"));
        let namespace = namespace.as_ref().and_then(read_namespace);
        let labels = labels.as_ref().map(read_labels);
        object.finish();
        Some(Self {
            namespace: namespace?,
            labels: transpose(labels)?,
            service: transpose(service)?,
            service_entry: transpose(service_entry)?,
            gateway: transpose(gateway)?,
            gateway_class: transpose(gateway_class)?,
        })
    }

    /// Returns the workload's name for this kind of object, if it is given.
    fn own(&self, kind: TargetKind) -> Option<&String> {
        match kind {
            TargetKind::Service => self.service.as_ref(),
            TargetKind::ServiceEntry => self.service_entry.as_ref(),
            TargetKind::Gateway => self.gateway.as_ref(),
            TargetKind::GatewayClass => self.gateway_class.as_ref(),
        }
    }
}

/// Absent is fine, present and unreadable is not.
pub(crate) fn transpose<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        Some(read) => read.map(Some),
        None => Some(None),
    }
}

pub(crate) fn read_labels(node: &ConfigNode<'_>) -> Option<HashMap<String, String>> {
    let object = node.object()?;
    let mut labels = HashMap::default();
    for (key, value) in object.all() {
        labels.insert(key.to_owned(), value.text()?.to_owned());
    }
    Some(labels)
}

/// Workloads of its namespace that a policy selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Every workload of the namespace, or of the mesh for the root namespace.
    All,
    /// Workloads that carry all of these labels.
    Labels(HashMap<String, String>),
    /// Any of these: Services, ServiceEntries and Gateways of the policy's own namespace, and from the root namespace
    /// all gateways of a class.
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
    ServiceEntry,
    Gateway,
    GatewayClass,
}

impl TargetKind {
    /// Kinds of a `targetRef` by name.
    const NAMED: [(&'static str, Self); 4] = [
        ("Service", Self::Service),
        ("ServiceEntry", Self::ServiceEntry),
        ("Gateway", Self::Gateway),
        ("GatewayClass", Self::GatewayClass),
    ];

    /// The group of such objects, as it is written. None is the core group.
    fn group(self) -> &'static str {
        match self {
            Self::Service => "\"\"",
            Self::ServiceEntry => "networking.istio.io",
            Self::Gateway | Self::GatewayClass => "gateway.networking.k8s.io",
        }
    }

    fn is_of(self, group: &str) -> bool {
        match self {
            Self::Service => ["", "core"].contains(&group),
            Self::ServiceEntry | Self::Gateway | Self::GatewayClass => group == self.group(),
        }
    }
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
        for (key, value) in &labels {
            let wrong = match () {
                () if key.is_empty() => "has no name, write which label is meant",
                () if value.len() > MAX_LABEL => "is longer than any label's value, which has 63 characters at most",
                () if key.contains('*') || value.contains('*') => "has a star, selectors are compared exactly",
                () => continue,
            };
            selector.error(format!("`{key}: {value}` {wrong}"));
            return None;
        }
        Some(if labels.is_empty() { Self::All } else { Self::Labels(labels) })
    }

    /// Reads `selector`, `targetRef` or `targetRefs`: one of them at most.
    pub(crate) fn read(spec: &Object<'_>) -> Option<Self> {
        let selector = spec.optional("selector");
        let reference = spec.optional("targetRef");
        let references = spec.optional("targetRefs");
        let targets = [&selector, &reference, &references].iter().filter(|node| node.is_some()).count();
        if targets > 1 {
            spec.error_as(ErrorCode::Conflict, "has more than one of selector, targetRef and targetRefs, keep one");
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
                    .non_empty_list(MAX_TARGETS, "to mean the whole namespace")?
                    .map(|item| TargetRef::read(&item))
                    .collect();
                references.into_iter().collect::<Option<Vec<_>>>().map(Self::Objects)
            }
        }
    }

    /// Reports whether a policy of `namespace` selects `workload`.
    ///
    /// Follows Istio (1.31, `pilot/pkg/model/policyattachment.go`): policies of the workload's namespace and of the root
    /// namespace, narrowed by the selector; references reach objects of the policy's own namespace only, except for a
    /// GatewayClass, which is cluster-scoped.
    pub(crate) fn selects(&self, namespace: &str, root_namespace: &str, workload: &Workload) -> bool {
        let same = namespace == workload.namespace;
        match self {
            Self::All => same || namespace == root_namespace,
            Self::Labels(wanted) => {
                let has = |(key, value)| workload.labels.as_ref().is_some_and(|labels| labels.get(key) == Some(value));
                (same || namespace == root_namespace) && wanted.iter().all(has)
            }
            Self::Objects(references) => references.iter().any(|reference| {
                let within =
                    if reference.kind == TargetKind::GatewayClass { namespace == root_namespace } else { same };
                within && workload.own(reference.kind) == Some(&reference.name)
            }),
        }
    }

    /// Reports whether a policy of `namespace` is surely for other workloads.
    pub(crate) fn is_for_others(&self, namespace: &str, root_namespace: &str, workload: &Workload) -> bool {
        let in_reach = [root_namespace, workload.namespace.as_str()].contains(&namespace);
        !(self.selects(namespace, root_namespace, workload) || in_reach && self.missing_attribute(workload).is_some())
    }

    /// Reports whether Istio ignores this target in a policy of `namespace`: only policies of the root namespace can
    /// target a GatewayClass.
    pub(crate) fn is_ignored(&self, namespace: &str, root_namespace: &str) -> bool {
        let Self::Objects(references) = self else { return false };
        namespace != root_namespace && references.iter().any(|reference| reference.kind == TargetKind::GatewayClass)
    }

    /// Returns the `workload` key that is missing to decide whether this target selects the workload.
    pub(crate) fn missing_attribute(&self, workload: &Workload) -> Option<&'static str> {
        match self {
            Self::All => None,
            Self::Labels(_) => workload.labels.is_none().then_some("workload.labels"),
            Self::Objects(references) => {
                // What is behind a proxy is a Service or a ServiceEntry: who says one has said that it is no other.
                let fronts = workload.service.is_some() || workload.service_entry.is_some();
                // Labels alone are a workload's; a gateway picked by its class has no use for them.
                let is_workload = workload.labels.is_some() && !fronts && workload.gateway.is_none();
                let unsaid = |kind| {
                    workload.own(kind).is_none()
                        && match kind {
                            // What fronts a Service may be a gateway or not; a gateway fronts Services, so it has to
                            // say which.
                            TargetKind::Service | TargetKind::ServiceEntry | TargetKind::Gateway => !fronts,
                            TargetKind::GatewayClass => !is_workload,
                        }
                };
                let missing = references.iter().map(|reference| reference.kind).find(|kind| unsaid(*kind))?;
                Some(match missing {
                    TargetKind::Service => "workload.service",
                    TargetKind::ServiceEntry => "workload.serviceEntry",
                    TargetKind::Gateway => "workload.gateway",
                    TargetKind::GatewayClass => "workload.gatewayClass",
                })
            }
        }
    }
}

impl TargetRef {
    fn read(node: &ConfigNode<'_>) -> Option<Self> {
        let object = node.object()?;
        let group = object.optional("group");
        let kind = object.required("kind", "write Service, ServiceEntry, Gateway or GatewayClass");
        let name = object.required("name", "name what the policy is for");
        object.unsupported("namespace", "Istio allows references within the policy's own namespace only, remove it");
        let kind = kind.as_ref().and_then(|node| node.enum_value(&TargetKind::NAMED));
        let name = name.as_ref().and_then(|node| {
            let text = node.non_empty_str()?;
            if text.len() > MAX_NAME {
                node.error_as(
                    ErrorCode::LimitExceeded,
                    "longer than any name in Kubernetes, which has 253 characters at most",
                );
                return None;
            }
            Some(text.to_owned())
        });
        // None is the core group.
        let written = group.as_ref().map_or(Some(""), ConfigNode::text);
        if let (Some(kind), Some(text)) = (kind, written)
            && !kind.is_of(text)
        {
            let location = group.as_ref().unwrap_or(node);
            location.error(format!("`{text}` is not the group of this kind, write {}", kind.group()));
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
            ..Workload::default()
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
            (reference(TargetKind::ServiceEntry, "orders"), "shop", false),
            (reference(TargetKind::Gateway, "orders"), "shop", false),
            (reference(TargetKind::GatewayClass, "orders"), "istio-system", false),
        ];
        for (target, namespace, expected) in rows {
            assert_eq!(target.selects(namespace, "istio-system", &workload), expected, "{target:?} of {namespace}");
        }
    }

    #[test]
    fn a_reference_picks_what_a_proxy_fronts_or_is_and_is_undecided_where_it_does_not_say() {
        let own = |keys: &str| Workload {
            namespace: "shop".to_owned(),
            labels: keys.contains('l').then(|| labels(&[("app", "orders")])),
            service: keys.contains('s').then(|| "x".to_owned()),
            service_entry: keys.contains('e').then(|| "x".to_owned()),
            gateway: keys.contains('g').then(|| "x".to_owned()),
            gateway_class: keys.contains('c').then(|| "x".to_owned()),
        };
        let service = Some("workload.service");
        let entry = Some("workload.serviceEntry");
        let gateway = Some("workload.gateway");
        let class = Some("workload.gatewayClass");
        // By what the workload says: for each kind whether it is picked, and what is missing to tell.
        let rows = [
            ("", [(false, service), (false, entry), (false, gateway), (false, class)]),
            ("l", [(false, service), (false, entry), (false, gateway), (false, None)]),
            ("s", [(true, None), (false, None), (false, None), (false, class)]),
            ("e", [(false, None), (true, None), (false, None), (false, class)]),
            ("g", [(false, service), (false, entry), (true, None), (false, class)]),
            ("c", [(false, service), (false, entry), (false, gateway), (true, None)]),
            ("lg", [(false, service), (false, entry), (true, None), (false, class)]),
            ("ls", [(true, None), (false, None), (false, None), (false, class)]),
            ("sg", [(true, None), (false, None), (true, None), (false, class)]),
            ("segc", [(true, None), (true, None), (true, None), (true, None)]),
        ];
        for (keys, expected) in rows {
            let workload = own(keys);
            for ((kind, own), (picked, missing)) in TargetKind::NAMED.into_iter().zip(expected) {
                let target = Target::Objects(vec![TargetRef { kind: own, name: "x".to_owned() }]);
                let namespace = if own == TargetKind::GatewayClass { "istio-system" } else { "shop" };
                assert_eq!(target.selects(namespace, "istio-system", &workload), picked, "{kind} by {keys:?}");
                assert_eq!(target.missing_attribute(&workload), missing, "{kind} by {keys:?}");
                let other = Target::Objects(vec![TargetRef { kind: own, name: "y".to_owned() }]);
                assert!(!other.selects(namespace, "istio-system", &workload), "another {kind} by {keys:?}");
                assert!(!target.selects("elsewhere", "istio-system", &workload), "{kind} elsewhere by {keys:?}");
            }
        }
    }
}
