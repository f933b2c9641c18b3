//! The bill of materials, in CycloneDX.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::packages::{EDITOR, Package, Product};

/// Returns the bill of materials of products: each package once, with licence, checksum and what it calls. Equal packages
/// give equal bytes: it has no time, and its serial number is made of its contents. `editor` is the file that pins the
/// playground's editor, where the playground is in the release.
///
/// # Errors
///
/// The file of the editor pins no version or hash.
pub fn sbom(products: &[Product], packages: &[Package], commit: &str, editor: Option<&str>) -> Result<String> {
    let mut components: Vec<Value> = packages.iter().map(|package| component(products, package)).collect();
    let mut dependencies: Vec<Value> = packages
        .iter()
        .map(|package| {
            let on: Vec<String> = package.depends_on.iter().map(reference).collect();
            json!({"ref": reference(&package.id), "dependsOn": on})
        })
        .collect();
    let mut parts: Vec<String> =
        packages.iter().filter(|package| is_product(products, package)).map(|package| reference(&package.id)).collect();
    if let Some(pinned) = editor {
        let found = editor_component(pinned);
        let (reference, component) = found.context("the editor's file pins no version with a hash")?;
        dependencies.push(json!({"ref": reference, "dependsOn": []}));
        components.push(component);
        parts.push(reference);
    }
    let version = format!("{}+{}", env!("CARGO_PKG_VERSION"), commit.replace(' ', "-"));
    dependencies.insert(0, json!({"ref": "sallyport", "dependsOn": parts}));
    let mut document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": "sallyport",
                "name": "sallyport",
                "version": version,
                "licenses": [{"expression": env!("CARGO_PKG_LICENSE")}],
            },
        },
        "components": components,
        "dependencies": dependencies,
    });
    let serial = serial_number(document.to_string().as_bytes());
    if let Some(fields) = document.as_object_mut() {
        fields.insert("serialNumber".to_owned(), json!(serial));
    }
    Ok(format!("{document:#}\n"))
}

fn is_product(products: &[Product], package: &Package) -> bool {
    products.iter().any(|product| product.package == package.id.0)
}

/// Name of a package within the document. For what comes from a registry it is the package URL.
fn reference((name, version): &(String, String)) -> String {
    format!("pkg:cargo/{name}@{version}")
}

fn component(products: &[Product], package: &Package) -> Value {
    let (name, version) = &package.id;
    let kind = if is_product(products, package) { "application" } else { "library" };
    let mut component = json!({
        "type": kind,
        "bom-ref": reference(&package.id),
        "name": name,
        "version": version,
        "licenses": [{"expression": package.licence}],
    });
    if let Some(fields) = component.as_object_mut() {
        if !package.description.is_empty() {
            fields.insert("description".to_owned(), json!(package.description));
        }
        // A package URL of the workspace's own packages would name a stranger's crate.
        if let Some(checksum) = &package.checksum {
            fields.insert("purl".to_owned(), json!(reference(&package.id)));
            fields.insert("hashes".to_owned(), json!([{"alg": "SHA-256", "content": checksum}]));
        }
    }
    component
}

/// Reference and component of the editor, from `NAME==VERSION --hash=sha256:HASH`.
fn editor_component(pinned: &str) -> Option<(String, Value)> {
    let version = pinned.split_once(&format!("{EDITOR}=="))?.1.split_whitespace().next()?;
    let hash = pinned.split_once("--hash=sha256:")?.1.split_whitespace().next()?;
    let reference = format!("pkg:pypi/{EDITOR}@{version}");
    let component = json!({
        "type": "library",
        "bom-ref": reference,
        "name": EDITOR,
        "version": version,
        "description": "Carries the editor Ace, of which the playground has four files",
        "licenses": [{"expression": "BSD-2-Clause AND BSD-3-Clause"}],
        "purl": reference,
        "hashes": [{"alg": "SHA-256", "content": hash}],
    });
    Some((reference, component))
}

/// UUID of version 8, which has bits of the maker's choice: here those of a SHA-256.
fn serial_number(contents: &[u8]) -> String {
    let hash: [u8; 32] = Sha256::digest(contents).into();
    let number = hash.iter().take(16).fold(0u128, |number, byte| number << 8 | u128::from(*byte));
    let number = number & !(0xf << 76) & !(0x3 << 62) | 0x8 << 76 | 0x2 << 62;
    let digits = format!("{number:032x}");
    let mut parts = Vec::new();
    let mut rest = digits.as_str();
    for length in [8, 4, 4, 4, 12] {
        let (part, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        parts.push(part);
        rest = after;
    }
    format!("urn:uuid:{}", parts.join("-"))
}
