//! Trust domain aliases in policies (`pilot/pkg/security/trustdomain/bundle.go`).

/// The trust domain that stands for the mesh's own, whatever its name.
const LOCAL_DOMAIN: &str = "cluster.local";

/// The meaning of values in policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Istio's.
    Istio,
    /// Sallyport's, where Envoy's matchers can express it: principals of any shape hold in every trust domain of the
    /// mesh, IPv4-mapped addresses are IPv4, and a claim can be a number or a boolean.
    Sallyport,
}

/// A mesh's trust domain and its aliases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mesh {
    /// The trust domain, then its aliases.
    pub trust_domains: Vec<String>,
    /// The meaning of values in its policies.
    pub dialect: Dialect,
}

impl Mesh {
    /// Replaces each principal of a trust domain of the mesh by one for each of the mesh's trust domains. A trust
    /// domain with a leading star is kept for those that it matches.
    pub(super) fn principals(&self, values: &[String]) -> Vec<String> {
        values.iter().flat_map(|value| self.principal(value)).collect()
    }

    fn principal(&self, value: &str) -> Vec<String> {
        let parts: Vec<_> = value.split('/').collect();
        let [domain, path @ ..] = parts.as_slice() else { return vec![value.to_owned()] };
        let in_mesh = *domain == LOCAL_DOMAIN
            || self.trust_domains.iter().any(|known| matches_pattern(known, domain) || matches_pattern(domain, known));
        let expandable = match self.dialect {
            Dialect::Istio => path.len() == 4,
            Dialect::Sallyport => !path.is_empty(),
        };
        if !expandable || *domain == "*" || !in_mesh {
            return vec![value.to_owned()];
        }
        let mut expanded: Vec<String> = Vec::new();
        for known in &self.trust_domains {
            let principal = match domain.strip_prefix('*') {
                Some(suffix) if known.ends_with(suffix) => value.to_owned(),
                _ => format!("{known}/{}", path.join("/")),
            };
            if !expanded.contains(&principal) {
                expanded.push(principal);
            }
        }
        expanded
    }

    /// Replaces each trust domain of the mesh by all of them.
    pub(super) fn trust_domains(&self, values: &[String]) -> Vec<String> {
        let mut expanded: Vec<String> = Vec::new();
        for value in values {
            let domains = if self.trust_domains.contains(value) {
                self.trust_domains.as_slice()
            } else {
                std::slice::from_ref(value)
            };
            expanded.extend(domains.iter().filter(|domain| !expanded.contains(domain)).cloned().collect::<Vec<_>>());
        }
        expanded
    }
}

fn matches_pattern(text: &str, pattern: &str) -> bool {
    match (pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
        (Some(prefix), _) => text.starts_with(prefix),
        (None, Some(suffix)) => text.ends_with(suffix),
        (None, None) => text == pattern,
    }
}
