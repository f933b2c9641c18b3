//! The configuration of the filter `baseline-deny`, and its decision.

pub(crate) mod exemptions;
pub(crate) mod fields;
pub(crate) mod header_field;
#[cfg(any(test, feature = "linear-reading"))]
pub(crate) mod linear;
mod preset;
mod regular_expressions;

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use exemptions::Exemptions;
use preset::Preset;
use regular_expressions::RegularExpressions;

use crate::attributes::names::USER_AGENT;
use crate::attributes::readings::header::trimmed;
use crate::attributes::readings::path::PathReadings;
use crate::attributes::request::Request;
use crate::authz::compiled::CompiledPolicy;
use crate::authz::decision::Decision;
use crate::authz::denial::Denial;
use crate::authz::engine::rule::DefaultAction;
use crate::authz::policy_name::{PolicyName, RuleLabel, RuleName};
use crate::authz::resources::authorization_policy::{AuthorizationPolicy, Context};
use crate::authz::resources::kinds::OwnKinds;
use crate::authz::resources::object_meta::{DefaultNamespace, read_default_namespace};
use crate::authz::resources::rules::RuleSizes;
use crate::authz::resources::{Resource, ResourceReader};
use crate::baseline::fields::CLIENT_FIELDS;
use crate::config::deny_response::DenyResponse;
use crate::config::diagnostics::{ConfigError, ConfigErrors, Diagnostics, MAX_ERRORS_KEPT};
use crate::config::document::StreamedList;
use crate::config::enforcement_mode::EnforcementMode;
use crate::config::error_code::ErrorCode;
use crate::config::load_report::LoadReport;
use crate::config::passed_over::PassedOver;
use crate::config::printable::printable_text;
use crate::config::reader::{ConfigNode, Object};
use crate::config::value::Value;
use crate::identity::error::AttributeError;
use crate::identity::trust_domains::TrustDomains;

/// Valid, compiled configuration of `baseline-deny`.
///
/// It denies what its policies and built-in lists match, allows everything else, and reads header values without
/// regard to case and as globs. An exemption beats every denial.
pub struct BaselineDeny {
    policy: CompiledPolicy,
    exempt: Option<Exemptions>,
    missing: Option<RuleName>,
    empty: Option<RuleName>,
    mode: EnforcementMode,
    reply: DenyResponse,
    load_report: LoadReport,
}

/// The kinds of resources that it reads.
const OWN_KINDS: OwnKinds = OwnKinds(&["AuthorizationPolicy"]);

impl BaselineDeny {
    /// Reads and compiles a configuration. Fails with all its diagnostics, each with its path.
    ///
    /// ```
    /// use sallyport_policy::BaselineDeny;
    /// let refusal = BaselineDeny::parse(br#"{"presets": ["scanner"]}"#).err().unwrap();
    /// assert_eq!(refusal.to_string(), "presets[0]: unknown value `scanner`, did you mean \"scanners\"?");
    /// ```
    pub fn parse(json: &[u8]) -> Result<Self, ConfigErrors> {
        Self::parse_keeping(json, MAX_ERRORS_KEPT)
    }

    /// Reads and compiles a configuration as [`parse`](Self::parse) does, and keeps up to `limit` errors. For tools.
    pub fn parse_keeping(json: &[u8], limit: usize) -> Result<Self, ConfigErrors> {
        let (document, resources) = Value::parse_streaming(json, "resources")?;
        let diagnostics = Diagnostics::keeping(limit);
        let read = read(&ConfigNode::root(&document, &diagnostics), &resources);
        let Configuration { presets, mut policies, passed_over, exempt, missing, empty, path_readings, mode, reply } =
            diagnostics.into_result(read)?;
        let mut regular_expressions = RegularExpressions::default();
        policies.iter().for_each(|policy| regular_expressions.of_policy(policy));
        let agents = exempt.iter().flat_map(|exempt| exempt.like_regex());
        agents.for_each(|text| regular_expressions.of_exempt_agent(text));
        let mut lists = Vec::new();
        let let_through = exempt.as_ref().and_then(|exempt| describe_let_through(exempt, &presets));
        for preset in presets {
            let Some((policy, version)) = preset.policy() else {
                return Err(ConfigErrors::of(ConfigError::new(
                    "presets",
                    "a built-in list is broken, this build cannot be used",
                )));
            };
            lists.push(format!("{} version {version} with {} tools", policy.name, policy.rules.len()));
            policies.push(policy);
        }
        let summary = summary(&policies, &lists, mode) + &path_readings.left_out();
        let mut load_report = LoadReport::new(summary, passed_over);
        let_through.iter().chain(&regular_expressions.warning()).for_each(|line| load_report.warn(line));
        let policies = policies.into_iter().map(Cow::Owned).collect();
        let policy = CompiledPolicy::new(policies, DefaultAction::Allow, mode);
        policy.check_excess()?;
        let rule = |label: &str| RuleName::new(PolicyName::of_setting("userAgent"), RuleLabel::Name(label.to_owned()));
        Ok(Self {
            policy,
            exempt,
            missing: missing.then(|| rule("missing")),
            empty: empty.then(|| rule("empty")),
            mode,
            reply,
            load_report,
        })
    }

    /// Decides a request.
    ///
    /// 1. A policy or a built-in list matches, or the user agent is missing or empty where that is denied: denied.
    /// 2. Unless an exemption names its user agent or its path.
    ///
    /// An unavailable attribute is a denial.
    pub fn decide(&self, request: &mut dyn Request) -> Decision<Denial<'_>> {
        let decision = match self.policy.decide(request) {
            Decision::Deny(denial) => Decision::Deny(denial),
            other => match self.without_user_agent(request) {
                Ok(None) => other,
                Ok(Some(rule)) => self.deny_or_report(Denial::Matched(rule)),
                Err(failure) => self.deny_or_report(Denial::Undecidable(failure.into())),
            },
        };
        match decision {
            Decision::Deny(Denial::Matched(_)) | Decision::WouldDeny(Denial::Matched(_)) => {
                match self.is_exempt(request) {
                    Ok(true) => Decision::Allow,
                    Ok(false) => decision,
                    Err(failure) => self.deny_or_report(Denial::Undecidable(failure.into())),
                }
            }
            other => other,
        }
    }

    /// Describes a denial in one line, with the pattern that matched, if any.
    ///
    /// Call this after a denial only: it can read more attributes than the decision did.
    pub fn explain(&self, denial: &Denial<'_>, request: &mut dyn Request) -> (String, Option<String>) {
        let described = describe_request(request);
        match denial {
            Denial::Matched(rule) if Some(*rule) == self.missing.as_ref() => {
                (format!("there is no user agent: {described}"), None)
            }
            Denial::Matched(rule) if Some(*rule) == self.empty.as_ref() => {
                (format!("the user agent is empty: {described}"), None)
            }
            Denial::Matched(rule) => {
                let hit = self.policy.rules.header_hit(rule, request).ok().flatten();
                let (matched, pattern) = match hit {
                    Some((header, pattern)) => {
                        (format!("{} matches {}", printable_text(&header), printable_text(&pattern)), Some(pattern))
                    }
                    None => (format!("rule {} matches", rule.label()), None),
                };
                let reading = self.policy.rules.deny_reading(rule, request).or_else(|| {
                    let not_exempt = self.exempt.as_ref()?.describe_reading(request)?;
                    Some(format!("not exempt since {not_exempt}"))
                });
                let reading = reading.map(|reading| format!(", {reading}")).unwrap_or_default();
                (format!("{} rule {}, {matched}: {described}{reading}", rule.policy(), rule.label()), pattern)
            }
            Denial::Undecidable(error) => (format!("{error}: {described}"), None),
            Denial::NoAllowMatches | Denial::DefaultAction | Denial::MtlsRequired(_) | Denial::Custom(_) => {
                (described, None)
            }
        }
    }

    /// Returns the response to a denied client.
    pub fn reply(&self) -> &DenyResponse {
        &self.reply
    }

    /// Returns the names that have counters: policies, built-in lists, and user-agent settings that deny.
    pub fn denying_policies(&self) -> impl Iterator<Item = &PolicyName> {
        let setting = self.missing.as_ref().or(self.empty.as_ref()).map(RuleName::policy);
        self.policy.denying_policies().chain(setting)
    }

    /// Returns the lines for the log about what was loaded, with the version of every built-in list.
    pub fn load_report(&self) -> &LoadReport {
        &self.load_report
    }

    fn without_user_agent(&self, request: &mut dyn Request) -> Result<Option<&RuleName>, AttributeError> {
        if self.missing.is_none() && self.empty.is_none() {
            return Ok(None);
        }
        let values = request.header(USER_AGENT)?;
        Ok(match values.iter().all(|value| trimmed(value).is_empty()) {
            true if values.is_empty() => self.missing.as_ref(),
            true => self.empty.as_ref(),
            false => None,
        })
    }

    fn is_exempt(&self, request: &mut dyn Request) -> Result<bool, AttributeError> {
        self.exempt.as_ref().map_or(Ok(false), |exempt| exempt.hold(request))
    }

    fn deny_or_report<'p>(&self, denial: Denial<'p>) -> Decision<Denial<'p>> {
        match self.mode {
            EnforcementMode::Report => Decision::WouldDeny(denial),
            EnforcementMode::Enforce => Decision::Deny(denial),
        }
    }
}

/// Describes the request, without an identity.
fn describe_request(request: &mut dyn Request) -> String {
    let what = crate::attributes::wording::describe_operation(request);
    let agent = request
        .header(USER_AGENT)
        .ok()
        .and_then(|values| values.first().map(|value| crate::config::printable::printable(value)));
    match agent {
        Some(agent) => format!("{what} with user-agent {agent}"),
        None => what,
    }
}

struct Configuration {
    presets: Vec<Preset>,
    policies: Vec<AuthorizationPolicy>,
    passed_over: PassedOver,
    exempt: Option<Exemptions>,
    /// True if a request without a user agent is denied.
    missing: bool,
    empty: bool,
    path_readings: PathReadings,
    mode: EnforcementMode,
    reply: DenyResponse,
}

fn read(node: &ConfigNode<'_>, items: &StreamedList<'_>) -> Option<Configuration> {
    let object = node.object()?;
    let presets = match object.optional("presets") {
        Some(node) => read_presets(&node),
        None => Some(Vec::new()),
    };
    let user_agent = object.optional("userAgent").map_or(Some((false, false)), |node| read_user_agent(&node));
    let path_readings = PathReadings::read(object.optional("pathReadings").as_ref());
    let exempt = match object.optional("exempt") {
        Some(node) => Exemptions::read(&node, path_readings.unwrap_or_default()).map(Some),
        None => Some(None),
    };
    let mode = EnforcementMode::read(object.optional("mode").as_ref());
    let reply = DenyResponse::read(object.optional("deny").as_ref(), DenyResponse::default());
    let resources = object.optional("resources");
    let trust_domains = TrustDomains::new("cluster.local".to_owned(), Vec::new());
    let context = Context {
        trust_domains: &trust_domains,
        claims: &Rc::default(),
        path_readings: path_readings.unwrap_or_default(),
        trusts_remote_address: false,
        registry: &CLIENT_FIELDS,
        rule_sizes: RuleSizes::default(),
        denies_only: true,
    };
    let default_namespace = read_default_namespace(&object, None);
    let policies = RefCell::new(Vec::new());
    let reader = ResourceReader {
        own_kinds: &OWN_KINDS,
        default_namespace: DefaultNamespace::new(default_namespace.as_ref(), "defaultNamespace"),
        read: &|Resource { object, metadata, .. }| {
            let policy = AuthorizationPolicy::read(object, metadata, &context);
            policy.map(|policy| policies.borrow_mut().push(policy)).is_some()
        },
    };
    let passed_over =
        resources.as_ref().map_or_else(|| Some(PassedOver::default()), |node| reader.read_all(node, items));
    let denies_nothing = presets.as_ref().is_some_and(Vec::is_empty) && user_agent == Some((false, false));
    if denies_nothing && passed_over.is_some() && policies.borrow().is_empty() {
        object.error_as(ErrorCode::NoEffect, "denies nothing: write presets: [scanners], or resources");
    }
    object.finish();
    default_namespace.as_ref()?;
    let (missing, empty) = user_agent?;
    Some(Configuration {
        presets: presets?,
        policies: policies.into_inner(),
        passed_over: passed_over?,
        exempt: exempt?,
        missing,
        empty,
        path_readings: path_readings?,
        mode: mode?,
        reply: reply?,
    })
}

fn read_presets(node: &ConfigNode<'_>) -> Option<Vec<Preset>> {
    let mut presets: Vec<Preset> = Vec::new();
    for item in node.items()? {
        let preset = item.enum_value(&Preset::NAMES)?;
        if presets.contains(&preset) {
            item.error_as(ErrorCode::RepeatedKey, "listed twice, keep one");
        }
        presets.push(preset);
    }
    Some(presets)
}

fn read_user_agent(node: &ConfigNode<'_>) -> Option<(bool, bool)> {
    let object = node.object()?;
    let denies = |object: &Object<'_>, key| match object.optional(key) {
        Some(node) => node.enum_value(&[("allow", false), ("deny", true)]),
        None => Some(false),
    };
    let (missing, empty) = (denies(&object, "missing"), denies(&object, "empty"));
    object.finish();
    Some((missing?, empty?))
}

/// Describes the tools of built-in lists that an exempt user agent lets through.
fn describe_let_through(exempt: &Exemptions, presets: &[Preset]) -> Option<String> {
    const MOST_NAMED: usize = 3;
    let tools: Vec<String> = presets.iter().flat_map(|preset| preset.attack_tools()).collect();
    let tools: Vec<String> = tools.into_iter().filter(|tool| exempt.names(tool)).collect();
    let named = tools.get(..MOST_NAMED).unwrap_or(&tools).join(", ");
    let others = match tools.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    let line = format!(
        "exempt.userAgents lets {named}{others} through, which presets deny; write the whole user agent of your own scanner"
    );
    (!tools.is_empty()).then_some(line)
}

fn summary(policies: &[AuthorizationPolicy], lists: &[String], mode: EnforcementMode) -> String {
    let resources = policies.len() - lists.len();
    let dry_run = policies.iter().filter(|policy| policy.mode == EnforcementMode::Report).count();
    let (enforced, reported) =
        if mode == EnforcementMode::Report { (0, policies.len()) } else { (policies.len() - dry_run, dry_run) };
    let lists = if lists.is_empty() { "no presets".to_owned() } else { lists.join(", ") };
    let mode = if mode == EnforcementMode::Report { ", mode: report, nothing is denied" } else { "" };
    format!("loaded {resources} resources and {lists}, {enforced} enforced, {reported} only reported{mode}")
}

#[cfg(test)]
mod tests;
