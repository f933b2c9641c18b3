//! The policies of one workload, compiled.

pub(crate) mod connection_cache;
pub(crate) mod explain;
mod fast_path;

use std::borrow::Cow;
use std::rc::Rc;

use crate::attributes::request::Request;
use crate::authz::compiled::connection_cache::ConnectionCache;
use crate::authz::decision::Decision;
use crate::authz::denial::{Denial, Evaluation};
use crate::authz::engine::lookups::Lookups;
use crate::authz::engine::rule::DefaultAction;
use crate::authz::engine::rule_set::RuleSet;
use crate::authz::engine::rule_set_builder::RuleSetBuilder;
use crate::authz::mtls_mode::MutualTls;
use crate::authz::policy_name::{PolicyName, RuleName};
use crate::authz::resources::authorization_policy::AuthorizationPolicy;
use crate::collections::map::OrderedMap;
use crate::collections::sort::sorted_indices;
use crate::config::enforcement_mode::EnforcementMode;
use crate::identity::error::EvalError;
use crate::matcher::clause::{Clause, MatchedValues};

/// The policies of one workload, compiled for lookup.
///
/// The cost of a decision does not depend on how many policies, rules and values there are.
pub struct CompiledPolicy {
    pub(crate) rules: RuleSet,
    mutual_tls: MutualTls,
    names_repeat: bool,
}

/// Attributes that a policy needs, for a host that prefetches or caches them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestNeeds {
    /// True if all requests of a connection get the same decision and no audit mark: no rule depends on what can change
    /// from one request to the next.
    pub connection_scoped: bool,
    /// True if rules ask for more than one header, pseudo-headers among them.
    pub prefetch_headers: bool,
}

impl CompiledPolicy {
    /// Compiles policies. Each is dropped as soon as it is compiled: the memory of a VM never shrinks, so what it took
    /// serves the ones after it.
    pub(crate) fn new(
        policies: Vec<Cow<'_, AuthorizationPolicy>>,
        default_action: DefaultAction,
        mode: EnforcementMode,
    ) -> Self {
        let (rules, positions) = sorted_rules(&policies);
        let names_repeat = names_repeat(&policies);
        let mut positions = positions.into_iter();
        let mut builder = RuleSetBuilder::default();
        for policy in policies {
            builder.add_policy(policy.action, policy.mode);
            for (rule, position) in policy.rules.iter().zip(&mut positions) {
                builder.add_rule(position, policy.action, policy.mode, rule.iter().map(Vec::as_slice));
            }
        }
        let rules = builder.finish(rules, default_action, mode);
        Self { rules, mutual_tls: MutualTls::default(), names_repeat }
    }

    /// Adds what PeerAuthentication requires of connections.
    pub(crate) fn with_mutual_tls(mut self, mutual_tls: MutualTls) -> Self {
        self.mutual_tls = mutual_tls;
        self
    }

    /// Decides a request.
    ///
    /// 0. PeerAuthentication requires a validated certificate, and there is none: denied.
    /// 1. A DENY policy matches: denied.
    /// 2. There is no ALLOW policy: the default action.
    /// 3. An ALLOW policy matches: allowed.
    /// 4. Otherwise: denied.
    ///
    /// An error is a denial. Policies in dry run take part in a second decision, made by the same steps over
    /// all policies, whose denial is only reported; in report mode every denial is.
    pub fn decide(&self, request: &mut dyn Request) -> Decision<Denial<'_>> {
        self.evaluate(None, request).decision
    }

    /// Decides a request and finds its audit mark, with the lookups of its connection where they are cached. Each field is
    /// looked up once.
    pub fn evaluate(&self, cache: Option<&ConnectionCache>, request: &mut dyn Request) -> Evaluation<'_> {
        if self.rules.audit.is_empty()
            && let Some(cache) = cache
            && cache.fast_path(&self.rules).admits(request)
        {
            return Evaluation { decision: Decision::Allow, audit: None };
        }
        let mut lookups = self.rules.lookups(cache.map(|cache| &cache.fields), request);
        let decision = match self.mtls_denial(cache, lookups.request) {
            Ok(None) => self.rules.decide(&mut lookups),
            Ok(Some(denial)) => self.rules.deny_or_report(denial),
            Err(error) => self.rules.deny_or_report(error.into()),
        };
        Evaluation { decision, audit: self.matching_audit_rule(&mut lookups) }
    }

    /// The lookups of the connection of `request`, for [`evaluate`](Self::evaluate).
    ///
    /// None where they cannot be made, where PeerAuthentication rejects the connection, and where that depends on more
    /// than the handshake: each request is decided by itself then.
    pub fn precompute_connection(&self, request: &mut dyn Request) -> Option<ConnectionCache> {
        if self.mutual_tls.depends_on_port() || self.mutual_tls.rejects(request) != Ok(None) {
            return None;
        }
        let mut lookups = self.rules.lookups(None, request);
        for field in &self.rules.connection_fields {
            lookups.matched(*field).ok()?;
        }
        Some(ConnectionCache::new(lookups.into_connection_fields()))
    }

    /// The denial for want of a validated certificate. A connection that is cached has passed this.
    fn mtls_denial(
        &self,
        cache: Option<&ConnectionCache>,
        request: &mut dyn Request,
    ) -> Result<Option<Denial<'_>>, EvalError> {
        if cache.is_some() {
            return Ok(None);
        }
        Ok(self.mutual_tls.rejects(request)?.map(Denial::MtlsRequired))
    }

    /// Returns the first AUDIT rule that matches; `None` if an attribute is unavailable, because an audit never denies.
    fn matching_audit_rule(&self, lookups: &mut Lookups<'_>) -> Option<&RuleName> {
        self.rules.first(&self.rules.audit, lookups).ok().flatten()
    }

    /// The first ALLOW rule that matches, for tools that show why: a filter needs to know only that there is one.
    pub fn matching_allow_rule(&self, request: &mut dyn Request) -> Result<Option<&RuleName>, EvalError> {
        self.rules.first(&self.rules.allow.enforced, &mut self.rules.lookups(None, request))
    }

    /// Describes a denial in one line: the request, and what would have been allowed.
    ///
    /// Made after a denial only; it may ask the proxy for more than the decision did.
    pub fn explain(&self, denial: &Denial<'_>, request: &mut dyn Request) -> String {
        explain::explain(&self.rules, self.names_repeat, denial, request)
    }

    /// The attributes that a proxy can prepare for.
    pub fn needs(&self) -> RequestNeeds {
        let fields = || self.rules.clauses().flat_map(Clause::conditions).map(|condition| condition.field);
        let properties = |field| self.rules.fields.properties(field);
        let is_fixed = |field| properties(field).is_some_and(|properties| properties.connection_scoped);
        let connection_scoped =
            self.rules.audit.is_empty() && !self.mutual_tls.depends_on_port() && fields().all(is_fixed);
        let is_header = |field: &_| properties(*field).is_some_and(|properties| properties.request_header);
        let mut headers = fields().filter(is_header);
        let prefetch_headers = headers.next().is_some_and(|first| headers.any(|other| other != first));
        RequestNeeds { connection_scoped, prefetch_headers }
    }

    /// The policies that can deny a request by matching, each once: those with counters of their own.
    pub fn denying_policies(&self) -> impl Iterator<Item = &PolicyName> {
        self.rules.denying_policies().into_iter().chain(self.mutual_tls.names())
    }

    /// The policies that can mark a request, each once: those with counters of their own.
    pub fn auditing_policies(&self) -> impl Iterator<Item = &PolicyName> {
        self.rules.auditing_policies().into_iter()
    }
}

/// Reports whether several policies have one name, each in a namespace of its own.
fn names_repeat(policies: &[Cow<'_, AuthorizationPolicy>]) -> bool {
    let mut seen: OrderedMap<&str, ()> = OrderedMap::default();
    policies.iter().any(|policy| seen.insert(policy.name.name(), ()).is_some())
}

/// Returns the rules sorted by text, and for each rule in policy order its position among them.
///
/// The text of a rule begins with its policy in brackets, which no other policy's begins with: so policies are put in
/// order first, then the rules of each by the rest of their texts.
fn sorted_rules(policies: &[Cow<'_, AuthorizationPolicy>]) -> (Vec<RuleName>, Vec<u32>) {
    let sorted = |texts: Vec<String>| sorted_indices(texts.len(), &|one, other| texts.get(one).cmp(&texts.get(other)));
    let mut rules = Vec::new();
    let mut positions = vec![Vec::new(); policies.len()];
    for at in sorted(policies.iter().map(|policy| policy.name.bracketed()).collect()) {
        let (Some(policy), Some(positions)) = (policies.get(at), positions.get_mut(at)) else { continue };
        let name = Rc::new(policy.name.clone());
        let rule = |number| RuleName::new(Rc::clone(&name), policy.rule_label(number));
        positions.resize(policy.rules.len(), 0);
        for number in sorted((0..policy.rules.len()).map(|number| rule(number).text_in_policy()).collect()) {
            if let Some(position) = positions.get_mut(number) {
                *position = u32::try_from(rules.len()).unwrap_or(u32::MAX);
            }
            rules.push(rule(number));
        }
    }
    rules.shrink_to_fit();
    (rules, positions.concat())
}

#[cfg(test)]
mod tests;
