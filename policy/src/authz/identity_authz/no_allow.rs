//! The refusal of a configuration without an enforced ALLOW policy and without `defaultAction`.

use crate::authz::engine::rule::Action;
use crate::authz::identity_authz::Configuration;
use crate::authz::resources::authorization_policy::AuthorizationPolicy;
use crate::config::diagnostics::ConfigError;
use crate::config::enforcement_mode::EnforcementMode;
use crate::config::error_code::ErrorCode;

/// The most policies that the refusal names.
const MAX_NAMED: usize = 3;

impl Configuration {
    /// Says that nothing decides about a request that no policy matches, and which policies would, if they applied here.
    pub(super) fn no_allow_policy(&self, applicable: &[&AuthorizationPolicy]) -> ConfigError {
        let mut parts = self.absent_policies(applicable);
        let unnamed = parts.len().saturating_sub(MAX_NAMED);
        parts.truncate(MAX_NAMED);
        if unnamed > 0 {
            parts.push(format!("{unnamed} more"));
        }
        let why = match (self.loaded.policies.is_empty(), applicable.is_empty()) {
            (true, _) => "there are no policies",
            (false, true) => "none of the policies is meant for this workload",
            (false, false) => "none of the policies for this workload is an enforced ALLOW",
        };
        let (why, first) = match parts.is_empty() {
            true => (why.to_owned(), ""),
            false => (format!("{why} ({})", parts.join(", and ")), "correct what differs if that is not meant, or "),
        };
        ConfigError::new(
            "defaultAction",
            format!("missing, and {why}; {first}say what happens to a request then, DENY or ALLOW (Istio would let it through)"),
        )
        .with_code(ErrorCode::MissingDefaultAction)
    }

    /// Returns the ALLOW policies that do not decide here, each with the reason; if there is none, the other policies that
    /// do not apply.
    fn absent_policies(&self, applicable: &[&AuthorizationPolicy]) -> Vec<String> {
        let Some(workload) = &self.workload else {
            return self.reported(applicable);
        };
        let reason = |policy: &&AuthorizationPolicy| {
            let namespace = policy.name.namespace().unwrap_or_default();
            if !policy.target.is_for_others(namespace, &self.root_namespace, workload) {
                return None;
            }
            let is_in_reach = [self.root_namespace.as_str(), &workload.namespace].contains(&namespace);
            let difference = match is_in_reach {
                true => policy.target.mismatch(workload)?,
                false => {
                    format!("it is of the namespace `{namespace}`, this workload is in `{}`", workload.namespace)
                }
            };
            Some(format!("{}: {difference}", policy.name))
        };
        let of = |is_allow: bool| {
            let policies = self.loaded.policies.iter().filter(move |one| (one.action == Action::Allow) == is_allow);
            policies.collect::<Vec<_>>().iter().filter_map(reason).collect::<Vec<_>>()
        };
        let allow: Vec<String> = self.reported(applicable).into_iter().chain(of(true)).collect();
        match allow.is_empty() && applicable.is_empty() {
            true => of(false),
            false => allow,
        }
    }

    /// Returns the ALLOW policies that apply here and are only reported.
    fn reported(&self, applicable: &[&AuthorizationPolicy]) -> Vec<String> {
        let is_reported =
            |policy: &&&AuthorizationPolicy| policy.action == Action::Allow && policy.mode == EnforcementMode::Report;
        let reported = applicable.iter().filter(is_reported);
        reported.map(|policy| format!("{}: it is only reported, by istio.io/dry-run", policy.name)).collect()
    }
}
