//! Action CUSTOM: which authorizers a request needs, and the mark by which two instances of the filter agree on it.
//!
//! The instance with `stage: custom` stands before Envoy's `ext_authz` filters and sets the mark, filter state by which
//! each of them is skipped or not. The instance with `stage: decide` stands behind them and checks it.

use std::borrow::Cow;

use crate::attributes::request::Request;
use crate::authz::compiled::rules::compile_rules;
use crate::authz::denial::{CustomDenial, Denial};
use crate::authz::engine::rule::DefaultAction;
use crate::authz::engine::rule_set::RuleSet;
use crate::authz::policy_name::{PolicyName, RuleName};
use crate::authz::resources::authorization_policy::AuthorizationPolicy;
use crate::config::diagnostics::ConfigErrors;
use crate::config::enforcement_mode::EnforcementMode;
use crate::identity::error::EvalError;

/// Key of the mark, which Envoy keeps in filter state under `wasm.` and this.
pub const MARK_KEY: &str = "sallyport.identity_authz.custom";

/// The mark of a request that certainly matches no CUSTOM policy.
pub const NO_PROVIDER: &str = "none";

/// Separator of the providers in a mark: a request needs each authorizer whose policies it matches.
pub(crate) const SEPARATOR: u8 = b',';

/// The CUSTOM policies that apply to this workload, by provider.
pub struct CustomPolicies {
    /// `customProviders`, in alphabetical order.
    providers: Vec<String>,
    /// In the order of `providers`.
    authorizers: Vec<Authorizer>,
}

/// One provider's CUSTOM policies, compiled as DENY policies are: whoever they match stays out until the authorizer is
/// asked.
struct Authorizer {
    /// Index in `providers`.
    provider: usize,
    rules: RuleSet,
}

/// The authorizers that a request needs.
#[derive(Debug, PartialEq, Eq)]
pub struct RequiredAuthorizers<'p> {
    /// Their providers, in alphabetical order.
    pub providers: Vec<&'p str>,
    /// Error by which one of them is asked although its policies may not match.
    pub error: Option<EvalError>,
}

impl RequiredAuthorizers<'_> {
    /// The mark: the providers with commas between, or `none`.
    pub fn mark(&self) -> String {
        let mut mark = String::new();
        for provider in &self.providers {
            if !mark.is_empty() {
                mark.push(char::from(SEPARATOR));
            }
            mark.push_str(provider);
        }
        if mark.is_empty() { NO_PROVIDER.to_owned() } else { mark }
    }
}

impl CustomPolicies {
    /// Compiles CUSTOM policies. `providers` are sorted, and every policy names one of them.
    pub(crate) fn new(policies: Vec<AuthorizationPolicy>, providers: Vec<String>) -> Self {
        let mut by_provider: Vec<Vec<Cow<'_, AuthorizationPolicy>>> = providers.iter().map(|_| Vec::new()).collect();
        for policy in policies {
            let position = policy.provider.as_ref().and_then(|provider| providers.binary_search(&provider.name).ok());
            if let Some(group) = position.and_then(|position| by_provider.get_mut(position)) {
                group.push(Cow::Owned(policy));
            }
        }
        let groups = by_provider.into_iter().enumerate().filter(|(_, policies)| !policies.is_empty());
        let authorizers = groups.map(|(provider, policies)| Authorizer {
            provider,
            rules: compile_rules(policies, DefaultAction::Allow, EnforcementMode::Enforce),
        });
        Self { authorizers: authorizers.collect(), providers }
    }

    /// Fails where a request would cost too much by what the policies compare.
    pub(crate) fn check_excess(&self) -> Result<(), ConfigErrors> {
        self.authorizers.iter().try_for_each(|authorizer| authorizer.rules.check_excess("resources"))
    }

    /// Reports whether no CUSTOM policy applies to this workload.
    pub(crate) fn is_empty(&self) -> bool {
        self.authorizers.is_empty()
    }

    /// The providers that requests can be marked for.
    pub fn providers(&self) -> impl Iterator<Item = &str> {
        self.authorizers.iter().map(|authorizer| self.name(authorizer))
    }

    /// The authorizers that a request needs: those of whose policies it is not certain that none matches.
    pub fn required(&self, request: &mut dyn Request) -> RequiredAuthorizers<'_> {
        let mut required = RequiredAuthorizers { providers: Vec::new(), error: None };
        for authorizer in &self.authorizers {
            match authorizer.matching_rule(request) {
                Ok(None) => continue,
                Ok(Some(_)) => {}
                Err(error) => required.error = Some(error),
            }
            required.providers.push(self.name(authorizer));
        }
        required
    }

    /// Checks the mark of a request that `ext_authz` has let pass. Fails where it is missing or invalid, and where it
    /// lacks the provider of a policy that matches: then the instance that set it knows other policies, or the request
    /// has changed since.
    pub(crate) fn check_mark(&self, request: &mut dyn Request) -> Result<(), Denial<'_>> {
        if request.is_connection() {
            return Err(Denial::Custom(CustomDenial::Connection(self.first_policy())));
        }
        let mark = request.custom_mark().map_err(EvalError::from)?;
        let mark = mark.ok_or(Denial::Custom(CustomDenial::NoMark(self.first_policy())))?;
        let marked = self.marked(&mark).ok_or(Denial::Custom(CustomDenial::InvalidMark(mark)))?;
        for authorizer in self.authorizers.iter().filter(|authorizer| !marked.contains(&authorizer.provider)) {
            if let Some(rule) = authorizer.matching_rule(request)? {
                let provider = self.name(authorizer);
                return Err(Denial::Custom(CustomDenial::NotAsked { rule, provider }));
            }
        }
        Ok(())
    }

    /// The providers in a mark, `None` if it is empty or names another.
    fn marked(&self, mark: &[u8]) -> Option<Vec<usize>> {
        if mark == NO_PROVIDER.as_bytes() {
            return Some(Vec::new());
        }
        let position = |name: &[u8]| self.providers.iter().position(|provider| provider.as_bytes() == name);
        mark.split(|byte| *byte == SEPARATOR).map(position).collect()
    }

    fn name(&self, authorizer: &Authorizer) -> &str {
        self.providers.get(authorizer.provider).map_or("", String::as_str)
    }

    fn first_policy(&self) -> Option<&PolicyName> {
        self.authorizers.first()?.rules.rules.first().map(RuleName::policy)
    }
}

impl Authorizer {
    /// The first rule that matches a request.
    fn matching_rule(&self, request: &mut dyn Request) -> Result<Option<&RuleName>, EvalError> {
        self.rules.first(&self.rules.deny.enforced, &mut self.rules.lookups(None, request))
    }
}

#[cfg(test)]
mod tests;
