//! The layout of an image: equal bytes each time, and the form that Istio and Envoy Gateway accept.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;
use images::{Labels, sha256, write_layout};
use serde_json::{Value, json};

const MODULE: &[u8] = b"\0asm\x01\0\0\0";

fn labels() -> Labels {
    Labels {
        title: "identity-authz".to_owned(),
        description: "May it?".to_owned(),
        version: "1.2.3".to_owned(),
        revision: "0123456789ab".to_owned(),
        source: "https://git.example/sallyport".to_owned(),
        licenses: "Apache-2.0".to_owned(),
    }
}

/// The files below a folder, by their path in it.
fn files(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(below) = folders.pop() {
        for entry in fs::read_dir(below)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder)?.to_owned(), fs::read(&path)?);
            }
        }
    }
    Ok(found)
}

fn read_json(bytes: &[u8]) -> Result<Value> {
    Ok(serde_json::from_slice(bytes)?)
}

fn text(value: &Value, pointer: &str) -> Result<String> {
    Ok(value.pointer(pointer).and_then(Value::as_str).with_context(|| format!("no {pointer} in {value}"))?.to_owned())
}

/// The blob that a descriptor names, which has its digest and size.
fn blob<'f>(files: &'f BTreeMap<PathBuf, Vec<u8>>, descriptor: &Value) -> Result<&'f Vec<u8>> {
    let digest = text(descriptor, "/digest")?;
    let hexadecimal = digest.strip_prefix("sha256:").context("another digest")?;
    let blob = files.get(&PathBuf::from("blobs/sha256").join(hexadecimal)).context("no blob")?;
    ensure!(sha256(blob) == hexadecimal, "{hexadecimal} has other bytes");
    ensure!(descriptor.get("size") == Some(&json!(blob.len())), "{descriptor} has {} bytes", blob.len());
    Ok(blob)
}

#[test]
fn an_image_is_one_manifest_with_one_layer_that_holds_the_module() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let manifest = write_layout(folder.path(), MODULE, &labels())?;
    let files = files(folder.path())?;
    ensure!(files.len() == 5, "{:?}", files.keys());
    let read = |name: &str| read_json(files.get(Path::new(name)).context("no such file")?);
    ensure!(read("oci-layout")? == json!({"imageLayoutVersion": "1.0.0"}));
    let index = read("index.json")?;
    let [listed] = index.get("manifests").and_then(Value::as_array).context("no manifests")?.as_slice() else {
        anyhow::bail!("{index}")
    };
    ensure!(text(listed, "/digest")? == manifest.digest, "{listed}");

    let manifest = read_json(blob(&files, listed)?)?;
    ensure!(text(&manifest, "/mediaType")? == "application/vnd.oci.image.manifest.v1+json", "{manifest}");
    let [layer] = manifest.get("layers").and_then(Value::as_array).context("no layers")?.as_slice() else {
        anyhow::bail!("{manifest}")
    };
    ensure!(text(layer, "/mediaType")? == "application/vnd.oci.image.layer.v1.tar+gzip", "{layer}");
    let mut archive = Vec::new();
    GzDecoder::new(blob(&files, layer)?.as_slice()).read_to_end(&mut archive)?;
    let mut archived = Vec::new();
    for entry in tar::Archive::new(archive.as_slice()).entries()? {
        let mut entry = entry?;
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        archived.push((entry.path()?.display().to_string(), entry.header().mtime()?, bytes));
    }
    ensure!(archived == [("plugin.wasm".to_owned(), 0, MODULE.to_vec())], "{archived:?}");

    let configuration = read_json(blob(&files, manifest.get("config").context("no config")?)?)?;
    ensure!(text(&configuration, "/rootfs/diff_ids/0")? == format!("sha256:{}", sha256(&archive)), "{configuration}");
    let conventional = json!({
        "org.opencontainers.image.title": "identity-authz",
        "org.opencontainers.image.description": "May it?",
        "org.opencontainers.image.version": "1.2.3",
        "org.opencontainers.image.revision": "0123456789ab",
        "org.opencontainers.image.source": "https://git.example/sallyport",
        "org.opencontainers.image.licenses": "Apache-2.0"
    });
    ensure!(configuration.pointer("/config/Labels") == Some(&conventional), "{configuration}");
    ensure!(manifest.get("annotations") == Some(&conventional), "{manifest}");
    Ok(())
}

#[test]
fn the_command_writes_equal_bytes_each_time_in_the_place_of_old_ones() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let modules = folder.path().join("modules");
    fs::create_dir(&modules)?;
    for (filter, last) in [("identity-authz", 1), ("baseline-deny", 2), ("egress-allowlist", 3)] {
        fs::write(modules.join(format!("{filter}.wasm")), [MODULE, &[last]].concat())?;
    }
    let run = |output: &str| -> Result<(String, BTreeMap<PathBuf, Vec<u8>>)> {
        let output = folder.path().join(output);
        let command = Command::new(env!("CARGO_BIN_EXE_images"))
            .args(["--source", "https://git.example/sallyport", "--revision", "0123456789ab"])
            .arg("--modules")
            .arg(&modules)
            .arg("--output")
            .arg(&output)
            .output()?;
        ensure!(command.status.success(), "{}", String::from_utf8_lossy(&command.stderr));
        Ok((String::from_utf8(command.stdout)?, files(&output)?))
    };
    let first = run("first")?;
    // A blob of an older image is not kept.
    fs::write(folder.path().join("first/baseline-deny/blobs/sha256/old"), "old")?;
    let again = run("first")?;
    // Other times of the files are no difference.
    fs::write(modules.join("identity-authz.wasm"), [MODULE, &[1]].concat())?;
    let second = run("second")?;
    ensure!(first == again && first == second, "two builds differ: {} {}", first.0, second.0);
    ensure!(first.1.len() == 15, "{:?}", first.1.keys());
    for filter in ["identity-authz", "baseline-deny", "egress-allowlist"] {
        ensure!(first.0.contains(&format!("{filter}@sha256:")), "{}", first.0);
    }
    Ok(())
}

#[test]
fn a_missing_module_is_named_with_what_builds_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let command = Command::new(env!("CARGO_BIN_EXE_images"))
        .args(["--source", "x", "--revision", "x", "--modules"])
        .arg(folder.path())
        .output()?;
    let errors = String::from_utf8(command.stderr)?;
    let expected = format!("{}/identity-authz.wasm, which `make wasm` builds", folder.path().display());
    ensure!(!command.status.success() && errors.contains(&expected), "{errors}");
    Ok(())
}
