//! The trust domain of the mesh and its aliases.

/// Trust domain that principals use as an alias of the mesh's own.
pub(crate) const MESH: &str = "cluster.local";

/// The mesh's trust domain and its aliases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrustDomains {
    own: String,
    aliases: Vec<String>,
}

impl TrustDomains {
    pub(crate) fn new(own: String, aliases: Vec<String>) -> Self {
        Self { own, aliases }
    }

    pub(crate) fn own(&self) -> &str {
        &self.own
    }

    /// Returns the trust domains that `domain` covers: all of the mesh's if it is one of them.
    pub(crate) fn same_as<'d>(&'d self, domain: &'d str) -> Vec<&'d str> {
        match self.all().any(|known| known == domain) {
            true => self.all().map(String::as_str).collect(),
            false => vec![domain],
        }
    }

    /// Returns the one name that a trust domain of the mesh goes by.
    pub(crate) fn canonical<'d>(&'d self, domain: &'d str) -> &'d str {
        if domain == MESH || self.all().any(|known| known == domain) { self.own() } else { domain }
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        [&self.own].into_iter().chain(&self.aliases)
    }

    /// The patterns that a principal `domain/path` stands for: wherever its first segment is the own trust domain, an
    /// alias or `cluster.local`, one for each trust domain of the mesh, whatever the path is.
    ///
    /// A first segment with stars that matches some of them is kept for those and written anew for the others; `*` is
    /// any trust domain already. Istio does so for principals of five parts alone (1.31,
    /// `pilot/pkg/security/trustdomain/bundle.go`), so that a DENY of `cluster.local/ns/shop/*` never matches in a mesh of
    /// another name.
    ///
    /// `matches` says whether the first segment, as a pattern with stars, matches a trust domain.
    pub(crate) fn expand(&self, domain: &str, path: &str, matches: &dyn Fn(&str) -> bool) -> Vec<String> {
        let anew = |domain: &str| format!("{domain}/{path}");
        if domain == "*" {
            return vec![anew(domain)];
        }
        if domain.contains('*') {
            let (own, others): (Vec<_>, Vec<_>) = self.all().partition(|known| matches(known));
            let others = others.into_iter().filter(|_| !own.is_empty());
            return [anew(domain)].into_iter().chain(others.map(|domain| anew(domain))).collect();
        }
        match domain == MESH || self.all().any(|known| known == domain) {
            true => self.all().map(|domain| anew(domain)).collect(),
            false => vec![anew(domain)],
        }
    }
}
