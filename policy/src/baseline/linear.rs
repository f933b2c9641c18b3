//! `baseline-deny` by the linear reading.

use crate::attributes::names::USER_AGENT;
use crate::attributes::readings::header::trimmed;
use crate::attributes::request::Request;
use crate::authz::engine::rule::DefaultAction;
use crate::authz::fields::path::pattern::PathPattern;
use crate::authz::resources::authorization_policy::AuthorizationPolicy;
use crate::baseline::exemptions::patterns;
use crate::baseline::header_field::HeaderGlob;
use crate::baseline::{Configuration, read};
use crate::collections::bytes::to_lowercase;
use crate::config::diagnostics::Diagnostics;
use crate::config::enforcement_mode::EnforcementMode;
use crate::config::reader::ConfigNode;
use crate::config::value::Value;
use crate::identity::error::AttributeError;
use crate::linear_reading::Matches;
use crate::linear_reading::answer::{LinearAnswer, LinearOutcome};
use crate::linear_reading::readings;
use crate::linear_reading::walk::Walk;
use crate::matcher::clause::Quantifier;
use crate::matcher::path_template::SegmentBytes;

/// Configuration of `baseline-deny` whose rules are walked one by one: the definition that
/// [`BaselineDeny`](crate::BaselineDeny) is compared with.
pub struct LinearBaselineDeny {
    policies: Vec<AuthorizationPolicy>,
    exempt_agents: Vec<HeaderGlob>,
    exempt_paths: Vec<PathPattern>,
    missing: bool,
    empty: bool,
    mode: EnforcementMode,
}

impl LinearBaselineDeny {
    /// Reads a configuration. Returns `None` for one that is refused, and for `pathReadings`, which the linear reading
    /// does not know.
    pub fn parse(json: &[u8]) -> Option<Self> {
        let (document, resources) = Value::parse_streaming(json, "resources").ok()?;
        let diagnostics = Diagnostics::default();
        let root = ConfigNode::root(&document, &diagnostics);
        let configuration = read(&root, &resources)?;
        let Configuration { presets, mut policies, missing, empty, mode, .. } =
            diagnostics.into_result(Some(configuration)).ok()?;
        policies.extend(presets.into_iter().filter_map(|preset| preset.policy()).map(|(policy, _)| policy));
        let again = Diagnostics::default();
        let node = ConfigNode::root(&document, &again);
        let root = node.object()?;
        if root.optional("pathReadings").is_some() {
            return None;
        }
        let (mut exempt_agents, mut exempt_paths) = (Vec::new(), Vec::new());
        if let Some(exempt) = root.optional("exempt") {
            let object = exempt.object()?;
            exempt_agents.extend(patterns(&object, "userAgents", HeaderGlob::parse_glob)?);
            exempt_paths.extend(patterns(&object, "paths", |text| PathPattern::parse(text, SegmentBytes::Envoy))?);
        }
        let exempt_agents = exempt_agents.into_iter().map(|(pattern, _)| pattern).collect();
        let exempt_paths = exempt_paths.into_iter().map(|(pattern, _)| pattern).collect();
        Some(Self { policies, exempt_agents, exempt_paths, missing, empty, mode })
    }

    /// Decides a request.
    pub fn decide(&self, request: &mut dyn Request) -> LinearAnswer {
        let walk = Walk::of_policies(self.policies.iter(), DefaultAction::Allow, self.mode, request);
        let mut answer = walk.answer();
        let is_exempt = self.is_exempt(request);
        let lacks_agent = self.lacks_agent(request);
        if !matches!(answer.outcome, LinearOutcome::Deny(_)) && lacks_agent != Ok(None) {
            let setting = lacks_agent.ok().flatten().map(|label| format!("setting[userAgent]-rule[{label}]"));
            answer.outcome = match self.mode {
                EnforcementMode::Enforce => LinearOutcome::Deny(setting),
                EnforcementMode::Report => LinearOutcome::WouldDeny(setting),
            };
        }
        if is_exempt == Ok(true) {
            answer.outcome = LinearOutcome::Allow;
        }
        answer.is_certain &= is_exempt.is_ok() && lacks_agent.is_ok();
        answer
    }

    /// Returns the label of the rule by which a request without a user agent, or with an empty one, is denied.
    fn lacks_agent(&self, request: &mut dyn Request) -> Result<Option<&'static str>, AttributeError> {
        if !self.missing && !self.empty {
            return Ok(None);
        }
        let lines = request.header(USER_AGENT)?;
        let (denies, label) = if lines.is_empty() { (self.missing, "missing") } else { (self.empty, "empty") };
        Ok((denies && lines.iter().all(|line| trimmed(line).is_empty())).then_some(label))
    }

    /// Reports whether the path is exempt in every reading, or every user agent is, those that a proxy has joined too.
    fn is_exempt(&self, request: &mut dyn Request) -> Result<bool, AttributeError> {
        if !self.exempt_paths.is_empty()
            && let Some(path) = request.path()?
            && readings::paths(&self.exempt_paths, path, Quantifier::All)
        {
            return Ok(true);
        }
        if self.exempt_agents.is_empty() {
            return Ok(false);
        }
        let lines: Vec<_> = request.header(USER_AGENT)?.iter().map(|line| to_lowercase(trimmed(line))).collect();
        let agents: Vec<Vec<u8>> = lines.iter().flat_map(|line| agents_of(line)).collect();
        let exempt = |agent: &Vec<u8>| self.exempt_agents.iter().any(|pattern| pattern.matches(trimmed(agent)));
        Ok(!agents.is_empty() && agents.iter().all(exempt))
    }
}

/// Returns the user agents that a proxy may have joined into one line: a comma without a blank behind it separates two.
fn agents_of(line: &[u8]) -> Vec<Vec<u8>> {
    let mut agents = vec![Vec::new()];
    for (at, byte) in line.iter().enumerate() {
        let separates = *byte == b',' && !matches!(line.get(at + 1), Some(b' ' | b'\t'));
        match agents.last_mut() {
            Some(agent) if !separates => agent.push(*byte),
            _ => agents.push(Vec::new()),
        }
    }
    agents
}
