//! The trust domain of the mesh and its aliases.

use crate::matcher::string_pattern::StringPattern;
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

    /// The trust domains that `domain` stands for: all of the mesh's, where it is one of them.
    pub(crate) fn same_as<'d>(&'d self, domain: &'d str) -> Vec<&'d str> {
        match self.all().any(|known| known == domain) {
            true => self.all().map(String::as_str).collect(),
            false => vec![domain],
        }
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        [&self.own].into_iter().chain(&self.aliases)
    }

    /// Istio writes a principal anew for each trust domain of the mesh where it has five parts and its trust domain
    /// is one of them or `cluster.local`; one with a star that matches some of them is kept for those and written anew
    /// for the others (Istio 1.31, `pilot/pkg/security/trustdomain/bundle.go`).
    pub(crate) fn expand(&self, domain: &str, path: &str, id: &str) -> Vec<String> {
        let five_parts = path.split('/').count() == 4;
        if !five_parts || domain == "*" {
            return vec![id.to_owned()];
        }
        let anew = |domain: &String| format!("{domain}/{path}");
        if domain.contains('*') {
            let pattern = StringPattern::new(domain);
            let others = self.all().filter(|known| !pattern.matches(known.as_bytes())).map(anew);
            let some_match = self.all().any(|known| pattern.matches(known.as_bytes()));
            return [id.to_owned()].into_iter().chain(others.filter(|_| some_match)).collect();
        }
        match domain == "cluster.local" || self.all().any(|known| known == domain) {
            true => self.all().map(anew).collect(),
            false => vec![id.to_owned()],
        }
    }
}
