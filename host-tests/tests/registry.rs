//! Images of the filters, pushed to a registry and pulled as Istio and Envoy Gateway pull them. docs/kubernetes.md states
//! the rules.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use images::{Labels, sha256, write_layout};
use serde_json::{Value, json};
use testbed::Registry;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Source of manifests, by tag or digest, and of blobs for a puller.
trait Source {
    fn manifest(&self, reference: &str) -> Result<Vec<u8>>;
    fn blob(&self, digest: &str) -> Result<Vec<u8>>;
}

/// A repository of a registry.
struct Repository<'r>(&'r Registry, &'r str);

impl Source for Repository<'_> {
    fn manifest(&self, reference: &str) -> Result<Vec<u8>> {
        let path = format!("/v2/{}/manifests/{reference}", self.1);
        let answer = self.0.get(&path, &format!("{MANIFEST}, {INDEX}"))?;
        ensure!(answer.status == 200, "{path}: {}", answer.status);
        Ok(answer.body)
    }

    fn blob(&self, digest: &str) -> Result<Vec<u8>> {
        let path = format!("/v2/{}/blobs/{digest}", self.1);
        let answer = self.0.get(&path, "*/*")?;
        ensure!(answer.status == 200, "{path}: {}", answer.status);
        Ok(answer.body)
    }
}

/// Blobs in memory, by digest; the tag `latest` is the last manifest.
#[derive(Default)]
struct Memory(BTreeMap<String, Vec<u8>>, String);

impl Memory {
    fn add(&mut self, bytes: Vec<u8>) -> String {
        let digest = format!("sha256:{}", sha256(&bytes));
        self.0.insert(digest.clone(), bytes);
        digest
    }

    fn add_manifest(&mut self, manifest: &Value) -> String {
        self.1 = self.add(manifest.to_string().into_bytes());
        self.1.clone()
    }
}

impl Source for Memory {
    fn manifest(&self, reference: &str) -> Result<Vec<u8>> {
        let digest = if reference == "latest" { &self.1 } else { reference };
        self.blob(digest)
    }

    fn blob(&self, digest: &str) -> Result<Vec<u8>> {
        self.0.get(digest).cloned().with_context(|| format!("no {digest}"))
    }
}

fn text(value: &Value, pointer: &str) -> Result<String> {
    Ok(value.pointer(pointer).and_then(Value::as_str).with_context(|| format!("no {pointer}"))?.to_owned())
}

/// Pulls as both products do, and refuses what one of them does. `reference` is a tag or a digest.
fn pull(source: &dyn Source, reference: &str) -> Result<Vec<u8>> {
    let mut bytes = source.manifest(reference)?;
    let mut manifest: Value = serde_json::from_slice(&bytes)?;
    // An index stands for the manifest of its platform, linux/amd64.
    if let Some(listed) = manifest.get("manifests").and_then(Value::as_array) {
        let platform = json!({"architecture": "amd64", "os": "linux"});
        let one =
            listed.iter().find(|one| one.get("platform") == Some(&platform)).context("no manifest of the platform")?;
        bytes = source.manifest(&text(one, "/digest")?)?;
        manifest = serde_json::from_slice(&bytes)?;
    }
    // The digest that is pinned is compared with that of the manifest, never with that of an index.
    let digest = format!("sha256:{}", sha256(&bytes));
    ensure!(!reference.starts_with("sha256:") || reference == digest, "the manifest has another digest");
    let layers = manifest.get("layers").and_then(Value::as_array).context("no layers")?;
    let layer = layers.last().context("no layers")?;
    let media_type = text(layer, "/mediaType")?;
    ensure!(media_type == LAYER, "the last layer is {media_type}");
    let mut archive = tar::Archive::new(GzDecoder::new(std::io::Cursor::new(source.blob(&text(layer, "/digest")?)?)));
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path()?.file_name().is_some_and(|name| name == "plugin.wasm") {
            let mut module = Vec::new();
            entry.read_to_end(&mut module)?;
            ensure!(module.len() >= 8 && module.starts_with(b"\0asm"), "plugin.wasm is no module");
            return Ok(module);
        }
    }
    bail!("the last layer has no plugin.wasm")
}

/// The arguments of the calls of skopeo in docs/kubernetes.md, which push an image and ask for its digest, with this filter,
/// its layout and a registry without TLS.
fn documented_calls(filter: &str, layout: &Path, registry: &Registry) -> Result<[Vec<String>; 2]> {
    let page = std::fs::read_to_string(testbed::root().join("docs/kubernetes.md"))?;
    let lines = page.lines().filter_map(|line| line.strip_prefix("    skopeo "));
    let calls = lines.map(|line| {
        let line = line.replace("identity-authz", filter).replace('\'', "");
        let line = line.replace(&format!("dist/images/{filter}"), &layout.display().to_string());
        let line = line.replace("registry.example", &registry.address().to_string());
        let mut words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        let without_tls = if line.starts_with("copy ") { "--dest-tls-verify=false" } else { "--tls-verify=false" };
        words.insert(1, without_tls.to_owned());
        words
    });
    let calls: Vec<_> = calls.collect();
    <[Vec<String>; 2]>::try_from(calls).ok().context("docs/kubernetes.md does not call skopeo twice")
}

#[test]
fn what_is_pushed_is_pulled_by_tag_and_by_the_digest_that_was_printed() -> Result<()> {
    testbed::build_filters()?;
    let folder = tempfile::tempdir()?;
    let registry = Registry::start(folder.path())?;
    for filter in ["identity-authz", "baseline-deny", "egress-allowlist"] {
        let module = std::fs::read(testbed::filter_path(filter))?;
        let labels = Labels {
            title: filter.to_owned(),
            description: "A filter.".to_owned(),
            version: "0.1.0".to_owned(),
            revision: "0123456789ab".to_owned(),
            source: "https://git.example/sallyport".to_owned(),
            licenses: "Apache-2.0".to_owned(),
        };
        let layout = folder.path().join(filter);
        let printed = write_layout(&layout, &module, &labels)?;
        let mut digest = String::new();
        for call in documented_calls(filter, &layout, &registry)? {
            digest = registry.skopeo(&call.iter().map(String::as_str).collect::<Vec<_>>())?;
        }
        ensure!(digest.trim() == printed.digest, "{digest} {printed:?}");
        let repository = format!("sallyport/{filter}");
        let source = Repository(&registry, &repository);
        for reference in ["0.1.0", &printed.digest] {
            ensure!(pull(&source, reference)? == module, "{filter}:{reference} is another module");
        }
    }
    Ok(())
}

/// A layer with this file.
fn archive(name: &str, content: &[u8]) -> Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_size(u64::try_from(content.len())?);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, name, content)?;
    Ok(archive.into_inner()?)
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

/// The forms that docs/kubernetes.md says one product or both refuse.
#[test]
fn other_forms_are_refused() -> Result<()> {
    let module = b"\0asm\x01\0\0\0";
    let tar = archive("plugin.wasm", module)?;
    for (media_type, layer, refusal) in [
        (LAYER, gzip(&tar)?, None),
        ("application/vnd.module.wasm.content.layer.v1+wasm", module.to_vec(), Some("the last layer is")),
        ("application/wasm", module.to_vec(), Some("the last layer is application/wasm")),
        ("application/vnd.oci.image.layer.v1.tar", tar.clone(), Some("the last layer is")),
        ("application/vnd.oci.image.layer.v1.tar+zstd", tar.clone(), Some("the last layer is")),
        (LAYER, gzip(&archive("identity-authz.wasm", module)?)?, Some("no plugin.wasm")),
        (LAYER, gzip(&archive("plugin.wasm", b"#!/bin/sh")?)?, Some("no module")),
    ] {
        let mut memory = Memory::default();
        let digest = memory.add(layer);
        let manifest = json!({"schemaVersion": 2, "layers": [{"mediaType": media_type, "digest": digest}]});
        let digest = memory.add_manifest(&manifest);
        let pulled = pull(&memory, &digest);
        match refusal {
            None => ensure!(pulled? == module),
            Some(words) => {
                let error = pulled.err().map(|error| error.to_string()).unwrap_or_default();
                ensure!(error.contains(words), "{media_type}: {error:?}");
            }
        }
        // An index with the same manifest is pulled by its tag, and refused by its digest.
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
            {"digest": digest, "platform": {"architecture": "amd64", "os": "linux"}}
        ]});
        let index = memory.add_manifest(&index);
        if refusal.is_none() {
            ensure!(pull(&memory, "latest")? == module);
            let error = pull(&memory, &index).err().map(|error| error.to_string()).unwrap_or_default();
            ensure!(error.contains("another digest"), "{error:?}");
        }
    }
    Ok(())
}
