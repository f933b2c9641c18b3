//! The configuration of one filter for one workload: its settings, and the resources that apply.

use std::collections::HashSet;

use sallyport_policy::{IdentityAuthz, fingerprint};

use crate::codes::NOT_YAML;
use crate::documents::read_documents;
use crate::filters::{FilterInput, Loaded};
use crate::finding::{Finding, Severity};
use crate::json::write_json;
use crate::project::{Contents, Project};
use crate::protobuf::object;
use crate::resource::Resource;
use crate::settings::Filter;
use crate::source::Source;
use crate::tree::{Entry, Node, Value};

use super::yaml;

/// Keys of `metadata` that a cluster adds and no filter reads.
const OF_THE_CLUSTER: [&str; 7] =
    ["managedFields", "uid", "resourceVersion", "generation", "selfLink", "ownerReferences", "finalizers"];

/// Annotation with a copy of the whole resource.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The trust domain where none is set.
const TRUST_DOMAIN: &str = "cluster.local";

/// Keys of policies that compare the address of the connection's other end.
const ADDRESS_KEYS: [&str; 2] = ["ipBlocks", "notIpBlocks"];

/// Configuration of a filter.
pub(crate) struct FilterConfiguration {
    pub(crate) filter: Filter,
    /// The configuration, as the filter reads it.
    pub(crate) root: Node,
    /// Number of resources of its kinds that apply, and of all of them.
    pub(crate) applicable: usize,
    pub(crate) total: usize,
    /// True if a rule compares the address of the connection's other end, and the filter reads it from filter state.
    pub(crate) needs_direct_address: bool,
    /// True if all requests of a connection get one answer.
    pub(crate) connection_scoped: bool,
    /// Lines of the filter at its load about what may surprise.
    pub(crate) warnings: Vec<String>,
    /// Parts of policies that mean nothing for connections.
    pub(crate) connection_warnings: Vec<String>,
}

impl FilterConfiguration {
    /// Takes the settings of a filter and the resources that apply.
    ///
    /// # Errors
    ///
    /// The faults for which the filter refuses its configuration, whatever applies.
    pub(crate) fn new<'p>(
        project: &'p Project,
        contents: &'p Contents<'p>,
        filter: Filter,
    ) -> Result<Self, Vec<Finding>> {
        let input = FilterInput::always(project, contents, filter);
        let loaded = input.load()?;
        let applicable = match filter {
            Filter::IdentityAuthz => Some(input.applicable()?),
            Filter::BaselineDeny | Filter::EgressAllowlist => None,
        };
        let namespace = input.default_namespace();
        let mut configuration = Self {
            filter,
            root: read_back(&input.json())?,
            applicable: 0,
            total: 0,
            needs_direct_address: false,
            connection_scoped: matches!(&loaded, Loaded::Identity(filter) if filter.policy().needs().connection_scoped),
            warnings: loaded.report().warnings().to_vec(),
            connection_warnings: match &loaded {
                Loaded::Identity(filter) => filter.connection_warnings().to_vec(),
                _ => Vec::new(),
            },
        };
        configuration.keep(namespace.as_deref(), applicable.as_ref());
        let by_filter_state = configuration.root.text_at(&["directRemoteAddress"]) != Some("connection");
        configuration.needs_direct_address = by_filter_state && compares_address(&configuration.root);
        Ok(configuration)
    }

    /// Keeps the resources of the filter's kinds that apply, without what a cluster adds, each with its namespace.
    fn keep(&mut self, namespace: Option<&str>, applicable: Option<&HashSet<(String, String)>>) {
        let (mut kept, mut total) = (0, 0);
        let filter = self.filter;
        let Value::Object(entries) = &mut self.root.value else { return };
        let Some(resources) = entries.iter_mut().find(|entry| entry.key == "resources") else { return };
        let Value::List(items) = &mut resources.value.value else { return };
        items.retain_mut(|item| {
            let resource = Resource::whole(item);
            let is_read = match filter {
                Filter::IdentityAuthz => resource.is_for_identity(),
                Filter::BaselineDeny => resource.kind() == Some("AuthorizationPolicy"),
                Filter::EgressAllowlist => resource.is_for_egress(),
            };
            if !is_read {
                return false;
            }
            total += 1;
            let kind = resource.kind().unwrap_or_default().to_owned();
            let name = format!(
                "{}/{}",
                resource.namespace().or(namespace).unwrap_or_default(),
                resource.name().unwrap_or_default()
            );
            let applies = applicable.is_none_or(|applicable| applicable.contains(&(kind.clone(), name)));
            if applies {
                kept += 1;
                tidy(item, namespace.filter(|_| !kind.contains("Clusterwide")));
            }
            applies
        });
        (self.applicable, self.total) = (kept, total);
    }

    /// Returns the value of the gauge `loaded` of an Envoy that has this configuration as a Struct.
    pub(crate) fn fingerprint(&self) -> u32 {
        let mut json = String::new();
        write_json(&self.root, &mut json);
        let fields: serde_json::Map<_, _> = serde_json::from_str(&json).unwrap_or_default();
        fingerprint(&object(&fields))
    }

    /// Returns a line about what applies and what was left out.
    pub(crate) fn summary(&self, workload: Option<&str>) -> String {
        let Self { filter, applicable, total, .. } = self;
        let noun = if *total == 1 { "resource" } else { "resources" };
        let verb = if *applicable == 1 { "applies" } else { "apply" };
        match (workload, filter) {
            (Some(workload), Filter::IdentityAuthz) => format!(
                "{}: {applicable} of {total} {noun} {verb} to {workload}, {} left out",
                filter.name(),
                total - applicable
            ),
            _ => format!("{}: {total} {noun}", filter.name()),
        }
    }
}

/// Reads a configuration as a tree, in the order of its text.
fn read_back(json: &str) -> Result<Node, Vec<Finding>> {
    let (documents, findings) = read_documents(0, &Source::new("", json));
    match documents.into_iter().next() {
        Some(document) if findings.is_empty() => Ok(document.root),
        _ => Err(vec![Finding {
            severity: Severity::Error,
            code: NOT_YAML.code.to_owned(),
            message: "the configuration cannot be written as YAML".to_owned(),
            help: "nest it less deeply".to_owned(),
            span: None,
        }]),
    }
}

fn tidy(resource: &mut Node, namespace: Option<&str>) {
    let Value::Object(entries) = &mut resource.value else { return };
    entries.retain(|entry| entry.key != "status" && !matches!(entry.value.value, Value::Null));
    let Some(metadata) = entries.iter_mut().find(|entry| entry.key == "metadata") else { return };
    let Value::Object(entries) = &mut metadata.value.value else { return };
    entries.retain(|entry| !(OF_THE_CLUSTER.contains(&entry.key.as_str()) || matches!(entry.value.value, Value::Null)));
    if let Some(annotations) = entries.iter_mut().find(|entry| entry.key == "annotations")
        && let Value::Object(annotations) = &mut annotations.value.value
    {
        annotations.retain(|entry| entry.key != LAST_APPLIED);
    }
    entries.retain(|entry| !(entry.key == "annotations" && entry.value.entries().is_empty()));
    if let Some(namespace) = namespace.filter(|_| entries.iter().all(|entry| entry.key != "namespace")) {
        let after_name = entries.iter().position(|entry| entry.key == "name").map_or(0, |at| at + 1);
        entries.insert(after_name, yaml::entry("namespace", yaml::text(namespace)));
    }
}

/// Reports whether a policy compares the address of the connection's other end.
fn compares_address(root: &Node) -> bool {
    let mut open = vec![root];
    while let Some(node) = open.pop() {
        let is_address = |Entry { key, value, .. }: &Entry| {
            ADDRESS_KEYS.contains(&key.as_str()) || key == "key" && value.as_str() == Some("source.ip")
        };
        if node.entries().iter().any(is_address) {
            return true;
        }
        open.extend(node.items());
        open.extend(node.entries().iter().map(|entry| &entry.value));
    }
    false
}

impl FilterInput<'_> {
    /// Returns the trust domain and its aliases.
    pub(crate) fn trust_domains(&self) -> Vec<String> {
        let root = read_back(&self.json()).ok();
        let text = |key| root.as_ref().and_then(|root| root.text_at(&[key])).map(str::to_owned);
        let aliases = root.as_ref().and_then(|root| root.get("trustDomainAliases")).map_or(&[][..], Node::items);
        let own = text("trustDomain").unwrap_or_else(|| TRUST_DOMAIN.to_owned());
        [own].into_iter().chain(aliases.iter().filter_map(Node::as_str).map(str::to_owned)).collect()
    }

    /// Returns kind and `NAMESPACE/NAME` of the resources of `identity-authz` that apply to the workload.
    ///
    /// # Errors
    ///
    /// The faults for which that cannot be told.
    pub(crate) fn applicable(&self) -> Result<HashSet<(String, String)>, Vec<Finding>> {
        let applicable = IdentityAuthz::applicable_resources(self.json()).map_err(|errors| self.findings(&errors))?;
        let name = |(kind, name): (&str, sallyport_policy::PolicyName)| {
            (kind.to_owned(), format!("{}/{}", name.namespace().unwrap_or_default(), name.name()))
        };
        Ok(applicable.into_iter().map(name).collect())
    }
}
