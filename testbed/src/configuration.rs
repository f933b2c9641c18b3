//! Envoy bootstraps: read from `envoy-config/` and adapted to a run's folders and ports.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

/// Parses YAML as JSON values.
pub fn read_yaml(text: &str) -> Result<Value> {
    serde_saphyr::from_str(text).map_err(|error| anyhow!("{error}"))
}

/// An Envoy bootstrap, as JSON.
#[derive(Clone, Debug)]
pub struct Configuration(Value);

impl Configuration {
    /// Wraps a bootstrap without changes.
    pub fn new(bootstrap: Value) -> Self {
        Self(bootstrap)
    }

    /// Reads a bootstrap from a YAML file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        read_yaml(&text).map(Self).with_context(|| format!("in {}", path.display()))
    }

    /// The value at a JSON pointer (RFC 6901). Fails if there is none.
    pub fn at(&mut self, pointer: &str) -> Result<&mut Value> {
        self.0.pointer_mut(pointer).with_context(|| format!("the configuration has no {pointer}"))
    }

    /// Replaces the prefix `folder` of every string with `to`.
    pub fn move_paths(&mut self, folder: &str, to: &Path) {
        fn walk(value: &mut Value, folder: &str, to: &Path) {
            match value {
                Value::String(text) => {
                    if let Some(rest) = text.strip_prefix(folder) {
                        *text = format!("{}{rest}", to.display());
                    }
                }
                Value::Array(items) => items.iter_mut().for_each(|item| walk(item, folder, to)),
                Value::Object(entries) => entries.values_mut().for_each(|entry| walk(entry, folder, to)),
                _ => {}
            }
        }
        walk(&mut self.0, folder, to);
    }

    /// The bootstrap.
    pub fn value(&self) -> &Value {
        &self.0
    }
}
