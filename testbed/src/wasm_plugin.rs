//! A Wasm plugin in an Envoy configuration.

use std::path::Path;

use serde_json::{Value, json};

/// A `envoy.extensions.wasm.v3.PluginConfig`, the `config` of an HTTP or network Wasm filter. `configuration` is a
/// protobuf message in JSON with its `@type`.
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

/// A `google.protobuf.StringValue` in JSON with its `@type`.
pub fn string_value(text: &str) -> Value {
    json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text})
}
