//! The policies of one workload, compiled.

pub(crate) mod connection_cache;
pub(crate) mod explain;
mod fast_path;
pub(crate) mod rules;

use std::borrow::Cow;
use std::rc::Rc;

use crate::attributes::request::Request;
use crate::authz::compiled::connection_cache::ConnectionCache;
use crate::authz::compiled::rules::compile_rules;
use crate::authz::custom::CustomPolicies;
use crate::authz::decision::Decision;
use crate::authz::denial::{Denial, Evaluation};
use crate::authz::engine::lookups::Lookups;
use crate::authz::engine::rule::DefaultAction;
use crate::authz::engine::rule_set::RuleSet;
use crate::authz::mtls_mode::MutualTls;
use crate::authz::policy_name::{PolicyName, RuleName};
use crate::authz::resources::authorization_policy::AuthorizationPolicy;
use crate::authz::resources::tcp::{ALLOWS_NO_CONNECTION, warning_start};
use crate::collections::map::OrderedMap;
use crate::config::diagnostics::ConfigErrors;
use crate::config::enforcement_mode::EnforcementMode;
use crate::identity::error::EvalError;
use crate::matcher::clause::{Clause, MatchedValues};

/// The policies of one workload, compiled for lookup.
///
/// The cost of a decision does not depend on how many policies, rules and values there are.
pub struct CompiledPolicy {
    pub(crate) rules: RuleSet,
    mutual_tls: MutualTls,
    /// The CUSTOM policies, whose marks are checked before the rules.
    custom: Option<Rc<CustomPolicies>>,
    /// True if the fast path decides what it admits: there is no audit mark to find, no mark of CUSTOM to check and no
    /// ALLOW rule to name.
    takes_fast_path: bool,
    /// True if an evaluation names the ALLOW rule that matches.
    names_allowed: bool,
    names_repeat: bool,
    /// Lines about the rules that mean another thing for connections, of a policy for these.
    connection_warnings: Vec<String>,
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
        let names_repeat = names_repeat(&policies);
        let rules = compile_rules(policies, default_action, mode);
        let takes_fast_path = rules.audit.is_empty();
        Self {
            rules,
            mutual_tls: MutualTls::default(),
            custom: None,
            takes_fast_path,
            names_allowed: false,
            names_repeat,
            connection_warnings: Vec::new(),
        }
    }

    /// Adds the lines about rules that mean another thing for connections, which reasons name.
    pub(crate) fn with_connection_warnings(mut self, warnings: Vec<String>) -> Self {
        self.connection_warnings = warnings;
        self
    }

    /// Lines about rules that mean another thing for connections.
    pub(crate) fn connection_warnings(&self) -> &[String] {
        &self.connection_warnings
    }

    /// Adds what PeerAuthentication requires of connections.
    pub(crate) fn with_mutual_tls(mut self, mutual_tls: MutualTls) -> Self {
        self.mutual_tls = mutual_tls;
        self
    }

    /// Adds the CUSTOM policies: no request goes on without a mark that its authorizers were asked.
    pub(crate) fn with_custom(mut self, custom: Rc<CustomPolicies>) -> Self {
        self.custom = Some(custom);
        self.takes_fast_path = false;
        self
    }

    /// Makes evaluations name the ALLOW rule that matches, which takes the fast path from every request.
    pub(crate) fn naming_allowed(mut self) -> Self {
        self.names_allowed = true;
        self.takes_fast_path = false;
        self
    }

    /// Fails where a request would cost too much by what policies compare.
    pub(crate) fn check_excess(&self) -> Result<(), ConfigErrors> {
        self.rules.check_excess("resources")?;
        self.custom.as_ref().map_or(Ok(()), |custom| custom.check_excess())
    }

    /// Decides a request.
    ///
    /// 1. PeerAuthentication requires a validated certificate, and there is none: denied.
    /// 2. A CUSTOM policy applies here, and there is no mark, or none for its authorizer: denied.
    /// 3. A DENY policy matches: denied.
    /// 4. There is no ALLOW policy: the default action.
    /// 5. An ALLOW policy matches: allowed.
    /// 6. Otherwise: denied.
    ///
    /// An error is a denial. Policies in dry run take part in a second decision, made by the same steps over
    /// all policies, whose denial is only reported; in report mode every denial is.
    pub fn decide(&self, request: &mut dyn Request) -> Decision<Denial<'_>> {
        self.evaluate(None, request).decision
    }

    /// Decides a request and finds its audit mark, with the lookups of its connection where they are cached. Each field is
    /// looked up once.
    pub fn evaluate(&self, cache: Option<&ConnectionCache>, request: &mut dyn Request) -> Evaluation<'_> {
        if self.takes_fast_path
            && let Some(cache) = cache
            && cache.fast_path(&self.rules).admits(request)
        {
            return Evaluation { decision: Decision::Allow, audit: None, allowed_by: None };
        }
        let mut lookups = self.rules.lookups(cache.map(|cache| &cache.fields), request);
        let decision = match self.denial_before_rules(cache, lookups.request) {
            Ok(()) => self.rules.decide(&mut lookups),
            Err(denial) => self.rules.deny_or_report(denial),
        };
        let audit = self.matching_audit_rule(&mut lookups);
        let allowed_by = match decision {
            Decision::Allow if self.names_allowed => {
                self.rules.first(&self.rules.allow.enforced, &mut lookups).ok().flatten()
            }
            Decision::Allow => None,
            _ => {
                lookups.keep();
                None
            }
        };
        Evaluation { decision, audit, allowed_by }
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

    /// The denial for want of a validated certificate, which a cached connection has, or of a mark of CUSTOM.
    fn denial_before_rules(
        &self,
        cache: Option<&ConnectionCache>,
        request: &mut dyn Request,
    ) -> Result<(), Denial<'_>> {
        if cache.is_none()
            && let Some(name) = self.mutual_tls.rejects(request).map_err(EvalError::from)?
        {
            return Err(Denial::MtlsRequired(name));
        }
        self.custom.as_ref().map_or(Ok(()), |custom| custom.check_mark(request))
    }

    /// Returns the first AUDIT rule that matches; `None` if an attribute is unavailable, because an audit never denies.
    fn matching_audit_rule(&self, lookups: &mut Lookups<'_>) -> Option<&RuleName> {
        self.rules.first(&self.rules.audit, lookups).ok().flatten()
    }

    /// The first ALLOW rule that matches, for tools that show why.
    pub fn matching_allow_rule(&self, request: &mut dyn Request) -> Result<Option<&RuleName>, EvalError> {
        self.rules.first(&self.rules.allow.enforced, &mut self.rules.lookups(None, request))
    }

    /// The ALLOW rule that comes closest to letting the request in, for tools that show what it lacks; `None` if no ALLOW
    /// policy has a rule.
    pub fn nearest_allow(&self, request: &mut dyn Request) -> Result<Option<explain::NearestRule<'_>>, EvalError> {
        explain::nearest_allow(&self.rules, request)
    }

    /// Describes a denial in one line: the request, and what would have been allowed.
    ///
    /// Made after a denial only; it may ask the proxy for more than the decision did.
    pub fn explain(&self, denial: &Denial<'_>, request: &mut dyn Request) -> String {
        let mut reason = explain::explain(&self.rules, self.names_repeat, denial, request);
        if let Some(line) = self.connection_warning(denial) {
            reason.push_str("; ");
            reason.push_str(line);
        }
        reason
    }

    /// Finds the line about the rule that a connection is denied by, or about the first that allows no connection.
    fn connection_warning(&self, denial: &Denial<'_>) -> Option<&String> {
        // Only policies for connections have lines.
        let rule = match (self.connection_warnings.is_empty(), denial) {
            (false, Denial::Matched(rule)) => Some(warning_start(rule.policy(), &rule.label())),
            (false, Denial::NoAllowMatches) => None,
            _ => return None,
        };
        self.connection_warnings.iter().find(|line| match &rule {
            Some(start) => line.starts_with(start.as_str()),
            None => line.ends_with(ALLOWS_NO_CONNECTION),
        })
    }

    /// The attributes that a proxy can prepare for.
    pub fn needs(&self) -> RequestNeeds {
        let fields = || self.rules.clauses().flat_map(Clause::conditions).map(|condition| condition.field);
        let properties = |field| self.rules.fields.properties(field);
        let is_fixed = |field| properties(field).is_some_and(|properties| properties.connection_scoped);
        let connection_scoped = self.takes_fast_path && !self.mutual_tls.depends_on_port() && fields().all(is_fixed);
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

#[cfg(test)]
mod tests;
