//! `explain`: what happens to one request, by which rule, and what would let it in.

mod answer;
mod trust_domains;

pub use answer::Answer;

use sallyport_policy::{BaselineDeny, Decision, Denial, IdentityAuthz, NearestRule, PolicyName, RuleName, printable};

use crate::check::config_findings;
use crate::filters::{FilterInput, Loaded, is_configured};
use crate::finding::{Finding, settle};
use crate::project::{Contents, Project};
use crate::resource::Resource;
use crate::settings::Filter;
use crate::simulated_request::{Received, SimulatedRequest};
use crate::source::Span;
use crate::tree::Node;

/// Answer to a request, and why.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Answer.
    pub answer: Answer,
    /// Policy that decides, as `NAMESPACE/NAME`; `None` if no rule matches.
    pub policy: Option<String>,
    /// Index of the rule in `spec.rules`.
    pub rule: Option<usize>,
    /// The rule, or the policy if it has none, in the files.
    pub span: Option<Span>,
    /// Reason in one line: for a denial the line that the filter logs.
    pub reason: String,
    /// Readings of the path, and of a host that has several.
    pub readings: Vec<String>,
    /// ALLOW rule that comes closest to letting the request in, if none does.
    pub nearest: Option<Nearest>,
}

/// ALLOW rule that comes closest to letting a request in.
#[derive(Clone, Debug)]
pub struct Nearest {
    /// Policy.
    pub policy: String,
    /// Index of the rule in `spec.rules`.
    pub rule: Option<usize>,
    /// Requirements that the request does not meet.
    pub missing: Vec<String>,
    /// The rule in the files.
    pub span: Option<Span>,
}

/// Filters of a project, ready to decide.
pub struct Deciders<'p> {
    resources: Vec<Resource<'p>>,
    default_namespace: Option<String>,
    /// Mark by which all authorizers of CUSTOM policies were asked.
    mark: Option<Vec<u8>>,
    /// Asked first.
    baseline: Option<Box<BaselineDeny>>,
    last: Last<'p>,
}

/// Filter that decides what `baseline-deny` lets through.
enum Last<'p> {
    Identity(Box<IdentityAuthz>),
    /// With the rules of the configuration file.
    #[cfg(feature = "whole")]
    Egress(Box<sallyport_policy::EgressAllowlist>, &'p [Node]),
    /// There is none: the configuration file has `baseline-deny` alone.
    None,
    #[cfg(not(feature = "whole"))]
    #[expect(dead_code, reason = "uses the lifetime of the variant that is left out")]
    Never(std::convert::Infallible, &'p [Node]),
}

impl<'p> Last<'p> {
    /// Returns the rules of the configuration file, if `egress-allowlist` decides.
    fn egress_rules(&self) -> Option<&'p [Node]> {
        match self {
            #[cfg(feature = "whole")]
            Self::Egress(_, rules) => Some(rules),
            _ => None,
        }
    }
}

impl<'p> Deciders<'p> {
    /// Has the filters read the project that requests to a workload meet: `identity-authz`, after `baseline-deny` where the
    /// configuration file has it. Where there is nothing for these, `egress-allowlist` is asked about what there is for it.
    ///
    /// # Errors
    ///
    /// The faults for which a filter refuses its configuration.
    pub fn load(project: &'p Project, contents: &'p Contents<'p>) -> Result<Self, Vec<Finding>> {
        let has_baseline = is_configured(contents, Filter::BaselineDeny);
        let identity = FilterInput::always(project, contents, Filter::IdentityAuthz);
        let has_identity =
            is_configured(contents, Filter::IdentityAuthz) || identity.resources().any(Resource::is_for_identity);
        let is_about_workload = project.settings().workload.is_some() || project.settings().default_action.is_some();
        let has_egress =
            is_configured(contents, Filter::EgressAllowlist) || contents.resources.iter().any(Resource::is_for_egress);
        let is_egress_chosen = contents.carried(Filter::EgressAllowlist).is_some();
        if has_egress && !(has_identity || (has_baseline || is_about_workload) && !is_egress_chosen) {
            return Self::for_egress(project, contents);
        }
        let baseline = match FilterInput::new(project, contents, Filter::BaselineDeny).map(|input| input.load()) {
            Some(Ok(Loaded::Baseline(filter))) => Ok(Some(filter)),
            Some(Err(faults)) => Err(faults),
            Some(Ok(_)) | None => Ok(None),
        };
        let last = match has_identity || !has_baseline {
            true => Self::of(project, contents, identity),
            false => {
                let input = FilterInput::always(project, contents, Filter::BaselineDeny);
                let default_namespace = input.default_namespace();
                let resources = input.into_resources();
                match config_findings(contents) {
                    faults if !faults.is_empty() => Err([project.findings(), &faults].concat()),
                    _ => Ok(Self { resources, default_namespace, mark: None, baseline: None, last: Last::None }),
                }
            }
        };
        let (mut deciders, mut findings) = match last {
            Ok(deciders) => (Some(deciders), project.findings().to_vec()),
            Err(findings) => (None, findings),
        };
        match (baseline, &mut deciders) {
            (Ok(baseline), Some(deciders)) => deciders.baseline = baseline,
            (Err(faults), _) => findings.extend(faults),
            (Ok(_), None) => {}
        }
        match deciders {
            Some(deciders) if findings.is_empty() => Ok(deciders),
            _ => {
                settle(&mut findings, project.sources(), &[]);
                Err(findings)
            }
        }
    }

    /// Has `egress-allowlist` read the project.
    ///
    /// # Errors
    ///
    /// The faults for which it refuses its configuration.
    pub fn for_egress(project: &'p Project, contents: &'p Contents<'p>) -> Result<Self, Vec<Finding>> {
        let mut deciders =
            Self::of(project, contents, FilterInput::always(project, contents, Filter::EgressAllowlist))?;
        // The one that stands before it in the same list of filters.
        if contents.carried(Filter::BaselineDeny).is_some()
            && let Loaded::Baseline(filter) = FilterInput::always(project, contents, Filter::BaselineDeny).load()?
        {
            deciders.baseline = Some(filter);
        }
        Ok(deciders)
    }

    /// Has `identity-authz` alone read the project, as `sallyport test` does.
    ///
    /// # Errors
    ///
    /// The faults for which it refuses its configuration.
    pub fn for_identity(project: &'p Project, contents: &'p Contents<'p>) -> Result<Self, Vec<Finding>> {
        Self::configured(project, contents, None)
    }

    /// Has `identity-authz` read the project, with `configuration` for its part of the configuration file.
    ///
    /// # Errors
    ///
    /// The faults for which it refuses its configuration.
    pub(crate) fn configured(
        project: &'p Project,
        contents: &'p Contents<'p>,
        configuration: Option<&'p Node>,
    ) -> Result<Self, Vec<Finding>> {
        let input = FilterInput::always(project, contents, Filter::IdentityAuthz);
        let input = match configuration {
            Some(configuration) => input.configured(configuration),
            None => input,
        };
        Self::of(project, contents, input)
    }

    fn of(project: &'p Project, contents: &Contents<'p>, input: FilterInput<'p>) -> Result<Self, Vec<Finding>> {
        let loaded = input.load();
        let (default_namespace, mark) = (input.default_namespace(), input.custom_providers());
        let last = match loaded {
            Ok(Loaded::Identity(filter)) => Ok(Last::Identity(filter)),
            #[cfg(feature = "whole")]
            Ok(Loaded::Egress(filter)) => Ok(Last::Egress(filter, input.rules())),
            Ok(Loaded::Baseline(_)) => Ok(Last::None),
            Err(faults) => Err(faults),
        };
        let mut findings = [project.findings(), &config_findings(contents)].concat();
        match last {
            Ok(last) if findings.is_empty() => {
                Ok(Self { resources: input.into_resources(), default_namespace, mark, baseline: None, last })
            }
            Ok(_) => {
                settle(&mut findings, project.sources(), &[]);
                Err(findings)
            }
            Err(faults) => {
                findings.extend(faults);
                settle(&mut findings, project.sources(), &[]);
                Err(findings)
            }
        }
    }

    /// Reports whether all policies of `identity-authz` apply because no workload is set.
    pub fn applies_all(&self, project: &Project, contents: &Contents<'_>) -> bool {
        let settings = project.filter_settings(contents, Filter::IdentityAuthz);
        let is_carried = contents.carried(Filter::IdentityAuthz).is_some();
        matches!(self.last, Last::Identity(_)) && !settings.has("workload") && self.resources.len() > 1 && !is_carried
    }

    /// Reports whether `egress-allowlist` decides.
    pub fn is_egress(&self) -> bool {
        self.last.egress_rules().is_some()
    }

    /// Explains what happens to a request.
    pub fn explain(&self, request: &SimulatedRequest) -> Explanation {
        let marked = SimulatedRequest { mark: request.mark.clone().or_else(|| self.mark.clone()), ..request.clone() };
        // Of connections `baseline-deny` decides nothing.
        if let Some(baseline) = self.baseline.as_ref().filter(|_| !marked.is_connection) {
            let mut received = Received::without_identity(&marked);
            let decision = baseline.decide(&mut received);
            if let Decision::Deny(denial) | Decision::WouldDeny(denial) = &decision {
                let (reason, _) = baseline.explain(denial, &mut received);
                return self.denied(Answer::of(&decision), denial.policy(), matched(denial), reason, &marked);
            }
        }
        match &self.last {
            Last::Identity(filter) => self.explain_access(filter, &marked),
            #[cfg(feature = "whole")]
            Last::Egress(filter, _) => self.explain_egress(filter, &marked),
            #[cfg(not(feature = "whole"))]
            Last::Never(never, _) => match *never {},
            Last::None => {
                self.allowed(None, "baseline-deny lets it through, and there is nothing for identity-authz", &marked)
            }
        }
    }

    fn explain_access(&self, filter: &IdentityAuthz, request: &SimulatedRequest) -> Explanation {
        let policy = match request.is_connection {
            true => filter.connection_policy(),
            false => filter.policy(),
        };
        let mut received = Received::new(request, filter);
        let decision = policy.decide(&mut received);
        let (Decision::Deny(denial) | Decision::WouldDeny(denial)) = &decision else {
            let rule = policy.matching_allow_rule(&mut received).ok().flatten();
            return self.allowed(rule, "no ALLOW policy applies here and defaultAction is ALLOW", request);
        };
        if *denial != Denial::NoAllowMatches {
            let reason = policy.explain(denial, &mut received);
            return self.denied(Answer::of(&decision), denial.policy(), matched(denial), reason, request);
        }
        // Nothing that is not said changes that no rule matches, and what a rule wants of it belongs to the reason.
        let mut received = received.complete();
        let reason = policy.explain(denial, &mut received);
        let mut explanation = self.denied(Answer::of(&decision), None, None, reason, request);
        let nearest = policy.nearest_allow(&mut received).ok().flatten();
        explanation.nearest = nearest.map(|nearest| self.nearest(nearest));
        explanation
    }

    #[cfg(feature = "whole")]
    fn explain_egress(&self, filter: &sallyport_policy::EgressAllowlist, request: &SimulatedRequest) -> Explanation {
        let policy = filter.policy();
        let mut received = Received::outbound(request, filter);
        let mode = policy.source_mode(&mut received);
        let decision = policy.decide(mode, &mut received);
        let (Decision::Deny(denial) | Decision::WouldDeny(denial)) = &decision else {
            let rule = policy.matching_allow_rule(&mut received).ok().flatten();
            return self.allowed(rule, "`sources` lets everything of this client through", request);
        };
        let rule = match denial {
            sallyport_policy::EgressDenial::Matched(rule) => Some(*rule),
            _ => None,
        };
        let is_enforced = matches!(decision, Decision::Deny(_));
        let reason = policy.explain(denial, is_enforced, None, &mut received);
        self.denied(Answer::of(&decision), denial.policy(), rule, reason, request)
    }

    /// Returns what is allowed: by a rule, or for a reason without one.
    fn allowed(&self, rule: Option<&RuleName>, otherwise: &str, request: &SimulatedRequest) -> Explanation {
        let reason = match (rule, self.last.egress_rules()) {
            (Some(rule), Some(_)) => format!("rule {} lists this host", full_name(rule.policy())),
            (Some(rule), _) => format!("ALLOW policy {} matches with rule {}", rule.policy(), rule.label()),
            (None, _) => otherwise.to_owned(),
        };
        Explanation {
            answer: Answer::Allowed,
            policy: rule.map(|rule| full_name(rule.policy())),
            rule: rule.and_then(index),
            span: rule.and_then(|rule| self.rule_span(rule)),
            reason,
            readings: self.readings(request),
            nearest: None,
        }
    }

    fn denied(
        &self,
        answer: Answer,
        policy: Option<&PolicyName>,
        rule: Option<&RuleName>,
        reason: String,
        request: &SimulatedRequest,
    ) -> Explanation {
        let span = match rule {
            Some(rule) => self.rule_span(rule),
            None => policy.and_then(|policy| self.resource(policy)).map(|(_, span)| span),
        };
        Explanation {
            answer,
            policy: policy.map(full_name),
            rule: rule.and_then(index),
            span,
            reason,
            readings: self.readings(request),
            nearest: None,
        }
    }

    fn nearest(&self, NearestRule { rule, missing }: NearestRule<'_>) -> Nearest {
        Nearest { policy: full_name(rule.policy()), rule: index(rule), missing, span: self.rule_span(rule) }
    }

    /// Returns a resource and the part that stands for it.
    fn resource(&self, policy: &PolicyName) -> Option<(&'p Node, Span)> {
        let is_peer_authentication = policy.to_string().starts_with("PeerAuthentication ");
        let kind = if is_peer_authentication { "PeerAuthentication" } else { "AuthorizationPolicy" };
        let is_of_kind = |resource: &Resource<'_>| match self.is_egress() {
            true => resource.is_for_egress(),
            false => resource.kind() == Some(kind),
        };
        let default_namespace = self.default_namespace.as_deref();
        let found = self.resources.iter().find(|resource| {
            let namespace = policy.namespace();
            resource.name() == Some(policy.name())
                && (namespace.is_none() || resource.namespace().or(default_namespace) == namespace)
                && is_of_kind(resource)
        });
        found.map(|resource| (resource.node, resource.span()))
    }

    fn rule_span(&self, rule: &RuleName) -> Option<Span> {
        let policy = rule.policy();
        if let (Some(rules), Some(RULES)) = (self.last.egress_rules(), policy.namespace()) {
            let is_named = |rule: &&Node| rule.text_at(&["name"]) == Some(policy.name());
            if let Some(rule) = index(rule).and_then(|index| rules.get(index)).filter(is_named) {
                return Some(rule.first_span());
            }
        }
        let (node, span) = self.resource(policy)?;
        let rules = node.at(&["spec", "rules"]).or_else(|| node.get("specs"));
        let rule = index(rule).and_then(|index| rules?.items().get(index));
        Some(rule.map_or(span, Node::first_span))
    }

    fn readings(&self, request: &SimulatedRequest) -> Vec<String> {
        match &self.last {
            Last::Identity(filter) if !request.is_connection => {
                filter.readings_of_path(&request.path).iter().map(|reading| printable(reading)).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Namespace under which `egress-allowlist` names the rules of its configuration.
const RULES: &str = "rules";

/// Returns the rule that denies by matching.
fn matched<'d>(denial: &Denial<'d>) -> Option<&'d RuleName> {
    match denial {
        Denial::Matched(rule) => Some(rule),
        _ => None,
    }
}

/// Returns `NAMESPACE/NAME`, or what the filter calls a preset or a setting.
fn full_name(policy: &PolicyName) -> String {
    policy.namespace().map_or_else(|| policy.to_string(), |namespace| format!("{namespace}/{}", policy.name()))
}

fn index(rule: &RuleName) -> Option<usize> {
    rule.label().parse().ok()
}
