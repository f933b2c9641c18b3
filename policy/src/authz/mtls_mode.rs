//! Connections that need a validated client certificate, by the PeerAuthentication resources of a workload.

use crate::attributes::request::Request;
use crate::authz::policy_name::PolicyName;
use crate::authz::resources::peer_authentication::{MtlsMode, PeerAuthentication};
use crate::authz::resources::workload::{Target, Workload};
use crate::collections::map::OrderedMap;
use crate::config::diagnostics::{ConfigError, Diagnostics};
use crate::config::error_code::ErrorCode;
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

/// The PeerAuthentication resources that apply to a workload.
#[derive(Default)]
pub(crate) struct Applicable<'p> {
    /// The one that counts in each scope.
    scopes: [Option<&'p PeerAuthentication>; 3],
    pub(crate) count: usize,
    /// Lines about those that do not count because an older one does.
    pub(crate) warnings: Vec<String>,
}

impl<'p> Applicable<'p> {
    /// Finds those that apply to `workload`.
    ///
    /// Follows Istio (1.31, `pilot/pkg/model/authentication.go`, `sortConfigByCreationTime`): of two with one scope the
    /// older one counts, of two of the same second the one whose name comes first. Where a time is missing both are
    /// rejected.
    pub(crate) fn new(
        all: &'p [PeerAuthentication],
        workload: Option<&Workload>,
        root_namespace: &str,
        diagnostics: &Diagnostics,
    ) -> Self {
        let mut applicable = Self::default();
        for one in all {
            let namespace = one.name.namespace().unwrap_or_default();
            let name = &one.name;
            let is_for_others =
                workload.is_some_and(|workload| one.target.is_for_others(namespace, root_namespace, workload));
            if is_for_others {
                continue;
            }
            let scope = match one.target {
                Target::All if namespace == root_namespace => 0,
                Target::All => 1,
                _ if namespace == root_namespace => {
                    diagnostics.add(ConfigError::new("resources", format!("{name} stands in the root namespace with a selector, where Istio passes it over; write it in the namespace of the workload")).with_code(ErrorCode::NoEffect));
                    continue;
                }
                _ => 2,
            };
            if workload.is_some_and(|workload| one.target.missing_attribute(workload).is_some()) {
                diagnostics.add(
                    ConfigError::new("workload.labels", format!("missing: required to decide whether {name} applies"))
                        .with_code(ErrorCode::UndecidedTarget),
                );
                continue;
            }
            applicable.add(one, scope, workload.is_none(), diagnostics);
        }
        if workload.is_none() {
            applicable.warn_of_exceptions();
        }
        applicable
    }

    /// Warns of a resource that takes back what one for a wider scope requires: without a workload it counts here too.
    fn warn_of_exceptions(&mut self) {
        let is_loose = |mode: Option<MtlsMode>| mode.is_some_and(|mode| mode != MtlsMode::Strict);
        let loosens =
            |one: &PeerAuthentication| is_loose(one.mode) || one.ports.iter().any(|(_, mode)| is_loose(*mode));
        let mut strict: Option<&PeerAuthentication> = None;
        for one in self.scopes.iter().flatten() {
            if let Some(wider) = strict.filter(|_| loosens(one)) {
                self.warnings.push(format!(
                    "{} takes back what {} requires, and no workload is set, so it counts here, whatever it selects; write workload: {{namespace, labels}}",
                    one.name, wider.name
                ));
            }
            if one.mode == Some(MtlsMode::Strict) {
                strict = Some(one);
            }
        }
    }

    /// Adds one to its scope, where the older one counts. `any_workload` says that it was not selected for one workload.
    fn add(&mut self, one: &'p PeerAuthentication, scope: usize, any_workload: bool, diagnostics: &Diagnostics) {
        self.count += 1;
        let Some(slot) = self.scopes.get_mut(scope) else { return };
        let Some(other) = *slot else {
            *slot = Some(one);
            return;
        };
        let (name, earlier) = (&one.name, &other.name);
        if any_workload && (name.namespace() != earlier.namespace() || one.target != other.target) {
            diagnostics.add(
                ConfigError::new(
                    "workload",
                    format!("missing: required to decide which of {earlier} and {name} applies"),
                )
                .with_code(ErrorCode::UndecidedTarget),
            );
            return;
        }
        let scope = SCOPES.get(scope).copied().unwrap_or_default();
        let age = |one: &'p PeerAuthentication| Some((one.created?, one.name.name()));
        let (Some(own), Some(of_other)) = (age(one), age(other)) else {
            diagnostics.add(ConfigError::new("resources", format!("{earlier} and {name} are both for {scope}; Istio picks the older one, and metadata.creationTimestamp does not say which; keep one")).with_code(ErrorCode::Conflict));
            return;
        };
        let newer = if own < of_other { slot.replace(one) } else { Some(one) };
        if let (Some(older), Some(newer)) = (slot, newer) {
            self.warnings.push(format!(
                "{} is passed over: {} is for {scope} too and older, so that one counts, as in Istio",
                newer.name, older.name
            ));
        }
    }
}

impl MutualTls {
    /// Merges the resources that apply to a workload.
    ///
    /// Follows Istio (1.31, `pilot/pkg/security/authn/policy_applier.go`): PERMISSIVE, over that the mesh's, over that
    /// the namespace's, over that the one that selects the workload, and over that its ports; UNSET changes nothing.
    pub(crate) fn new(applicable: &Applicable<'_>) -> Self {
        let scopes = || applicable.scopes.iter().flatten();
        let requirement = |mode: MtlsMode, name: &PolicyName| (mode == MtlsMode::Strict).then(|| name.clone());
        let mut composed = Self::default();
        for one in scopes() {
            if let Some(mode) = one.mode {
                composed.elsewhere = requirement(mode, &one.name);
            }
        }
        for one in scopes() {
            for (port, mode) in &one.ports {
                let required = match mode {
                    Some(mode) => requirement(*mode, &one.name),
                    None => composed.elsewhere.clone(),
                };
                composed.ports.insert(*port, required);
            }
        }
        composed
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
