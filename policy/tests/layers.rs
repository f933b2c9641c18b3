//! The layers of this crate and the files of `plugins/runtime`: imports go down, and no files import each other in a
//! circle.

#![expect(clippy::expect_used, reason = "a test ends where its files cannot be read")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The layers from the lowest up; those of one row do not know each other.
const LAYERS: [&[&str]; 7] =
    [&["collections"], &["config"], &["identity"], &["matcher"], &["attributes"], &["authz"], &["baseline", "egress"]];

/// The imports of each module of a crate, by module path.
type Imports = BTreeMap<String, BTreeSet<String>>;

#[test]
fn imports_go_down_the_layers() {
    let layer = |module: &str| {
        let folder = module.split("::").next().unwrap_or_default();
        LAYERS.iter().position(|row| row.contains(&folder)).map(|row| (row, folder.to_owned()))
    };
    let imports = imports_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(imports.len() > 60, "{} files", imports.len());
    for (module, imported) in &imports {
        for other in imported {
            let (Some((own, folder)), Some((of_other, other_folder))) = (layer(module), layer(other)) else { continue };
            let is_below = of_other < own || folder == other_folder;
            assert!(is_below, "{module} imports {other}, which is not below it");
        }
    }
    for module in imports.keys() {
        let is_test_only =
            ["lib", "linear_reading", "test_support"].contains(&module.split("::").next().unwrap_or_default());
        assert!(layer(module).is_some() || is_test_only, "{module} is in no layer");
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for source in [root.join("src"), root.join("../plugins/runtime/src")] {
        let mut open = imports_of(&source);
        assert!(open.len() > 10, "{}: {} files", source.display(), open.len());
        // What imports nothing that is left, or is imported by nothing that is left, is in no circle.
        loop {
            let left: BTreeSet<String> = open.keys().cloned().collect();
            let imported: BTreeSet<String> = open.values().flatten().cloned().collect();
            open.retain(|module, imports| {
                imports.iter().any(|other| left.contains(other)) && imported.contains(module)
            });
            if open.len() == left.len() {
                break;
            }
        }
        assert!(open.is_empty(), "circles among {:?}", open.keys());
    }
}

/// Reads the imports of all files of a crate, tests aside.
fn imports_of(source: &Path) -> Imports {
    let mut files = Vec::new();
    collect(source, &mut files);
    let module = |file: &PathBuf| {
        let path = file.strip_prefix(source).expect("a file below").with_extension("");
        path.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect::<Vec<_>>().join("::")
    };
    let modules: BTreeSet<String> = files.iter().map(module).collect();
    let read = |file: &PathBuf| {
        let own = module(file);
        let text = fs::read_to_string(file).expect("a source file");
        let production = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let code: Vec<&str> = production.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
        (own.clone(), references(&code.join("\n"), &own, &modules))
    };
    files.iter().filter(|file| !file.ends_with("lib.rs")).map(read).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" {
            collect(&path, files);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            files.push(path);
        }
    }
}

/// The modules that code refers to, by paths from the crate's root, from the parent or by a module below its own.
fn references(code: &str, own: &str, modules: &BTreeSet<String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let parent = own.rsplit_once("::").map_or("", |(parent, _)| parent);
    let code = code.replace("super::", &format!("crate::{parent}::"));
    let is_of_a_path = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | ':');
    for (start, _) in code.match_indices("crate::") {
        let path: String = code[start + "crate::".len()..].chars().take_while(|next| is_of_a_path(*next)).collect();
        let mut prefix = path.trim_end_matches(':');
        loop {
            if modules.contains(prefix) {
                if prefix != own {
                    found.insert(prefix.to_owned());
                }
                break;
            }
            match prefix.rsplit_once("::") {
                Some((shorter, _)) => prefix = shorter,
                None => break,
            }
        }
    }
    let below = format!("{own}::");
    for child in modules.iter().filter_map(|module| module.strip_prefix(&below)).filter(|child| !child.contains("::")) {
        let uses = |(at, _): (usize, &str)| !code[..at].ends_with(is_of_a_path);
        if code.match_indices(&format!("{child}::")).any(uses) {
            found.insert(format!("{below}{child}"));
        }
    }
    found
}
