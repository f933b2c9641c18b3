//! Files that a kustomization patches others with: a part of a resource each, and none by itself.

use crate::lints::Lint;
use crate::tree::Node;

/// Finding about a patch.
pub(crate) const KUSTOMIZE_PATCH: Lint = Lint {
    code: "kustomize-patch",
    title: "A file is a patch of a kustomization, so it is not read as a resource",
    fix: "check what `kubectl kustomize` writes: `kubectl kustomize FOLDER | sallyport check -`",
};

/// Names of the file in which a kustomization stands.
const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Returns the names of the files that a document of a kustomization names as patches.
pub(crate) fn patches(name: &str, root: &Node) -> Vec<String> {
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
    if !NAMES.contains(&file) && root.text_at(&["kind"]) != Some("Kustomization") {
        return Vec::new();
    }
    let items = |key: &str| root.get(key).map_or(&[][..], Node::items).iter();
    let by_path = items("patches").chain(items("patchesJson6902")).filter_map(|patch| patch.text_at(&["path"]));
    let merged = items("patchesStrategicMerge").filter_map(Node::as_str).filter(|text| !text.contains('\n'));
    by_path.chain(merged).map(|path| joined(folder, path)).collect()
}

/// Joins a relative path to a folder, without dots.
fn joined(folder: &str, path: &str) -> String {
    let whole = if folder.is_empty() { path.to_owned() } else { format!("{folder}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Returns a file name as [`patches`] writes it.
pub(crate) fn plain_name(name: &str) -> String {
    joined("", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_the_kustomization() {
        for (folder, path, expected) in [
            ("", "a.yaml", "a.yaml"),
            ("overlays/live", "./a.yaml", "overlays/live/a.yaml"),
            ("overlays/live", "../../base/a.yaml", "base/a.yaml"),
            ("/srv/live", "../a.yaml", "/srv/a.yaml"),
            ("..", "../a.yaml", "../../a.yaml"),
        ] {
            assert_eq!(joined(folder, path), expected);
        }
        assert_eq!(plain_name("./live/a.yaml"), "live/a.yaml");
    }
}
