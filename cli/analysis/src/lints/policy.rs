//! AuthorizationPolicies as lints look at them.

use crate::project::Contents;
use crate::resource::Resource;
use crate::source::Span;
use crate::tree::{Entry, Node};

/// AuthorizationPolicy.
#[derive(Clone, Debug)]
pub(crate) struct Policy<'p> {
    pub(crate) resource: &'p Resource<'p>,
    pub(crate) namespace: &'p str,
    pub(crate) action: &'p str,
    pub(crate) rules: &'p [Node],
}

impl<'p> Policy<'p> {
    /// Returns all AuthorizationPolicies.
    pub(crate) fn all(contents: &'p Contents<'p>) -> Vec<Self> {
        let is_policy = |resource: &&Resource<'_>| resource.kind() == Some("AuthorizationPolicy") && !resource.is_list;
        let policy = |resource: &'p Resource<'p>| Self {
            resource,
            namespace: resource.namespace().or(contents.default_namespace.as_deref()).unwrap_or_default(),
            action: resource.node.text_at(&["spec", "action"]).unwrap_or("ALLOW"),
            rules: resource.node.at(&["spec", "rules"]).map_or(&[][..], Node::items),
        };
        contents.resources.iter().filter(is_policy).map(policy).collect()
    }

    /// Returns `NAMESPACE/NAME`.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.namespace, self.resource.name().unwrap_or_default())
    }

    /// Reports whether it is only reported.
    pub(crate) fn dry_run(&self) -> Option<Span> {
        let annotations = self.resource.node.at(&["metadata", "annotations"])?;
        let entry = annotations.entry("istio.io/dry-run")?;
        let is_on = ["1", "t", "T", "true", "TRUE", "True"].contains(&entry.value.as_str()?);
        is_on.then_some(entry.value.span)
    }

    /// Returns `selector.matchLabels`; `None` if the policy selects in another way or everything.
    pub(crate) fn labels(&self) -> Option<Vec<(&'p str, &'p str)>> {
        let labels = self.resource.node.at(&["spec", "selector", "matchLabels"])?.entries();
        let pairs: Vec<_> =
            labels.iter().filter_map(|entry| Some((entry.key.as_str(), entry.value.as_str()?))).collect();
        (!pairs.is_empty()).then_some(pairs)
    }

    /// Returns the part of the policy that says what it selects, in one text.
    pub(crate) fn target(&self) -> String {
        let mut text = String::new();
        for key in ["selector", "targetRef", "targetRefs"] {
            if let Some(node) = self.resource.node.at(&["spec", key]) {
                crate::json::write_json(node, &mut text);
            }
        }
        text
    }

    /// Returns every list of a source, an operation or a condition, with the name of what it compares. A condition's is its
    /// key.
    pub(crate) fn fields(&self) -> Vec<(&'p str, &'p Entry)> {
        self.rules.iter().flat_map(fields).collect()
    }
}

/// Returns the lists of one rule, as [`Policy::fields`] does.
pub(crate) fn fields(rule: &Node) -> Vec<(&str, &Entry)> {
    let parts = [("from", "source"), ("to", "operation")].into_iter().flat_map(|(list, key)| blocks(rule, list, key));
    let listed = parts.flat_map(Node::entries).map(|entry| (entry.key.as_str(), entry));
    let conditions = rule.get("when").map_or(&[][..], Node::items).iter();
    let compared = conditions.filter_map(|condition| {
        let entry = condition.entry("key")?;
        Some((entry.value.as_str()?, entry))
    });
    listed.chain(compared).collect()
}

/// Fields of sources and operations that only requests have.
const HTTP_FIELDS: [&str; 8] =
    ["methods", "notMethods", "paths", "notPaths", "hosts", "notHosts", "requestPrincipals", "notRequestPrincipals"];

/// Reports whether only requests have a field, so that a rule for connections cannot compare it. A condition is called by
/// its key.
pub(crate) fn is_http_field(name: &str) -> bool {
    HTTP_FIELDS.contains(&name) || name.starts_with("request.") && name != "request.time"
}

/// Returns the sources or operations of a rule.
pub(crate) fn blocks<'n>(rule: &'n Node, list: &str, key: &'static str) -> impl Iterator<Item = &'n Node> {
    rule.get(list).map_or(&[][..], Node::items).iter().filter_map(move |item| item.get(key))
}

/// Returns the strings of a list under a key.
pub(crate) fn texts<'n>(node: &'n Node, key: &str) -> Vec<&'n str> {
    node.get(key).map_or(&[][..], Node::items).iter().filter_map(Node::as_str).collect()
}
