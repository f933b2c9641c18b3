//! The configurations of `egress-allowlist` in a file.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

/// The filter's name with hyphens, by which its modules, plugins and filters are recognised.
const FILTER: &str = "egress-allowlist";

/// Type URLs of the messages that carry a configuration, without their prefix.
const STRING_VALUE: &str = "google.protobuf.StringValue";
const STRUCT: &str = "google.protobuf.Struct";

/// A configuration of the filter.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PluginConfiguration {
    /// Path of its keys in the file.
    pub(crate) place: String,
    pub(crate) json: Vec<u8>,
}

/// Finds the configurations of the filter, each once. Fails if there is none, and says where one may be.
pub(crate) fn find(document: &Value) -> Result<Vec<PluginConfiguration>> {
    let mut search = Search::default();
    search.visit(document, "")?;
    if !search.found.is_empty() {
        return Ok(search.found);
    }
    if let Some(path) = search.discovered {
        bail!("egress-allowlist takes its configuration from {path}; give that file");
    }
    if !is_plugin_configuration(document) {
        bail!(
            "no configuration of egress-allowlist: give an Envoy configuration with a Wasm filter whose module or name \
             has `egress-allowlist` in it, or a file with `rules` or `resources`"
        );
    }
    Ok(vec![PluginConfiguration { place: "it".to_owned(), json: serde_json::to_vec(document)? }])
}

/// Reports whether a file is a configuration of the filter, and not of Envoy, whose resources have types.
fn is_plugin_configuration(document: &Value) -> bool {
    let untyped = |item: &Value| item.get("@type").is_none();
    let resources = document.get("resources").and_then(Value::as_array);
    document.get("rules").is_some() || resources.is_some_and(|resources| resources.iter().all(untyped))
}

#[derive(Default)]
struct Search {
    found: Vec<PluginConfiguration>,
    /// The file from which Envoy takes the filter's configuration, where that is elsewhere.
    discovered: Option<String>,
}

impl Search {
    fn visit(&mut self, value: &Value, place: &str) -> Result<()> {
        match value {
            Value::Array(items) => {
                for (number, item) in items.iter().enumerate() {
                    self.visit(item, &format!("{place}[{number}]"))?;
                }
            }
            Value::Object(object) => {
                self.visit_object(object, place)?;
                for (key, item) in object {
                    let separator = if place.is_empty() { "" } else { "." };
                    self.visit(item, &format!("{place}{separator}{key}"))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes the configuration of a Wasm plugin (`envoy.extensions.wasm.v3.PluginConfig`).
    fn visit_object(&mut self, object: &Map<String, Value>, place: &str) -> Result<()> {
        let named = ["name", "root_id", "rootId"].iter().any(|key| object.get(*key).is_some_and(names_filter));
        if let Some(discovery) = either(object, "config_discovery", "configDiscovery").filter(|_| named) {
            let source = discovery.as_object().and_then(|keys| either(keys, "config_source", "configSource"));
            let paths = source.and_then(Value::as_object);
            let path = paths.and_then(|keys| either(keys, "path_config_source", "pathConfigSource"));
            let path = path.and_then(|source| source.get("path")).and_then(Value::as_str);
            self.discovered = Some(path.unwrap_or("elsewhere").to_owned());
        }
        let Some(vm) = either(object, "vm_config", "vmConfig") else { return Ok(()) };
        if !named && !vm.get("code").is_some_and(names_filter) {
            return Ok(());
        }
        let place = format!("{place}.configuration");
        let configuration = object.get("configuration").with_context(|| format!("{place} is missing"))?;
        let found = PluginConfiguration { json: json(configuration).context(place.clone())?, place };
        // Listeners can share one by an alias of YAML.
        if self.found.iter().all(|earlier| earlier.json != found.json) {
            self.found.push(found);
        }
        Ok(())
    }
}

/// Returns a field by its name in the proto file or in JSON.
fn either<'v>(object: &'v Map<String, Value>, name: &str, json_name: &str) -> Option<&'v Value> {
    object.get(name).or_else(|| object.get(json_name))
}

/// Reports whether a text, or one within a value, has the filter's name in it.
fn names_filter(value: &Value) -> bool {
    match value {
        Value::String(text) => text.replace('_', "-").contains(FILTER),
        Value::Array(items) => items.iter().any(names_filter),
        Value::Object(object) => object.values().any(names_filter),
        _ => false,
    }
}

/// Returns the JSON text that Envoy gives the filter.
fn json(configuration: &Value) -> Result<Vec<u8>> {
    let kind = configuration.get("@type").and_then(Value::as_str).unwrap_or_default();
    let value = configuration.get("value");
    match (kind.rsplit('/').next().unwrap_or_default(), value) {
        (STRUCT, Some(value)) => Ok(serde_json::to_vec(value)?),
        (STRING_VALUE, Some(Value::String(text))) => Ok(text.clone().into_bytes()),
        _ => bail!("expected `@type` of google.protobuf.Struct or StringValue, and `value`"),
    }
}

#[cfg(test)]
mod tests;
