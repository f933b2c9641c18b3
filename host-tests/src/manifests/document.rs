//! The documents of YAML and JSON files.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// A resource of a file, or a text of it that is no YAML.
#[derive(Debug)]
pub struct Document {
    /// The path from the folder.
    pub file: String,
    /// The resource; `None` for what cannot be read.
    pub content: Option<Value>,
}

/// Reads all YAML and JSON files of a folder and those below it, in the order of their paths. A file can have several
/// documents; empty ones are left out, and lists are opened.
pub fn read_folder(folder: &Path) -> Result<Vec<Document>> {
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).with_context(|| format!("reading {}", next.display()))? {
            let entry = entry?;
            let path = entry.path();
            let is_manifest =
                path.extension().is_some_and(|ending| ["yaml", "yml", "json"].iter().any(|one| ending == *one));
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if is_manifest {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut documents = Vec::new();
    for path in files {
        let file = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
        let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        for text in documents_of(&String::from_utf8_lossy(&bytes)) {
            match testbed::read_yaml(&text) {
                Ok(value) => documents.extend(
                    opened(value).into_iter().map(|resource| Document { file: file.clone(), content: Some(resource) }),
                ),
                Err(_) => documents.push(Document { file: file.clone(), content: None }),
            }
        }
    }
    Ok(documents)
}

/// Splits a text into its documents, without those that are comments and blanks alone. One that cannot be read does not
/// take the others with it.
fn documents_of(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in text.lines() {
        match (line.strip_prefix("---"), documents.last_mut()) {
            (Some(rest), _) if rest.is_empty() || rest.starts_with(char::is_whitespace) => {
                documents.push(rest.to_owned() + "\n")
            }
            (_, Some(document)) => {
                document.push_str(line);
                document.push('\n');
            }
            (_, None) => {}
        }
    }
    let has_content = |document: &String| {
        document.lines().map(str::trim).any(|line| !line.is_empty() && !line.starts_with('#') && line != "...")
    };
    documents.retain(has_content);
    documents
}

/// The resources that a document holds: the items of a list, which can be lists themselves, or the document. The items of
/// an `XList` that do not say so are each an `X`.
fn opened(document: Value) -> Vec<Value> {
    let (mut open, mut resources) = (vec![document], Vec::new());
    while let Some(mut next) = open.pop() {
        let list =
            next.get("kind").and_then(Value::as_str).and_then(|kind| kind.strip_suffix("List")).map(str::to_owned);
        let version = next.get("apiVersion").cloned();
        let Some((of_items, Value::Array(items))) = list.zip(next.get_mut("items")) else {
            if !next.is_null() {
                resources.push(next);
            }
            continue;
        };
        for mut item in std::mem::take(items).into_iter().rev() {
            if let (Value::Object(keys), false) = (&mut item, of_items.is_empty()) {
                keys.entry("kind").or_insert_with(|| Value::from(of_items.as_str()));
                if let Some(version) = &version {
                    keys.entry("apiVersion").or_insert_with(|| version.clone());
                }
            }
            open.push(item);
        }
    }
    resources
}
