//! Resources that carry filters into the proxies of Istio and of Envoy Gateway.

use crate::lints::Linter;
use crate::lints::needs::Needs;
use crate::lints::placement::{Placement, placement};
use crate::plugin::{Plugin, find_plugins};
use crate::resource::Resource;
use crate::settings::Filter;
use crate::tree::{Entry, Node};

/// Kinds that carry filters.
const KINDS: [&str; 3] = ["WasmPlugin", "TrafficExtension", "EnvoyExtensionPolicy"];

/// WasmPlugin, TrafficExtension or EnvoyExtensionPolicy with filters of this project.
pub(super) struct Carrier<'p> {
    pub(super) resource: &'p Resource<'p>,
    pub(super) namespace: &'p str,
    pub(super) spec: &'p Node,
    pub(super) placement: Placement,
    pub(super) plugins: Vec<Plugin>,
}

/// Object that a resource names in `targetRef` or `targetRefs`.
pub(super) struct Target<'p> {
    pub(super) kind: &'p str,
    pub(super) name: &'p Node,
    pub(super) section: Option<&'p Node>,
}

impl<'p> Carrier<'p> {
    /// Returns those among the files.
    pub(super) fn all(linter: &Linter<'p>) -> Vec<Self> {
        linter.contents.resources.iter().filter_map(|resource| Self::new(linter, resource)).collect()
    }

    fn new(linter: &Linter<'p>, resource: &'p Resource<'p>) -> Option<Self> {
        resource.kind().filter(|kind| KINDS.contains(kind) && !resource.is_list)?;
        let spec = resource.node.get("spec")?;
        let source = linter.project.sources().get(spec.span.source)?;
        let plugins = find_plugins(spec, spec.span.source, source);
        let namespace = namespace_of(linter, resource);
        (!plugins.is_empty()).then(|| Self {
            resource,
            namespace,
            spec,
            placement: placement(linter.contents, resource),
            plugins,
        })
    }

    /// Reports whether Envoy Gateway reads it.
    pub(super) fn is_of_envoy_gateway(&self) -> bool {
        self.resource.kind() == Some("EnvoyExtensionPolicy")
    }

    /// Returns the filters with what their configurations compare.
    pub(super) fn needs(&self) -> Vec<(&Plugin, Needs)> {
        let with_needs = |plugin| -> Option<(&Plugin, Needs)> {
            let plugin: &Plugin = plugin;
            Some((plugin, Needs::of(plugin.configuration.as_ref()?)))
        };
        self.plugins.iter().filter_map(with_needs).collect()
    }

    /// Returns the object with `url` and `type`: TrafficExtension has it below `wasm`.
    pub(super) fn module(&self) -> &'p Node {
        self.spec.get("wasm").filter(|wasm| wasm.get("url").is_some()).unwrap_or(self.spec)
    }

    /// Returns the labels of the pods that it selects.
    pub(super) fn labels(&self) -> &'p [Entry] {
        self.spec.at(&["selector", "matchLabels"]).map_or(&[], Node::entries)
    }

    /// Returns the objects that it names.
    pub(super) fn targets(&self) -> Vec<Target<'p>> {
        targets(self.spec)
    }

    /// Reports whether it is for a Gateway of this name.
    pub(super) fn is_for_gateway(&self, name: &str) -> bool {
        self.targets().iter().any(|target| target.kind == "Gateway" && target.name.as_str() == Some(name))
    }

    /// Reports whether labels of another resource of this namespace can be of the pods that it selects.
    pub(super) fn can_have(&self, labels: Option<&Node>) -> bool {
        let labels = labels.map_or(&[][..], Node::entries);
        labels.iter().all(|label| {
            self.labels().iter().all(|own| own.key != label.key || own.value.as_str() == label.value.as_str())
        })
    }

    /// Reports whether all labels are those of the pods that it selects.
    pub(super) fn has_labels(&self, labels: Option<&Node>) -> bool {
        let labels = labels.map_or(&[][..], Node::entries);
        labels.iter().all(|label| self.is_own(label))
    }

    /// Reports whether one of the labels is of the pods that it selects.
    pub(super) fn shares_a_label(&self, labels: Option<&Node>) -> bool {
        labels.map_or(&[][..], Node::entries).iter().any(|label| self.is_own(label))
    }

    fn is_own(&self, label: &Entry) -> bool {
        self.labels().iter().any(|own| own.key == label.key && own.value.as_str() == label.value.as_str())
    }

    /// Returns the name of a resource with its namespace.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.namespace, self.resource.name().unwrap_or_default())
    }

    /// Reports whether it carries a filter.
    pub(super) fn has(&self, filter: Filter) -> bool {
        self.plugins.iter().any(|plugin| plugin.filter == filter)
    }
}

/// Returns the namespace of a resource; empty where none is said.
pub(super) fn namespace_of<'p>(linter: &Linter<'p>, resource: &'p Resource<'p>) -> &'p str {
    resource.namespace().or(linter.contents.default_namespace.as_deref()).unwrap_or_default()
}

/// Returns the objects that a resource names in `targetRef` and `targetRefs`.
pub(super) fn targets(spec: &Node) -> Vec<Target<'_>> {
    let references = spec.get("targetRefs").map_or(&[][..], Node::items).iter().chain(spec.get("targetRef"));
    references
        .filter_map(|reference| {
            let (kind, name) = reference.text_at(&["kind"]).zip(reference.get("name"))?;
            Some(Target { kind, name, section: reference.get("sectionName") })
        })
        .collect()
}
