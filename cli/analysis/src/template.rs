//! Templates that are YAML by chance: what stands between `{{` and `}}` is no value yet.

use crate::codes::NOT_YAML;
use crate::finding::{Finding, Severity};
use crate::tree::{Node, Value};

/// Groups of the resources that are looked at: others have such texts in their own right, as alerts do.
const GROUPS: [&str; 5] =
    ["security.istio.io/", "networking.istio.io/", "extensions.istio.io/", "cilium.io/", "gateway.envoyproxy.io/"];

/// Keys of texts in other languages.
const OTHER_LANGUAGES: [&str; 5] = ["annotations", "inline", "inlineCode", "inline_code", "inlineString"];

/// Returns the finding about a resource with a part of a template in it.
pub(crate) fn unfilled(root: &Node) -> Option<Finding> {
    let version = root.text_at(&["apiVersion"])?;
    GROUPS.iter().find(|group| version.starts_with(*group))?;
    let mut open = vec![root];
    while let Some(node) = open.pop() {
        if let Value::Text(text) = &node.value
            && let Some((_, rest)) = text.split_once("{{")
            && let Some((inner, _)) = rest.split_once("}}")
        {
            return Some(Finding {
                severity: Severity::Error,
                code: NOT_YAML.code.to_owned(),
                message: format!("`{{{{{inner}}}}}` is a part of a template, and no value"),
                help: "check what it becomes, as `helm template` writes it".to_owned(),
                span: Some(node.span),
            });
        }
        open.extend(node.items().iter().rev());
        let entries = node.entries().iter().rev();
        open.extend(entries.filter(|entry| !OTHER_LANGUAGES.contains(&entry.key.as_str())).map(|entry| &entry.value));
    }
    None
}
