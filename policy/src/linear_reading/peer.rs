//! Patterns for the peer's SPIFFE ID.

use crate::authz::fields::namespace::NamespacePattern;
use crate::authz::fields::principal::PrincipalPattern;
use crate::authz::fields::service_account::ServiceAccount;
use crate::authz::fields::trust_domain::TrustDomainPattern;
use crate::identity::spiffe_id::SpiffeId;
use crate::linear_reading::matches::Matches;
use crate::matcher::string_pattern::StringPattern;

impl Matches<SpiffeId> for PrincipalPattern {
    fn matches(&self, id: &SpiffeId) -> bool {
        StringPattern::new(&self.to_string()).matches(id.principal().as_bytes())
    }
}

impl Matches<SpiffeId> for NamespacePattern {
    fn matches(&self, id: &SpiffeId) -> bool {
        StringPattern::new(&format!("*/ns/{self}/*")).matches(id.uri().as_bytes())
    }
}

/// Istio's expression, by trying every `/ns/<namespace>/`.
impl Matches<SpiffeId> for ServiceAccount {
    fn matches(&self, id: &SpiffeId) -> bool {
        let account = self.to_string();
        let Some((namespace, name)) = account.split_once('/') else { return false };
        let (marker, account) = (format!("/ns/{namespace}/"), format!("/sa/{name}"));
        let id = id.principal();
        (1..id.len()).filter_map(|at| id.get(at..)?.strip_prefix(&*marker)).any(|rest| {
            // The slash before `sa` is the last one of the marker, or of the text between.
            let rest = format!("/{rest}/");
            rest.match_indices(&format!("{account}/")).any(|(at, _)| at != 1)
        })
    }
}

impl Matches<SpiffeId> for TrustDomainPattern {
    fn matches(&self, id: &SpiffeId) -> bool {
        StringPattern::new(&self.to_string()).matches(id.trust_domain().as_bytes())
    }
}
