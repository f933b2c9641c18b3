//! Policies of which it cannot be told, from the workload as it is given, whether they apply.

use crate::authz::engine::rule::{Action, DefaultAction};
use crate::authz::identity_authz::Configuration;
use crate::authz::resources::authorization_policy::AuthorizationPolicy;
use crate::authz::resources::workload::Workload;
use crate::config::diagnostics::{ConfigError, Diagnostics};
use crate::config::enforcement_mode::EnforcementMode;
use crate::config::error_code::ErrorCode;

impl Configuration {
    /// Reports the policies whose target cannot be compared with the workload as it is given, and returns warnings about
    /// those that are left out because of it.
    pub(super) fn check_targets(&self, enforced_allow: bool, diagnostics: &Diagnostics) -> Vec<String> {
        let mut warnings = Vec::new();
        let (policies, root_namespace) = (&self.loaded.policies, &self.root_namespace);
        let undecidable = self.workload.iter().flat_map(|workload| undecidable(policies, workload, root_namespace));
        let let_in_without = self.default_action != Some(DefaultAction::Deny) && !enforced_allow;
        for (policy, missing) in undecidable.filter(|(policy, _)| self.concerns(policy)) {
            let name = &policy.name;
            match policy.action {
                Action::Deny | Action::Custom => {
                    let action = if policy.action == Action::Deny { "DENY" } else { "CUSTOM" };
                    diagnostics.add(
                        ConfigError::new(
                            missing,
                            format!("missing: required to decide whether the {action} policy {name} applies"),
                        )
                        .with_code(ErrorCode::UndecidedTarget),
                    );
                }
                // If the policy applies, it denies every request that it does not allow.
                Action::Allow if let_in_without && policy.mode == EnforcementMode::Enforce => {
                    let otherwise = if self.default_action.is_some() {
                        "; without that policy defaultAction allows every request"
                    } else {
                        ""
                    };
                    diagnostics.add(
                        ConfigError::new(
                            missing,
                            format!("missing: required to decide whether the ALLOW policy {name} applies{otherwise}"),
                        )
                        .with_code(ErrorCode::UndecidedTarget),
                    );
                }
                Action::Allow | Action::Audit => {
                    warnings.push(format!("policy {name} ignored: {missing} is required to decide whether it applies"))
                }
            }
        }
        for policy in policies {
            let name = &policy.name;
            if name.namespace().is_some_and(|namespace| policy.target.is_ignored(namespace, root_namespace)) {
                diagnostics.add(ConfigError::new("resources", format!("{name} is for a GatewayClass, which Istio passes over outside the root namespace; write it in {root_namespace}")).with_code(ErrorCode::NoEffect));
            }
        }
        warnings
    }
}

/// Returns the policies whose selection of the workload is undecidable, with the `workload` key that is missing.
fn undecidable<'p>(
    policies: &'p [AuthorizationPolicy],
    workload: &'p Workload,
    root_namespace: &'p str,
) -> impl Iterator<Item = (&'p AuthorizationPolicy, &'static str)> {
    let in_reach = move |policy: &&AuthorizationPolicy| {
        policy.name.namespace().is_some_and(|namespace| {
            let in_reach = [root_namespace, workload.namespace.as_str()].contains(&namespace);
            in_reach && !policy.target.selects(namespace, root_namespace, workload)
        })
    };
    policies.iter().filter(in_reach).filter_map(|policy| Some((policy, policy.target.missing_attribute(workload)?)))
}
