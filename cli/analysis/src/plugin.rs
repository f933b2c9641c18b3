//! Plugin configurations inside of what carries them: Envoy's own configuration, WasmPlugin, TrafficExtension and
//! EnvoyExtensionPolicy.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::de::IgnoredAny;

use crate::documents::read_embedded;
use crate::settings::{Filter, Layer};
use crate::source::{Source, Span};
use crate::tree::{Entry, Node, Value};

/// Configuration of a filter, as a proxy gets it.
#[derive(Clone, Debug)]
pub(crate) struct Plugin {
    pub(crate) filter: Filter,
    /// The configuration; `None` if the carrier has none.
    pub(crate) configuration: Option<Node>,
    /// Text that is the configuration and no JSON, as the filter needs it.
    pub(crate) unreadable: Option<Span>,
    /// Key of the configuration, or what stands for the carrier.
    pub(crate) span: Span,
    /// Setting that lets requests through when the filter fails.
    pub(crate) fail_open: Option<Span>,
    /// Image or URL of the module.
    pub(crate) image: Option<(Span, String)>,
    /// `sha256` beside it.
    pub(crate) checksum: Option<(Span, String)>,
    /// Name of the module, where it is that of this filter and all other names are those of another one.
    pub(crate) misnamed: Option<(Span, Filter)>,
    /// Place among the filters of a listener.
    pub(crate) position: ChainPosition,
}

/// Place of a filter among those of a listener, as far as a text shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChainPosition {
    /// Key of the list of filters that it is in; `None` in a file that Envoy watches and in a manifest.
    pub(crate) chain: Option<Span>,
    /// Layer at which it decides; `None` where the text does not say.
    pub(crate) layer: Option<Layer>,
}

impl ChainPosition {
    /// Returns the place of what is below a key of an object.
    fn below(self, node: &Node, entry: &Entry) -> Self {
        let chain = match entry.key.as_str() {
            "http_filters" | "httpFilters" | "filters" => Some(entry.key_span),
            _ => self.chain,
        };
        let layer = wasm_type(node).map(|(layer, _)| layer).or(self.layer);
        Self { chain, layer }
    }
}

/// Returns the layer that the type URL of a Wasm filter is for.
pub(crate) fn layer_of_type(url: &str) -> Option<Layer> {
    match url {
        url if url.contains(".filters.network.wasm.") => Some(Layer::Tcp),
        url if url.contains(".filters.http.wasm.") => Some(Layer::Http),
        _ => None,
    }
}

/// Returns the layer of a message that configures a Wasm filter, and its type URL. A `TypedStruct` has the URL beside it.
pub(crate) fn wasm_type(message: &Node) -> Option<(Layer, &Node)> {
    let urls = ["@type", "type_url", "typeUrl"].into_iter().filter_map(|key| message.get(key));
    urls.filter_map(|url| Some((layer_of_type(url.as_str()?)?, url))).next()
}

/// Returns the plugin configurations of Sallyport's filters anywhere below a value.
pub(crate) fn find_plugins<'n>(root: &'n Node, source_index: usize, source: &Source) -> Vec<Plugin> {
    let mut plugins = Vec::new();
    let mut open = vec![(root, ChainPosition::default())];
    while let Some((node, position)) = open.pop() {
        match &node.value {
            Value::List(items) => open.extend(items.iter().rev().map(|item| (item, position))),
            Value::Object(entries) => {
                let carrier = Carrier { node, source_index, source };
                match carrier.plugin() {
                    Some(plugin) => {
                        let layer = plugin.position.layer.or(position.layer);
                        plugins.push(Plugin { position: ChainPosition { layer, ..position }, ..plugin });
                    }
                    None => {
                        let below = |entry: &'n Entry| (&entry.value, position.below(node, entry));
                        open.extend(entries.iter().rev().map(below));
                    }
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
        let module = machine.value.get("code").and_then(module_name);
        let named = named_filter(&[&machine.value, self.node])?;
        // Envoy runs the module, whatever the filter is called.
        let filter = module.map_or(named, |(_, filter)| filter);
        let others = ["name", "root_id", "rootId"].iter().filter_map(|key| self.node.get(key));
        let called = named_filter(&others.collect::<Vec<_>>());
        let fail_open = self
            .any(&["fail_open", "failOpen"])
            .filter(|entry| matches!(entry.value.value, Value::Bool(true)))
            .or_else(|| self.any(&["failure_policy", "failurePolicy"]).filter(|entry| says(entry, "FAIL_OPEN")));
        let configuration = self.node.entry("configuration");
        let message = configuration.and_then(|entry| self.any_message(&entry.value));
        Some(Plugin {
            filter,
            unreadable: message.as_ref().and_then(|(_, unreadable)| *unreadable),
            configuration: message.map(|(node, _)| node),
            span: configuration.map_or_else(|| self.node.first_span(), |entry| entry.key_span),
            fail_open: fail_open.map(|entry| entry.value.span),
            image: None,
            checksum: None,
            misnamed: module
                .zip(called)
                .filter(|((_, own), called)| own != called)
                .map(|((span, _), called)| (span, called)),
            position: ChainPosition::default(),
        })
    }

    /// `WasmPlugin` and `TrafficExtension`.
    fn of_istio(&self) -> Option<Plugin> {
        let url = self.node.entry("url")?;
        let is_plugin =
            ["pluginConfig", "pluginName", "failStrategy", "phase", "selector", "targetRefs", "imagePullPolicy"];
        let is_plugin = is_plugin.iter().any(|key| self.node.get(key).is_some());
        // An image can have any name, and the plugin says its root then.
        let filter = named_filter(&[&url.value])
            .or_else(|| named_filter(&[self.node.get("pluginName")?]))
            .filter(|_| is_plugin)?;
        let configuration = self.node.entry("pluginConfig");
        let fail_open = self.node.entry("failStrategy").filter(|entry| says(entry, "FAIL_OPEN"));
        let layer = if self.node.text_at(&["type"]) == Some("NETWORK") { Layer::Tcp } else { Layer::Http };
        Some(Plugin {
            filter,
            unreadable: configuration.filter(|entry| entry.value.as_str().is_some()).map(|entry| entry.value.span),
            configuration: configuration.map(|entry| entry.value.clone()),
            span: configuration.map_or(url.key_span, |entry| entry.key_span),
            fail_open: fail_open.map(|entry| entry.value.span),
            image: text_of(&url.value),
            checksum: self.node.get("sha256").and_then(text_of),
            misnamed: None,
            position: ChainPosition { chain: None, layer: Some(layer) },
        })
    }

    /// An item of `spec.wasm` of `EnvoyExtensionPolicy`.
    fn of_envoy_gateway(&self) -> Option<Plugin> {
        let code = self.node.get("code")?;
        let module = ["image", "http"].iter().find_map(|kind| code.get(kind).filter(|one| one.get("url").is_some()))?;
        let url = module.get("url")?;
        let filter = ["rootID", "name"]
            .into_iter()
            .fold(named_filter(&[url]), |found, key| found.or_else(|| named_filter(&[self.node.get(key)?])))?;
        let configuration = self.node.entry("config");
        let fail_open = self.node.entry("failOpen").filter(|entry| matches!(entry.value.value, Value::Bool(true)));
        Some(Plugin {
            filter,
            unreadable: configuration.filter(|entry| entry.value.as_str().is_some()).map(|entry| entry.value.span),
            configuration: configuration.map(|entry| entry.value.clone()),
            span: configuration.map_or_else(|| self.node.first_span(), |entry| entry.key_span),
            fail_open: fail_open.map(|entry| entry.value.span),
            image: text_of(url),
            checksum: module.get("sha256").and_then(text_of),
            misnamed: None,
            // Envoy Gateway has no others.
            position: ChainPosition { chain: None, layer: Some(Layer::Http) },
        })
    }

    /// Returns the content of a `google.protobuf.Struct`, `StringValue` or `BytesValue` in an `Any`, and its position if it
    /// is a text and no JSON.
    fn any_message(&self, node: &Node) -> Option<(Node, Option<Span>)> {
        let kind = node.text_at(&["@type"]);
        let content = if kind.is_some() { node.get("value")? } else { node };
        let Some(text) = content.as_str() else { return Some((content.clone(), None)) };
        let is_encoded = kind.is_some_and(|kind| kind.ends_with("BytesValue"));
        let decoded = is_encoded.then(|| BASE64_STANDARD.decode(text).ok()).flatten();
        let decoded = decoded.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let text = decoded.as_deref().unwrap_or(text);
        let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
        let read = read_embedded(text, content, self.source_index, self.source);
        Some((read, (!is_json).then_some(content.span)))
    }
}

fn says(entry: &Entry, word: &str) -> bool {
    entry.value.as_str() == Some(word)
}

/// Returns the filter that names in these values mean: of a module's file, an image, a root.
pub(crate) fn named_filter(nodes: &[&Node]) -> Option<Filter> {
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

/// Returns the place where a module's code names a filter, and that filter.
fn module_name(code: &Node) -> Option<(Span, Filter)> {
    let mut open = vec![code];
    while let Some(node) = open.pop() {
        if let Some(filter) = named_filter(&[node]).filter(|_| node.as_str().is_some()) {
            return Some((node.span, filter));
        }
        open.extend(node.entries().iter().map(|entry| &entry.value));
    }
    None
}

/// Returns a string with its position.
fn text_of(node: &Node) -> Option<(Span, String)> {
    node.as_str().map(|text| (node.span, text.to_owned()))
}
