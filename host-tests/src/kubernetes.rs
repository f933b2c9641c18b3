//! Manifests of `envoy-config/kubernetes`, and the Envoy configuration that Istio and Envoy Gateway make of them.
//!
//! A cluster is not at hand, so [`istio`] and [`envoy_gateway`] translate what those products document and their sources
//! do, as far as the filters depend on it: names, the form of a configuration, the order of filters, the settings of TLS.

pub mod envoy_gateway;
pub mod istio;
mod listener;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

pub use listener::{CERTIFICATE, TRUSTED};

/// Resources of a manifest.
#[derive(Clone, Debug)]
pub struct Manifest(Vec<Value>);

impl Manifest {
    /// Reads a file of `envoy-config/kubernetes`.
    pub fn read(file: &str) -> Result<Self> {
        let path = testbed::root().join("envoy-config/kubernetes").join(file);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        text.split("\n---\n").map(testbed::read_yaml).collect::<Result<_>>().map(Self)
    }

    /// All resources.
    pub fn resources(&self) -> &[Value] {
        &self.0
    }

    /// The resources of a kind.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |resource| resource.get("kind") == Some(&json!(kind)))
    }

    /// Adds a resource.
    pub fn and(mut self, resource: &Value) -> Self {
        self.0.push(resource.clone());
        self
    }

    /// Leaves out the resources of a kind. Fails where there is none.
    pub fn without(mut self, kind: &str) -> Result<Self> {
        let before = self.0.len();
        self.0.retain(|resource| resource.get("kind") != Some(&json!(kind)));
        ensure!(self.0.len() < before, "no {kind}");
        Ok(self)
    }

    /// Sets a key of each resource of this kind and name, or removes it where the value is null. Fails where there is no
    /// such object.
    pub fn with(mut self, kind: &str, name: &str, pointer: &str, value: Value) -> Result<Self> {
        let is_it = |resource: &&mut Value| {
            resource.get("kind") == Some(&json!(kind)) && resource.pointer("/metadata/name") == Some(&json!(name))
        };
        let resource = self.0.iter_mut().find(is_it).with_context(|| format!("no {kind} {name}"))?;
        let (parent, key) = pointer.rsplit_once('/').context("no pointer")?;
        let parent = resource.pointer_mut(parent).and_then(Value::as_object_mut);
        let parent = parent.with_context(|| format!("{kind} {name} has no place for {pointer}"))?;
        match value {
            Value::Null => drop(parent.remove(key).with_context(|| format!("{kind} {name} has no {pointer}"))?),
            value => drop(parent.insert(key.to_owned(), value)),
        }
        Ok(self)
    }
}

/// The text at a pointer.
fn text<'v>(value: &'v Value, pointer: &str) -> Result<&'v str> {
    value.pointer(pointer).and_then(Value::as_str).with_context(|| format!("no {pointer} in {value}"))
}

/// The items at a pointer; none where there is nothing.
fn items<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The built module of the filter that an image holds, as in `registry.example/sallyport/identity-authz@sha256:...`.
fn module_of(image: &str) -> Result<std::path::PathBuf> {
    let name = Path::new(image).file_name().and_then(|name| name.to_str()).and_then(|name| name.split('@').next());
    Ok(testbed::filter_path(name.context("an image without a name")?))
}
