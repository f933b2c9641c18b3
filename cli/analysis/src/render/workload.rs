//! The workload for which is rendered: by flags, by the configuration file, or by a manifest among the files.

use std::fmt;

use sallyport_policy::printable;

use crate::project::{Contents, Project};
use crate::settings::{Filter, Workload};
use crate::tree::{Node, Value};

/// The kinds of manifests that say which labels their pods have.
const KINDS: [(&str, &[&str]); 4] = [
    ("Deployment", &["spec", "template", "metadata", "labels"]),
    ("StatefulSet", &["spec", "template", "metadata", "labels"]),
    ("DaemonSet", &["spec", "template", "metadata", "labels"]),
    ("Pod", &["metadata", "labels"]),
];

/// Returns the workload of the flags, or that of the configuration file.
pub(crate) fn effective_workload(project: &Project, contents: &Contents<'_>) -> Option<Workload> {
    let section = || project.filter_settings(contents, Filter::IdentityAuthz).section;
    let of_file = || section()?.get("workload").and_then(workload_of);
    project.settings().workload.clone().or_else(of_file)
}

/// Returns the workload that the key `workload` of a configuration names.
pub(crate) fn workload_of(node: &Node) -> Option<Workload> {
    let text = |key| node.text_at(&[key]).map(str::to_owned);
    Some(Workload {
        namespace: text("namespace")?,
        labels: node.get("labels").map(labels),
        service: text("service"),
        gateway: text("gateway"),
    })
}

/// Returns the workloads of the manifests among the files, each with a name for people; none if flags or the
/// configuration file have one.
pub fn workloads(project: &Project) -> Vec<(String, Workload)> {
    let contents = project.contents();
    if effective_workload(project, &contents).is_some() {
        return Vec::new();
    }
    let workload = |resource: &crate::resource::Resource<'_>| {
        let kind = resource.kind()?;
        let (_, path) = KINDS.iter().find(|(name, _)| *name == kind)?;
        // A manifest without a namespace goes where the caller of kubectl is.
        let namespace = resource.namespace().or(contents.default_namespace.as_deref()).unwrap_or("default");
        let labels = resource.node.at(path).map(labels).unwrap_or_default();
        let name = format!("{kind} {namespace}/{}", resource.name().unwrap_or_default());
        Some((name, Workload { namespace: namespace.to_owned(), labels: Some(labels), ..Workload::default() }))
    };
    contents.resources.iter().filter_map(workload).collect()
}

fn labels(node: &Node) -> Vec<(String, String)> {
    let label = |entry: &crate::tree::Entry| match &entry.value.value {
        Value::Text(text) => Some((entry.key.clone(), text.clone())),
        _ => None,
    };
    node.entries().iter().filter_map(label).collect()
}

/// Writes it as the flag `--workload` has it, or the object that `targetRefs` name; on one line.
impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(self.namespace.as_bytes()))?;
        let labels = self.labels.iter().flatten().map(|(key, value)| (key.as_str(), value));
        let objects = [("Service", &self.service), ("Gateway", &self.gateway)];
        let objects = objects.into_iter().filter_map(|(kind, name)| Some((kind, name.as_ref()?)));
        for (index, (key, value)) in labels.chain(objects).enumerate() {
            let separator = if index == 0 { '/' } else { ',' };
            write!(f, "{separator}{}={}", printable(key.as_bytes()), printable(value.as_bytes()))?;
        }
        Ok(())
    }
}
