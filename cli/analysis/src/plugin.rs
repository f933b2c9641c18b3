//! Plugin configurations inside of what carries them: Envoy's own configuration, WasmPlugin, TrafficExtension and
//! EnvoyExtensionPolicy.

use crate::documents::read_embedded;
use crate::settings::Filter;
use crate::source::{Source, Span};
use crate::tree::{Entry, Node, Value};

/// Configuration of a filter, as a proxy gets it.
#[derive(Clone, Debug)]
pub(crate) struct Plugin {
    pub(crate) filter: Filter,
    /// The configuration; `None` if the carrier has none.
    pub(crate) configuration: Option<Node>,
    /// Key of the configuration, or what stands for the carrier.
    pub(crate) span: Span,
    /// Setting that lets requests through when the filter fails.
    pub(crate) fail_open: Option<Span>,
    /// Image or URL of the module.
    pub(crate) image: Option<(Span, String)>,
}

/// Returns the plugin configurations of Sallyport's filters anywhere below a value.
pub(crate) fn find_plugins(root: &Node, source_index: usize, source: &Source) -> Vec<Plugin> {
    let mut plugins = Vec::new();
    let mut open = vec![root];
    while let Some(node) = open.pop() {
        match &node.value {
            Value::List(items) => open.extend(items.iter().rev()),
            Value::Object(entries) => {
                let carrier = Carrier { node, source_index, source };
                match carrier.plugin() {
                    Some(plugin) => plugins.push(plugin),
                    None => open.extend(entries.iter().rev().map(|entry| &entry.value)),
                }
            }
            _ => {}
        }
    }
    plugins
}

/// Object that may hold a plugin configuration.
struct Carrier<'n> {
    node: &'n Node,
    source_index: usize,
    source: &'n Source,
}

impl<'n> Carrier<'n> {
    fn plugin(&self) -> Option<Plugin> {
        self.of_envoy().or_else(|| self.of_istio()).or_else(|| self.of_envoy_gateway())
    }

    /// Returns the first of these keys that is given.
    fn any(&self, keys: &[&str]) -> Option<&'n Entry> {
        keys.iter().find_map(|key| self.node.entry(key))
    }

    /// `envoy.extensions.wasm.v3.PluginConfig`.
    fn of_envoy(&self) -> Option<Plugin> {
        let machine = self.any(&["vm_config", "vmConfig"])?;
        machine.value.get("code").or_else(|| self.node.get("configuration"))?;
        let filter = self.filter(&[&machine.value, self.node])?;
        let fail_open = self
            .any(&["fail_open", "failOpen"])
            .filter(|entry| matches!(entry.value.value, Value::Bool(true)))
            .or_else(|| self.any(&["failure_policy", "failurePolicy"]).filter(|entry| says(entry, "FAIL_OPEN")));
        let configuration = self.node.entry("configuration");
        Some(Plugin {
            filter,
            configuration: configuration.and_then(|entry| self.any_message(&entry.value)),
            span: configuration.map_or_else(|| self.node.first_span(), |entry| entry.key_span),
            fail_open: fail_open.map(|entry| entry.value.span),
            image: None,
        })
    }

    /// `WasmPlugin` and `TrafficExtension`.
    fn of_istio(&self) -> Option<Plugin> {
        let url = self.node.entry("url")?;
        let is_plugin =
            ["pluginConfig", "pluginName", "failStrategy", "phase", "selector", "targetRefs", "imagePullPolicy"];
        let is_plugin = is_plugin.iter().any(|key| self.node.get(key).is_some());
        let filter = self.filter(&[&url.value]).filter(|_| is_plugin)?;
        let configuration = self.node.entry("pluginConfig");
        let fail_open = self.node.entry("failStrategy").filter(|entry| says(entry, "FAIL_OPEN"));
        Some(Plugin {
            filter,
            configuration: configuration.map(|entry| entry.value.clone()),
            span: configuration.map_or(url.key_span, |entry| entry.key_span),
            fail_open: fail_open.map(|entry| entry.value.span),
            image: url.value.as_str().map(|text| (url.value.span, text.to_owned())),
        })
    }

    /// An item of `spec.wasm` of `EnvoyExtensionPolicy`.
    fn of_envoy_gateway(&self) -> Option<Plugin> {
        let code = self.node.get("code")?;
        let url = ["image", "http"].iter().find_map(|kind| code.get(kind)?.get("url"))?;
        let filter = self.filter(&[url])?;
        let configuration = self.node.entry("config");
        let fail_open = self.node.entry("failOpen").filter(|entry| matches!(entry.value.value, Value::Bool(true)));
        Some(Plugin {
            filter,
            configuration: configuration.map(|entry| entry.value.clone()),
            span: configuration.map_or_else(|| self.node.first_span(), |entry| entry.key_span),
            fail_open: fail_open.map(|entry| entry.value.span),
            image: url.as_str().map(|text| (url.span, text.to_owned())),
        })
    }

    /// Returns the filter that names in these values mean: of a module's file, an image, a root.
    fn filter(&self, nodes: &[&Node]) -> Option<Filter> {
        let mut names = Vec::new();
        let mut open: Vec<&Node> = nodes.to_vec();
        while let Some(node) = open.pop() {
            for entry in node.entries() {
                // What the configuration itself says is no name.
                if !["configuration", "environment_variables"].contains(&entry.key.as_str()) {
                    open.push(&entry.value);
                }
            }
            names.extend(node.as_str());
        }
        Filter::ALL.into_iter().find(|filter| {
            let underscored = filter.name().replace('-', "_");
            names.iter().any(|name| name.contains(filter.name()) || name.contains(&underscored))
        })
    }

    /// Returns the content of a `google.protobuf.Struct`, `StringValue` or `BytesValue` in an `Any`.
    fn any_message(&self, node: &Node) -> Option<Node> {
        let content = match node.text_at(&["@type"]) {
            Some(_) => node.get("value")?,
            None => node,
        };
        match content.as_str() {
            Some(text) => Some(read_embedded(text, content, self.source_index, self.source)),
            None => Some(content.clone()),
        }
    }
}

fn says(entry: &Entry, word: &str) -> bool {
    entry.value.as_str() == Some(word)
}
