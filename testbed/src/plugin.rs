//! A Wasm module in an Envoy configuration.

use std::path::Path;

use serde_json::{Value, json};

/// A Wasm plugin (`envoy.extensions.wasm.v3.PluginConfig`), of which HTTP and network filters have one under `config`.
/// `configuration` is a protobuf message with its `@type`.
pub fn wasm_plugin(name: &str, vm_id: &str, module: &Path, configuration: &Value) -> Value {
    json!({
        "name": name,
        "vm_config": {
            "vm_id": vm_id,
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": module}}
        },
        "configuration": configuration
    })
}

/// A text as the configuration of a plugin.
pub fn string_value(text: &str) -> Value {
    json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text})
}
