//! Trust domains that policies name.

use crate::explain::Deciders;
use crate::tree::Node;

impl Deciders<'_> {
    /// Returns the trust domains that the principals of the policies name, without patterns.
    pub fn trust_domains(&self) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        let mut open: Vec<&Node> = self.resources.iter().map(|resource| resource.node).collect();
        while let Some(node) = open.pop() {
            let principals = ["principals", "notPrincipals"].iter().filter_map(|key| node.get(key));
            let mut texts: Vec<&str> = principals.flat_map(Node::items).filter_map(Node::as_str).collect();
            if node.text_at(&["key"]) == Some("source.principal") {
                let lists = ["values", "notValues"].iter().filter_map(|key| node.get(key));
                texts.extend(lists.flat_map(Node::items).filter_map(Node::as_str));
            }
            for domain in texts.iter().filter_map(|text| text.trim_start_matches("spiffe://").split('/').next()) {
                if !domain.is_empty() && !domain.contains('*') && found.iter().all(|known| known != domain) {
                    found.push(domain.to_owned());
                }
            }
            open.extend(node.items());
            open.extend(node.entries().iter().map(|entry| &entry.value));
        }
        found.sort();
        found
    }
}
