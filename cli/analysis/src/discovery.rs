//! Files that Envoy watches for the configurations of filters, and the filters that take theirs from such a file.

use crate::plugin::named_filter;
use crate::project::{Contents, Project};
use crate::settings::Filter;
use crate::tree::{Entry, Node};

/// Filter in a listener that takes its configuration from elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Discovered<'n> {
    /// Name of the filter.
    pub(crate) name: &'n Node,
    /// File that Envoy watches for it; `None` if a server sends it.
    pub(crate) path: Option<&'n str>,
    /// Types of configurations that it takes.
    pub(crate) type_urls: &'n [Node],
    /// True if it has a configuration until one comes.
    pub(crate) has_default: bool,
}

/// File that Envoy watches, with the resources in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched<'n> {
    pub(crate) root: &'n Node,
    pub(crate) resources: &'n [Node],
}

impl Discovered<'_> {
    /// Returns the filter of this project that its name means.
    pub(crate) fn filter(&self) -> Option<Filter> {
        named_filter(&[self.name])
    }
}

/// Returns the first of these keys that is given.
fn any<'n>(node: &'n Node, keys: &[&str]) -> Option<&'n Entry> {
    keys.iter().find_map(|key| node.entry(key))
}

/// Returns the filters that take their configuration from elsewhere, in the order of the files.
pub(crate) fn discovered<'n>(roots: impl IntoIterator<Item = &'n Node>) -> Vec<Discovered<'n>> {
    let mut open: Vec<&Node> = roots.into_iter().collect();
    open.reverse();
    let mut found = Vec::new();
    while let Some(node) = open.pop() {
        if let Some((discovery, name)) = any(node, &["config_discovery", "configDiscovery"])
            .zip(node.get("name").filter(|name| name.as_str().is_some()))
        {
            let source = any(&discovery.value, &["config_source", "configSource"]).map(|entry| &entry.value);
            let watched = source.and_then(|source| any(source, &["path_config_source", "pathConfigSource"]));
            let path = match watched {
                Some(watched) => watched.value.text_at(&["path"]),
                None => source.and_then(|source| source.text_at(&["path"])),
            };
            let type_urls =
                any(&discovery.value, &["type_urls", "typeUrls"]).map_or(&[][..], |urls| urls.value.items());
            let has_default = any(&discovery.value, &["default_config", "defaultConfig"]).is_some();
            found.push(Discovered { name, path, type_urls, has_default });
        }
        open.extend(node.items().iter().rev());
        open.extend(node.entries().iter().rev().map(|entry| &entry.value));
    }
    found
}

/// Returns the files that Envoy watches for configurations of filters.
pub(crate) fn watched<'n>(roots: impl IntoIterator<Item = &'n Node>) -> Vec<Watched<'n>> {
    let of = |root: &'n Node| {
        let resources = root.get("resources")?.items();
        let is_extension = |one: &Node| {
            one.text_at(&["@type"]).is_some_and(|kind| kind.ends_with("config.core.v3.TypedExtensionConfig"))
        };
        (!resources.is_empty() && resources.iter().all(is_extension)).then_some(Watched { root, resources })
    };
    roots.into_iter().filter_map(of).collect()
}

/// Says which file to give too, where a filter takes its configuration from one that is not among the files.
pub(crate) fn watched_elsewhere(project: &Project, contents: &Contents<'_>) -> Option<String> {
    let all = discovered(contents.others.iter().copied());
    let of_filter = all.iter().filter(|one| one.filter().is_some_and(|filter| filter != Filter::BaselineDeny));
    let one = of_filter.clone().find(|one| one.path.is_some())?;
    Some(format!(
        "{} takes the configuration of {} from {}, give that file too",
        project.place(one.name.span),
        one.name.as_str().unwrap_or_default(),
        one.path.unwrap_or_default()
    ))
}
