//! OCI images of the filters, in the one form that both Istio and Envoy Gateway accept: a single manifest with one layer, a
//! gzipped archive that holds `plugin.wasm`.
//!
//! [`write_layout`] writes an image layout, a folder that `skopeo copy` pushes to a registry. Equal modules and labels give
//! equal bytes: nothing in it has a time, a path or a name of the machine.

mod descriptor;
mod layer;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

pub use crate::descriptor::{Descriptor, Labels, sha256};

use crate::descriptor::{Configuration, MANIFEST, Manifest, RootFs};

/// Writes the image of a module into `folder`, in the place of what is there, and returns the descriptor of its manifest:
/// the digest that people pin.
///
/// # Errors
///
/// The folder cannot be written.
pub fn write_layout(folder: &Path, module: &[u8], labels: &Labels) -> Result<Descriptor> {
    let archive = layer::archive(module)?;
    let layer = layer::compress(&archive)?;
    let configuration = serde_json::to_vec(&Configuration {
        architecture: "wasm",
        os: "wasip1",
        config: json!({"Labels": labels}),
        rootfs: RootFs { kind: "layers", diff_ids: [format!("sha256:{}", sha256(&archive))] },
    })?;
    let manifest = serde_json::to_vec(&Manifest {
        schema_version: 2,
        media_type: MANIFEST,
        config: Descriptor::new("application/vnd.oci.image.config.v1+json", &configuration),
        layers: [Descriptor::new(layer::MEDIA_TYPE, &layer)],
        annotations: labels.clone(),
    })?;
    let described = Descriptor::new(MANIFEST, &manifest);

    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).with_context(|| format!("making {}", blobs.display()))?;
    for blob in [&layer, &configuration, &manifest] {
        fs::write(blobs.join(sha256(blob)), blob)?;
    }
    // A layout lists its manifests in a file of its own, which is not pushed.
    let index = json!({"schemaVersion": 2, "manifests": [&described]});
    fs::write(folder.join("index.json"), index.to_string())?;
    fs::write(folder.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string())?;
    Ok(described)
}
