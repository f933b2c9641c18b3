//! What a mesh with several trust domains makes of a policy (`pilot/pkg/security/trustdomain/bundle.go`).

/// The trust domain that Istio takes for the mesh's own, whatever that is called.
const POINTER: &str = "cluster.local";

/// A mesh's trust domain and its aliases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mesh {
    /// The trust domain, then its aliases.
    pub trust_domains: Vec<String>,
}

impl Mesh {
    /// Principals of a trust domain of the mesh, written anew for each of them. A trust domain with a star before it is
    /// kept for those that it matches.
    pub(super) fn principals(&self, values: &[String]) -> Vec<String> {
        values.iter().flat_map(|value| self.principal(value)).collect()
    }

    fn principal(&self, value: &str) -> Vec<String> {
        let parts: Vec<_> = value.split('/').collect();
        let [domain, path @ ..] = parts.as_slice() else { return vec![value.to_owned()] };
        let is_of_the_mesh = *domain == POINTER
            || self.trust_domains.iter().any(|known| is_alike(known, domain) || is_alike(domain, known));
        if path.len() != 4 || *domain == "*" || !is_of_the_mesh {
            return vec![value.to_owned()];
        }
        let mut written: Vec<String> = Vec::new();
        for known in &self.trust_domains {
            let anew = match domain.strip_prefix('*') {
                Some(suffix) if known.ends_with(suffix) => value.to_owned(),
                _ => format!("{known}/{}", path.join("/")),
            };
            if !written.contains(&anew) {
                written.push(anew);
            }
        }
        written
    }

    /// Trust domains: one of the mesh stands for all of them.
    pub(super) fn trust_domains(&self, values: &[String]) -> Vec<String> {
        let mut written: Vec<String> = Vec::new();
        for value in values {
            let anew = if self.trust_domains.contains(value) {
                self.trust_domains.as_slice()
            } else {
                std::slice::from_ref(value)
            };
            written.extend(anew.iter().filter(|domain| !written.contains(domain)).cloned().collect::<Vec<_>>());
        }
        written
    }
}

fn is_alike(text: &str, pattern: &str) -> bool {
    match (pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
        (Some(prefix), _) => text.starts_with(prefix),
        (None, Some(suffix)) => text.ends_with(suffix),
        (None, None) => text == pattern,
    }
}
