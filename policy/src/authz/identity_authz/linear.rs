//! `identity-authz` by the linear reading.

use std::borrow::Cow;

use crate::attributes::request::Request;
use crate::authz::engine::rule::{Action, DefaultAction};
use crate::authz::identity_authz::{Configuration, read};
use crate::authz::mtls_mode::{Applicable, MutualTls};
use crate::authz::resources::authorization_policy::AuthorizationPolicy;
use crate::config::diagnostics::Diagnostics;
use crate::config::enforcement_mode::EnforcementMode;
use crate::config::reader::ConfigNode;
use crate::config::value::Value;
use crate::linear_reading::answer::{LinearAnswer, LinearOutcome};
use crate::linear_reading::walk::Walk;

/// Configuration of `identity-authz` whose rules are walked one by one: the definition that [`CompiledPolicy`] is
/// compared with.
///
/// [`CompiledPolicy`]: crate::CompiledPolicy
pub struct LinearIdentityAuthz {
    policies: Vec<AuthorizationPolicy>,
    mutual_tls: MutualTls,
    default_action: DefaultAction,
    mode: EnforcementMode,
}

impl LinearIdentityAuthz {
    /// Reads a configuration. Returns `None` for one that is refused, and for what the linear reading does not know:
    /// `pathReadings`, `identity.jwt` and policies with the action CUSTOM.
    pub fn parse(json: &[u8]) -> Option<Self> {
        let (document, resources) = Value::parse_streaming(json, "resources").ok()?;
        if has(&document, &["pathReadings"]) || has(&document, &["identity", "jwt"]) {
            return None;
        }
        let diagnostics = Diagnostics::default();
        let read = read(&ConfigNode::root(&document, &diagnostics), &resources);
        let configuration = diagnostics.into_result(read).ok()?;
        let applicable = Diagnostics::default();
        let mutual_tls = MutualTls::new(&Applicable::new(
            &configuration.loaded.peer_authentications,
            configuration.workload.as_ref(),
            &configuration.root_namespace,
            &applicable,
        ));
        let (default_action, mode) = (configuration.default_action.unwrap_or(DefaultAction::Deny), configuration.mode);
        let policies = needed(configuration)?;
        Some(Self { policies, mutual_tls, default_action, mode })
    }

    /// Decides a request.
    pub fn decide(&self, request: &mut dyn Request) -> LinearAnswer {
        self.decide_by(self.policies.iter(), request)
    }

    /// Decides a TCP connection.
    pub fn decide_connection(&self, connection: &mut dyn Request) -> LinearAnswer {
        let narrow = |policy| match AuthorizationPolicy::for_connections(policy) {
            Some((narrowed, _)) => Cow::Owned(narrowed),
            None => Cow::Borrowed(policy),
        };
        let policies: Vec<_> = self.policies.iter().map(narrow).collect();
        self.decide_by(policies.iter().map(AsRef::as_ref), connection)
    }

    fn decide_by<'p>(
        &self,
        policies: impl Iterator<Item = &'p AuthorizationPolicy>,
        request: &mut dyn Request,
    ) -> LinearAnswer {
        let rejected = self.mutual_tls.rejects(request).map(|policy| policy.is_some());
        let answer = Walk::of_policies(policies, self.default_action, self.mode, request).answer();
        match rejected {
            Ok(false) => answer,
            rejected => LinearAnswer {
                outcome: match self.mode {
                    EnforcementMode::Enforce => LinearOutcome::Deny(None),
                    EnforcementMode::Report => LinearOutcome::WouldDeny(None),
                },
                is_certain: answer.is_certain && rejected.is_ok(),
                audit: answer.audit,
            },
        }
    }
}

/// Returns the policies that apply; `None` if one asks an authorizer.
fn needed(configuration: Configuration) -> Option<Vec<AuthorizationPolicy>> {
    let is_needed: Vec<bool> = configuration.loaded.policies.iter().map(|policy| configuration.needs(policy)).collect();
    let policies = configuration.loaded.policies.into_iter().zip(is_needed);
    let needed: Vec<_> = policies.filter(|(_, is_needed)| *is_needed).map(|(policy, _)| policy).collect();
    needed.iter().all(|policy| policy.action != Action::Custom).then_some(needed)
}

/// Reports whether a document has a value other than null at a path of keys.
fn has(document: &Value, path: &[&str]) -> bool {
    let Some((key, rest)) = path.split_first() else { return *document != Value::Null };
    matches!(document, Value::Object(entries) if entries.iter().any(|(name, value)| name == key && has(value, rest)))
}
