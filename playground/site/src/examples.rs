//! The examples of the page: folders of policies with an `example.yaml` that says what they show.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testbed::root;

/// Example, as the page loads it.
pub struct Example {
    /// Name of its folder.
    pub name: String,
    /// `{"name", "title", "about", "files", "settings", "requests"}`.
    pub json: Value,
}

/// Reads the examples, in the order of the folders' names, which begin with a number.
///
/// # Errors
///
/// A file that cannot be read.
pub fn examples() -> Result<Vec<Example>> {
    let folder = root().join("playground/examples");
    let mut folders: Vec<_> =
        fs::read_dir(&folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<_>>()?;
    folders.sort();
    folders.iter().map(|folder| read_example(folder)).collect()
}

fn read_example(folder: &Path) -> Result<Example> {
    let directory = folder.file_name().unwrap_or_default().to_string_lossy();
    let name = directory.split_once('-').map_or(&*directory, |(_, name)| name).to_owned();
    let text = |file: &str| {
        let path = folder.join(file);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    };
    let mut json: Value = serde_saphyr::from_str(&text("example.yaml")?).with_context(|| format!("in {directory}"))?;
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| name != "example.yaml");
    // The configuration file comes last: policies are what a reader looks at first.
    names.sort_by_key(|name| (name == "sallyport.yaml", name.clone()));
    let files: Result<Vec<Value>> = names.iter().map(|name| Ok(json!({"name": name, "text": text(name)?}))).collect();
    let object = json.as_object_mut().with_context(|| format!("{directory}/example.yaml is no object"))?;
    object.insert("name".to_owned(), json!(name));
    object.insert("files".to_owned(), json!(files?));
    Ok(Example { name, json })
}

/// Returns the file that the page reads.
pub(crate) fn examples_json() -> Result<String> {
    let list: Vec<Value> = examples()?.into_iter().map(|example| example.json).collect();
    Ok(Value::Array(list).to_string())
}
