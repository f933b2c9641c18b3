//! Kubernetes resources of documents.

use crate::json::{separate, write_json, write_key, write_text};
use crate::source::Span;
use crate::tree::{Node, Value};

/// The kinds that a filter reads.
const IDENTITY_KINDS: [&str; 2] = ["AuthorizationPolicy", "PeerAuthentication"];
const EGRESS_KINDS: [&str; 3] = ["ServiceEntry", "CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"];

/// Resource of a document, or the frame of a list of which the items are resources by themselves.
#[derive(Clone, Debug)]
pub struct Resource<'d> {
    /// The object.
    pub node: &'d Node,
    /// Kind and `apiVersion` that an item of an `XList` has where it does not say.
    inherited: Option<(String, Option<String>)>,
    /// True if this is a list without its items.
    pub is_list: bool,
}

impl<'d> Resource<'d> {
    /// Returns the resources of an object; `None` if it is something else. Lists are opened.
    pub fn open(root: &'d Node) -> Option<Vec<Self>> {
        // Other formats have an `apiVersion` too, which is a number there.
        let is_resource = root.get("kind").is_some()
            || root.get("apiVersion").is_some_and(|version| version.as_str().is_some())
            || root.get("metadata").is_some() && root.get("spec").is_some();
        if !is_resource {
            return None;
        }
        let mut resources = Vec::new();
        let mut open = vec![Self { node: root, inherited: None, is_list: false }];
        while let Some(next) = open.pop() {
            let items = next.list_items();
            let Some(items) = items else {
                resources.push(next);
                continue;
            };
            let of_items = next.kind().unwrap_or_default().strip_suffix("List").unwrap_or_default();
            let inherited = (!of_items.is_empty()).then(|| (of_items.to_owned(), next.version().map(str::to_owned)));
            let is_present = |item: &&Node| !matches!(item.value, Value::Null);
            let item = |node| Self { node, inherited: inherited.clone(), is_list: false };
            open.extend(items.iter().filter(is_present).map(item).rev());
            resources.push(Self { is_list: true, ..next });
        }
        Some(resources)
    }

    /// Returns the `resources` of a filter's configuration, lists opened, with what is none.
    pub(crate) fn all_of(configuration: &'d Node) -> Vec<Self> {
        let items = configuration.get("resources").map_or(&[][..], Node::items);
        items.iter().flat_map(|item| Self::open(item).unwrap_or_else(|| vec![Self::whole(item)])).collect()
    }

    /// Takes a value that is meant to be a resource, whatever it is.
    pub(crate) fn whole(node: &'d Node) -> Self {
        Self { node, inherited: None, is_list: false }
    }

    fn list_items(&self) -> Option<&'d [Node]> {
        let kind = self.kind()?.strip_suffix("List")?;
        let items = self.node.entries().iter().find(|entry| entry.key == "items");
        match items.map(|entry| &entry.value.value) {
            Some(Value::List(items)) if self.inherited.is_none() || kind.is_empty() => Some(items),
            _ => None,
        }
    }

    /// Returns the kind.
    pub fn kind(&self) -> Option<&str> {
        let inherited = self.inherited.as_ref().map(|(kind, _)| kind.as_str());
        self.node.text_at(&["kind"]).or(inherited)
    }

    /// Returns `apiVersion`.
    pub fn version(&self) -> Option<&str> {
        let inherited = self.inherited.as_ref().and_then(|(_, version)| version.as_deref());
        self.node.text_at(&["apiVersion"]).or(inherited)
    }

    /// Returns the API group.
    pub fn group(&self) -> Option<&str> {
        self.version().map(|version| version.split_once('/').map_or("", |(group, _)| group))
    }

    /// Returns `metadata.name`.
    pub fn name(&self) -> Option<&str> {
        self.node.text_at(&["metadata", "name"])
    }

    /// Returns `metadata.namespace`.
    pub fn namespace(&self) -> Option<&str> {
        self.node.text_at(&["metadata", "namespace"])
    }

    /// Returns the part of the text that stands for the resource: its name, else its first key.
    pub fn span(&self) -> Span {
        self.node.at(&["metadata", "name"]).map_or_else(|| self.node.first_span(), |name| name.span)
    }

    /// Reports whether `identity-authz` reads the kind.
    pub fn is_for_identity(&self) -> bool {
        self.kind().is_some_and(|kind| IDENTITY_KINDS.contains(&kind))
    }

    /// Reports whether `egress-allowlist` reads the kind.
    pub fn is_for_egress(&self) -> bool {
        self.kind().is_some_and(|kind| EGRESS_KINDS.contains(&kind))
    }

    /// Writes the resource as JSON, with what it inherits; a list without items.
    pub(crate) fn write_json(&self, json: &mut String) {
        let Value::Object(entries) = &self.node.value else {
            write_json(self.node, json);
            return;
        };
        json.push('{');
        let mut count = 0;
        if let Some((kind, version)) = &self.inherited {
            let inherited = [("kind", Some(kind)), ("apiVersion", version.as_ref())];
            for (key, value) in inherited {
                if let Some(value) = value.filter(|_| self.node.get(key).is_none()) {
                    separate(count, json);
                    write_key(key, json);
                    write_text(value, json);
                    count += 1;
                }
            }
        }
        for entry in entries {
            separate(count, json);
            write_key(&entry.key, json);
            match self.is_list && entry.key == "items" {
                true => json.push_str("[]"),
                false => write_json(&entry.value, json),
            }
            count += 1;
        }
        json.push('}');
    }
}
