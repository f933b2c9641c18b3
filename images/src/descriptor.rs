//! The JSON documents of an image (OCI image specification 1.1). Fields are written in the order of their declaration.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The media type of a manifest.
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A blob by its type, digest and size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type.
    pub media_type: &'static str,
    /// The digest, as in `sha256:6c3c...`.
    pub digest: String,
    /// The size in bytes.
    pub size: usize,
}

impl Descriptor {
    pub(crate) fn new(media_type: &'static str, blob: &[u8]) -> Self {
        Self { media_type, digest: format!("sha256:{}", sha256(blob)), size: blob.len() }
    }
}

/// The labels of an image, by the names of the OCI conventions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Labels {
    /// The name of the filter.
    #[serde(rename = "org.opencontainers.image.title")]
    pub title: String,
    /// The question that the filter answers.
    #[serde(rename = "org.opencontainers.image.description")]
    pub description: String,
    /// The version of the filter.
    #[serde(rename = "org.opencontainers.image.version")]
    pub version: String,
    /// The commit that it was built from.
    #[serde(rename = "org.opencontainers.image.revision")]
    pub revision: String,
    /// The address of the source code.
    #[serde(rename = "org.opencontainers.image.source")]
    pub source: String,
    /// The licence, by its SPDX identifier.
    #[serde(rename = "org.opencontainers.image.licenses")]
    pub licenses: String,
}

/// An image manifest.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u8,
    pub(crate) media_type: &'static str,
    pub(crate) config: Descriptor,
    pub(crate) layers: [Descriptor; 1],
    pub(crate) annotations: Labels,
}

/// An image configuration.
#[derive(Serialize)]
pub(crate) struct Configuration {
    pub(crate) architecture: &'static str,
    pub(crate) os: &'static str,
    pub(crate) config: Value,
    pub(crate) rootfs: RootFs,
}

/// The digests of the layers before they are compressed.
#[derive(Serialize)]
pub(crate) struct RootFs {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) diff_ids: [String; 1],
}

/// Returns the SHA-256 of bytes in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
