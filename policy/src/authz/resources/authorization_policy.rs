//! AuthorizationPolicy (istio/api `security/v1beta1/authorization_policy.proto`).

use std::rc::Rc;

use crate::attributes::jwt_claims::ClaimSource;
use crate::attributes::readings::path::PathReadings;
use crate::authz::engine::field::MatchField;
use crate::authz::engine::rule::{Action, Dnf};
use crate::authz::fields::ip_block::RemoteIp;
use crate::authz::fields::reader::{FieldContext, Registry};
use crate::authz::policy_name::{PolicyName, RuleLabel};
use crate::authz::resources::field_reader::RuleFieldReader;
use crate::authz::resources::object_meta::Metadata;
use crate::authz::resources::rules::RuleSizes;
use crate::authz::resources::workload::Target;
use crate::config::enforcement_mode::EnforcementMode;
use crate::config::error_code::ErrorCode;
use crate::config::reader::{ConfigNode, Object};
use crate::identity::trust_domains::TrustDomains;
use crate::matcher::path_template::SegmentBytes;

/// The rest of the configuration, as far as reading a resource depends on it, and what the filter reads of resources.
pub(crate) struct Context<'c> {
    pub(crate) trust_domains: &'c TrustDomains,
    pub(crate) claims: &'c Rc<ClaimSource>,
    pub(crate) path_readings: PathReadings,
    /// True if rules may compare the address that `X-Forwarded-For` can choose.
    pub(crate) trusts_remote_address: bool,
    pub(crate) registry: &'c Registry,
    /// Counts what the rules expand to.
    pub(crate) rule_sizes: RuleSizes,
    /// True if the filter only denies.
    pub(crate) denies_only: bool,
}

/// The authorizer of a CUSTOM policy.
#[derive(Clone)]
pub(crate) struct Provider {
    pub(crate) name: String,
    /// Path of the policy's `spec`, for errors that only the rest of the configuration shows.
    pub(crate) spec: String,
}

/// Valid AuthorizationPolicy.
#[derive(Clone)]
pub(crate) struct AuthorizationPolicy {
    pub(crate) name: PolicyName,
    pub(crate) mode: EnforcementMode,
    pub(crate) action: Action,
    /// `provider` of a CUSTOM policy; no other has one. Boxed, since most policies are others.
    pub(crate) provider: Option<Box<Provider>>,
    pub(crate) target: Target,
    pub(crate) rules: Vec<Dnf>,
    /// The names of rules that are not called by their numbers.
    pub(crate) rule_names: Vec<String>,
}

impl AuthorizationPolicy {
    /// Reports whether a rule compares the client's address of `X-Forwarded-For` or the PROXY protocol.
    pub(crate) fn compares_remote_address(&self) -> bool {
        self.rules.iter().flatten().flatten().any(|predicate| predicate.values.rank() == RemoteIp::RANK)
    }

    /// Returns the labels of the rules, in order.
    pub(crate) fn rule_labels(&self) -> impl Iterator<Item = RuleLabel> {
        (0..self.rules.len()).map(|number| self.rule_label(number))
    }

    /// Returns the label of rule `number`.
    pub(crate) fn rule_label(&self, number: usize) -> RuleLabel {
        self.rule_names.get(number).map_or(RuleLabel::Number(number), |name| RuleLabel::Name(name.clone()))
    }

    /// Reads the object of a resource whose kind is known. Without `spec` it allows nothing.
    pub(crate) fn read(resource: &Object<'_>, metadata: Option<Metadata>, context: &Context<'_>) -> Option<Self> {
        let Some(node) = resource.optional("spec") else {
            if context.denies_only {
                resource.missing("spec", "write action: DENY and the rules");
                return None;
            }
            return Some(Self::allowing_nothing(metadata?));
        };
        let spec = node.object()?;
        let action = spec.optional("action");
        let word = action.as_ref().and_then(ConfigNode::as_str);
        match (&action, word) {
            // What else such a policy says is for that filter too.
            (None, _) if context.denies_only => {
                spec.error_as(
                    ErrorCode::Unsupported,
                    "has no action, which means ALLOW, and this filter only denies; write action: DENY",
                );
                return None;
            }
            (Some(node), Some(word @ ("ALLOW" | "AUDIT" | "CUSTOM"))) if context.denies_only => {
                node.error_as(
                    ErrorCode::Unsupported,
                    format!("this filter only denies, use identity-authz for {word}"),
                );
                return None;
            }
            _ => {}
        }
        let action = read_action(action.as_ref());
        let target = Target::read(&spec);
        let provider = read_provider(&spec, action, &node);
        let namespace = metadata.as_ref().and_then(|metadata| metadata.name.namespace()).map(str::to_owned);
        let reader = RuleFieldReader {
            registry: context.registry,
            action,
            fields: FieldContext {
                trust_domains: context.trust_domains,
                claims: context.claims,
                path_readings: context.path_readings,
                trusts_remote_address: context.trusts_remote_address,
                namespace: namespace.as_deref(),
                operators: SegmentBytes::Any,
            },
        };
        let rules = match spec.optional("rules") {
            Some(rules) => reader.read_rules(&rules, &context.rule_sizes),
            None => Some(Vec::new()),
        };
        let dry_run = metadata.as_ref().is_some_and(|metadata| metadata.mode == EnforcementMode::Report);
        check_dry_run(resource, action.filter(|_| dry_run));
        check_without_rules(&spec, action.filter(|_| rules.as_ref().is_some_and(Vec::is_empty)));
        spec.finish();
        let Metadata { name, mode, .. } = metadata?;
        let (action, provider) = (action?, provider?);
        Some(Self { name, mode, action, provider, target: target?, rules: rules?, rule_names: Vec::new() })
    }

    /// The policy without `spec`.
    fn allowing_nothing(Metadata { name, mode, .. }: Metadata) -> Self {
        let (action, target) = (Action::Allow, Target::All);
        Self { name, mode, action, provider: None, target, rules: Vec::new(), rule_names: Vec::new() }
    }
}

/// Reports an action that has no dry run, given if the policy has the annotation.
fn check_dry_run(resource: &Object<'_>, action: Option<Action>) {
    match action {
        Some(Action::Audit) => resource.error_as(
            ErrorCode::NoEffect,
            "an AUDIT policy changes nothing, so it has no dry run; remove the annotation istio.io/dry-run",
        ),
        Some(Action::Custom) => resource.error_as(
            ErrorCode::Unsupported,
            "a CUSTOM policy has no dry run: its authorizer decides; remove the annotation istio.io/dry-run",
        ),
        Some(Action::Allow | Action::Deny) | None => {}
    }
}

/// Reports an action that means nothing without rules, given if the policy has none.
fn check_without_rules(spec: &Object<'_>, action: Option<Action>) {
    match action {
        Some(Action::Deny) => {
            spec.error_as(
                ErrorCode::NoEffect,
                "a DENY without rules denies nothing; write rules: [{}] to deny everything",
            );
        }
        Some(Action::Custom) => {
            spec.error_as(
                ErrorCode::NoEffect,
                "a CUSTOM without rules asks nobody; write rules: [{}] to ask about every request",
            );
        }
        Some(Action::Allow | Action::Audit) | None => {}
    }
}

/// Reads `provider`, which CUSTOM policies have and no others. `None` if there is an error, or no valid action.
fn read_provider(spec: &Object<'_>, action: Option<Action>, node: &ConfigNode<'_>) -> Option<Option<Box<Provider>>> {
    let Some(action) = action else {
        spec.optional("provider");
        return None;
    };
    if action != Action::Custom {
        spec.unsupported("provider", "is for the action CUSTOM, remove it or write action: CUSTOM");
        return Some(None);
    }
    let provider = spec.required("provider", "name the authorizer, as in provider: {name: oauth2-proxy}")?;
    let object = provider.object()?;
    let name = object.required("name", "name the authorizer, as in name: oauth2-proxy");
    let name = name.as_ref().and_then(ConfigNode::non_empty_str).map(str::to_owned);
    object.finish();
    Some(Some(Box::new(Provider { name: name?, spec: node.path() })))
}

fn read_action(node: Option<&ConfigNode<'_>>) -> Option<Action> {
    let Some(node) = node else { return Some(Action::Allow) };
    node.enum_value(&[
        ("ALLOW", Action::Allow),
        ("DENY", Action::Deny),
        ("AUDIT", Action::Audit),
        ("CUSTOM", Action::Custom),
    ])
}
