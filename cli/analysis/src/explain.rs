//! `explain`: what happens to one request, by which rule, and what would let it in.

use sallyport_policy::{BaselineDeny, Decision, Denial, IdentityAuthz, NearestRule, PolicyName, RuleName, printable};

use crate::filters::{FilterInput, Loaded};
use crate::finding::{Finding, settle};
use crate::project::{Contents, Project};
use crate::resource::Resource;
use crate::settings::Filter;
use crate::simulated_request::{Received, SimulatedRequest};
use crate::source::Span;
use crate::tree::Node;

/// Answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It goes on.
    Allowed,
    /// It is denied.
    Denied,
    /// It goes on, and would be denied if what only reports were enforced.
    WouldBeDenied,
}

impl Answer {
    /// Returns the word for it, as in `would-be-denied`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::WouldBeDenied => "would-be-denied",
        }
    }
}

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
    identity: Box<IdentityAuthz>,
    baseline: Option<Box<BaselineDeny>>,
}

impl<'p> Deciders<'p> {
    /// Has `identity-authz` read the project, and `baseline-deny` where the configuration file has it.
    ///
    /// # Errors
    ///
    /// The faults for which a filter refuses its configuration.
    pub fn load(project: &'p Project, contents: &'p Contents<'p>) -> Result<Self, Vec<Finding>> {
        let baseline = match FilterInput::new(project, contents, Filter::BaselineDeny).map(|input| input.load()) {
            Some(Ok(Loaded::Baseline(filter))) => Ok(Some(filter)),
            Some(Err(faults)) => Err(faults),
            Some(Ok(_)) | None => Ok(None),
        };
        let identity = Self::configured(project, contents, None);
        let (mut deciders, mut findings) = match identity {
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
        let loaded = input.load();
        let (default_namespace, mark) = (input.default_namespace(), input.custom_providers());
        let mut findings = project.findings().to_vec();
        match loaded {
            Ok(Loaded::Identity(identity)) if findings.is_empty() => {
                Ok(Self { resources: input.into_resources(), default_namespace, mark, identity, baseline: None })
            }
            Ok(_) => Err(findings),
            Err(faults) => {
                findings.extend(faults);
                settle(&mut findings, project.sources(), &[]);
                Err(findings)
            }
        }
    }

    /// Explains what happens to a request.
    pub fn explain(&self, request: &SimulatedRequest) -> Explanation {
        let marked = SimulatedRequest { mark: request.mark.clone().or_else(|| self.mark.clone()), ..request.clone() };
        if let Some(baseline) = &self.baseline {
            let mut received = Received::without_identity(&marked);
            let decision = baseline.decide(&mut received);
            if let Decision::Deny(denial) | Decision::WouldDeny(denial) = &decision {
                let (reason, _) = baseline.explain(denial, &mut received);
                return self.denied(answer(&decision), denial, reason, &marked);
            }
        }
        let policy = match marked.is_connection {
            true => self.identity.connection_policy(),
            false => self.identity.policy(),
        };
        let mut received = Received::new(&marked, &self.identity);
        let decision = policy.decide(&mut received);
        let (Decision::Deny(denial) | Decision::WouldDeny(denial)) = &decision else {
            let rule = policy.matching_allow_rule(&mut received).ok().flatten();
            return self.allowed(rule, &marked);
        };
        let reason = policy.explain(denial, &mut received);
        let mut explanation = self.denied(answer(&decision), denial, reason, &marked);
        if *denial == Denial::NoAllowMatches {
            let nearest = policy.nearest_allow(&mut received).ok().flatten();
            explanation.nearest = nearest.map(|nearest| self.nearest(nearest));
        }
        explanation
    }

    fn allowed(&self, rule: Option<&RuleName>, request: &SimulatedRequest) -> Explanation {
        let reason = match rule {
            Some(rule) => format!("ALLOW policy {} matches with rule {}", rule.policy(), rule.label()),
            None => "no ALLOW policy applies here and defaultAction is ALLOW".to_owned(),
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

    fn denied(&self, answer: Answer, denial: &Denial<'_>, reason: String, request: &SimulatedRequest) -> Explanation {
        let rule = match denial {
            Denial::Matched(rule) => Some(*rule),
            _ => None,
        };
        let span = match rule {
            Some(rule) => self.rule_span(rule),
            None => denial.policy().and_then(|policy| self.resource(policy)).map(|(_, span)| span),
        };
        Explanation {
            answer,
            policy: denial.policy().map(full_name),
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
        let default_namespace = self.default_namespace.as_deref();
        let found = self.resources.iter().find(|resource| {
            resource.kind() == Some(kind)
                && resource.name() == Some(policy.name())
                && resource.namespace().or(default_namespace) == policy.namespace()
        });
        found.map(|resource| (resource.node, resource.span()))
    }

    fn rule_span(&self, rule: &RuleName) -> Option<Span> {
        let (node, span) = self.resource(rule.policy())?;
        let rule = index(rule).and_then(|index| node.at(&["spec", "rules"])?.items().get(index));
        Some(rule.map_or(span, Node::first_span))
    }

    fn readings(&self, request: &SimulatedRequest) -> Vec<String> {
        if request.is_connection {
            return Vec::new();
        }
        self.identity.readings_of_path(&request.path).iter().map(|reading| printable(reading)).collect()
    }
}

fn answer<D>(decision: &Decision<D>) -> Answer {
    match decision {
        Decision::Allow => Answer::Allowed,
        Decision::Deny(_) => Answer::Denied,
        Decision::WouldDeny(_) => Answer::WouldBeDenied,
    }
}

/// Returns `NAMESPACE/NAME`, or what the filter calls a preset or a setting.
fn full_name(policy: &PolicyName) -> String {
    policy.namespace().map_or_else(|| policy.to_string(), |namespace| format!("{namespace}/{}", policy.name()))
}

fn index(rule: &RuleName) -> Option<usize> {
    rule.label().parse().ok()
}
