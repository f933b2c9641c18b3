//! Connections that need a validated client certificate, by the PeerAuthentication resources of a workload.

use crate::attributes::request::Request;
use crate::authz::policy_name::PolicyName;
use crate::authz::resources::peer_authentication::{MtlsMode, PeerAuthentication};
use crate::authz::resources::workload::{Target, Workload};
use crate::collections::map::OrderedMap;
use crate::config::diagnostics::{ConfigError, Diagnostics};
use crate::identity::error::AttributeError;

/// Effective mTLS modes of a workload.
#[derive(Clone, Default)]
pub(crate) struct MutualTls {
    elsewhere: Requirement,
    ports: OrderedMap<u16, Requirement>,
}

/// The PeerAuthentication that requires a validated certificate, if one does.
type Requirement = Option<PolicyName>;

/// Scopes of a PeerAuthentication, widest first; the narrowest one that sets a mode decides.
const SCOPES: [&str; 3] = ["the whole mesh", "its whole namespace", "this workload"];

impl MutualTls {
    /// Merges the resources that apply to `workload`, and returns their number.
    ///
    /// Follows Istio (1.31, `pilot/pkg/security/authn/policy_applier.go`): PERMISSIVE, over that the mesh's, over that
    /// the namespace's, over that the one that selects the workload, and over that its ports; UNSET changes nothing.
    /// Two resources with the same scope are rejected: Istio picks the older one, and a configuration has no creation time.
    pub(crate) fn new(
        all: &[PeerAuthentication],
        workload: Option<&Workload>,
        root_namespace: &str,
        diagnostics: &Diagnostics,
    ) -> (Self, usize) {
        let mut scopes: [Option<&PeerAuthentication>; 3] = [None; 3];
        let mut here = 0;
        for one in all {
            let namespace = one.name.namespace().unwrap_or_default();
            let name = &one.name;
            let scope = match one.target {
                Target::All if namespace == root_namespace => 0,
                Target::All => 1,
                _ if namespace == root_namespace => {
                    diagnostics.add(ConfigError::new("resources", format!("{name} stands in the root namespace with a selector, where Istio passes it over; write it in the namespace of the workload")));
                    continue;
                }
                _ => 2,
            };
            if let Some(workload) = workload {
                if scope == 2 && namespace == workload.namespace && one.target.missing_attribute(workload).is_some() {
                    diagnostics.add(ConfigError::new(
                        "workload.labels",
                        format!("missing: required to decide whether {name} applies"),
                    ));
                    continue;
                }
                if !one.target.selects(namespace, root_namespace, workload) {
                    continue;
                }
            }
            here += 1;
            let [mesh, of_namespace, of_workload] = &mut scopes;
            let slot = [mesh, of_namespace, of_workload].into_iter().nth(scope);
            if let Some(earlier) = slot.and_then(|slot| slot.replace(one)) {
                let scope = SCOPES.get(scope).copied().unwrap_or_default();
                diagnostics.add(ConfigError::new("resources", format!("{} and {name} are both for {scope}; Istio picks the older one, and a static configuration carries no creation time; keep one", earlier.name)));
            }
        }
        let requirement = |mode: MtlsMode, name: &PolicyName| (mode == MtlsMode::Strict).then(|| name.clone());
        let mut composed = Self::default();
        for one in scopes.into_iter().flatten() {
            if let Some(mode) = one.mode {
                composed.elsewhere = requirement(mode, &one.name);
            }
        }
        for one in scopes.into_iter().flatten() {
            for (port, mode) in &one.ports {
                let required = match mode {
                    Some(mode) => requirement(*mode, &one.name),
                    None => composed.elsewhere.clone(),
                };
                composed.ports.insert(*port, required);
            }
        }
        (composed, here)
    }

    /// Reports whether some port has a requirement of its own.
    pub(crate) fn depends_on_port(&self) -> bool {
        !self.ports.is_empty()
    }

    /// The PeerAuthentication that turns a connection away: it requires a validated certificate, and there is none.
    pub(crate) fn rejects<R: Request + ?Sized>(&self, request: &mut R) -> Result<Option<&PolicyName>, AttributeError> {
        let requirement = match self.ports.is_empty() {
            true => &self.elsewhere,
            false => {
                let port = request.destination_port()?;
                port.and_then(|port| self.ports.get(&port)).unwrap_or(&self.elsewhere)
            }
        };
        let Some(name) = requirement else { return Ok(None) };
        Ok((!request.peer()?.is_validated()).then_some(name))
    }

    /// Returns the names of the resources that can deny a connection.
    pub(crate) fn names(&self) -> impl Iterator<Item = &PolicyName> {
        [&self.elsewhere].into_iter().chain(self.ports.values()).flatten()
    }
}

#[cfg(test)]
mod tests;
