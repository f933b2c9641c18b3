//! Images of the modules, as far as a text shows them. Nothing is asked of a registry.

use std::collections::BTreeSet;

use crate::finding::{Finding, Severity};
use crate::lints::{Lint, Linter, warning};
use crate::plugin::Plugin;
use crate::tree::Node;

pub(super) const MUTABLE_IMAGE: Lint = Lint {
    code: "mutable-image",
    title: "An image is named by `latest` or without a version, so that another can be loaded tomorrow",
    fix: "name it by a version and its digest, as in `:1.0.0@sha256:...`",
};

pub(super) const UNLOADABLE_IMAGE: Lint = Lint {
    code: "unloadable-image",
    title: "The digest of an image cannot be the one of its manifest, so the proxy cannot load the module",
    fix: "write the digest of the image's own manifest, as `crane digest --platform` or `skopeo inspect` prints it",
};

/// Media types of lists of images.
const INDEX_TYPES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];

pub(super) fn lint(linter: &Linter<'_>) -> Vec<Finding> {
    let plugins = linter.project.plugins();
    let indexes = if plugins.iter().any(|plugin| plugin.image.is_some()) { indexes(linter) } else { BTreeSet::new() };
    plugins.iter().flat_map(|plugin| [mutable(plugin), unloadable(plugin, &indexes)]).flatten().collect()
}

fn mutable(plugin: &Plugin) -> Option<Finding> {
    let (span, url) = plugin.image.as_ref()?;
    let image = url.strip_prefix("oci://").unwrap_or(url);
    if image.contains("://") || image.contains('@') || plugin.checksum.is_some() {
        return None;
    }
    let tag = image.rsplit('/').next().unwrap_or(image).split_once(':').map(|(_, tag)| tag);
    if tag.is_none_or(|tag| tag == "latest") {
        let message = format!("the image `{url}` can be another tomorrow");
        return Some(warning(MUTABLE_IMAGE, *span, message, MUTABLE_IMAGE.fix));
    }
    // A version that nobody moves is as good as a digest, which no text tells.
    let message = format!("the image `{url}` is named by a tag, which can be moved; some proxies pull it again then");
    let severity = Severity::Note;
    Some(Finding { severity, ..warning(MUTABLE_IMAGE, *span, message, MUTABLE_IMAGE.fix) })
}

fn unloadable(plugin: &Plugin, indexes: &BTreeSet<&str>) -> Option<Finding> {
    let (span, url) = plugin.image.as_ref()?;
    let digest = url.split_once('@').map(|(_, digest)| digest)?;
    let hex = digest.strip_prefix("sha256:");
    let is_digest =
        hex.is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
    if !is_digest {
        let message = format!("`{digest}` is no digest: it has to be sha256: and 64 hexadecimal digits");
        return Some(warning(UNLOADABLE_IMAGE, *span, message, UNLOADABLE_IMAGE.fix));
    }
    if indexes.contains(digest) {
        let message = "the digest is that of an index of images, and not that of one image".to_owned();
        return Some(warning(UNLOADABLE_IMAGE, *span, message, UNLOADABLE_IMAGE.fix));
    }
    let (of_checksum, checksum) = plugin.checksum.as_ref().filter(|(_, checksum)| Some(checksum.as_str()) != hex)?;
    let message = format!("`sha256` is {checksum}, and the digest in the image's name is another");
    Some(warning(UNLOADABLE_IMAGE, *of_checksum, message, "remove one of the two, or write the same digest in both"))
}

/// Returns the digests that descriptors among the files say are those of an index.
fn indexes<'l>(linter: &Linter<'l>) -> BTreeSet<&'l str> {
    let mut digests = BTreeSet::new();
    let mut open: Vec<&Node> = linter.contents.others.clone();
    while let Some(node) = open.pop() {
        let is_index = ["mediaType", "MediaType"]
            .iter()
            .any(|key| node.text_at(&[key]).is_some_and(|media_type| INDEX_TYPES.contains(&media_type)));
        if is_index {
            digests.extend(["digest", "Digest"].iter().filter_map(|key| node.text_at(&[key])));
        }
        open.extend(node.items());
        open.extend(node.entries().iter().map(|entry| &entry.value));
    }
    digests
}
