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
use crate::authz::resources::workload::Target;
use crate::config::enforcement_mode::EnforcementMode;
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
    /// True if the filter only denies.
    pub(crate) denies_only: bool,
    /// Tells of a policy of this namespace with this target that it is for other workloads alone.
    pub(crate) is_for_others: &'c dyn Fn(&str, &Target) -> bool,
}

/// Valid AuthorizationPolicy.
#[derive(Clone)]
pub(crate) struct AuthorizationPolicy {
    pub(crate) name: PolicyName,
    pub(crate) mode: EnforcementMode,
    pub(crate) action: Action,
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
            return Some(Self::without_rules(metadata?, Action::Allow, Target::All));
        };
        let spec = node.object()?;
        let action = spec.optional("action");
        let word = action.as_ref().and_then(ConfigNode::as_str);
        match (&action, word) {
            // What else such a policy says is for that filter too.
            (None, _) if context.denies_only => {
                spec.error("has no action, which means ALLOW, and this filter only denies; write action: DENY");
                return None;
            }
            (Some(node), Some(word @ ("ALLOW" | "AUDIT" | "CUSTOM"))) if context.denies_only => {
                node.error(format!("this filter only denies, use identity-authz for {word}"));
                return None;
            }
            (Some(node), Some("CUSTOM")) => return Self::read_custom(&spec, node, metadata, context),
            _ => {}
        }
        let action = read_action(action.as_ref());
        let target = Target::read(&spec);
        spec.unsupported("provider", "is for the action CUSTOM, remove it");
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
            Some(rules) => reader.read_rules(&rules),
            None => Some(Vec::new()),
        };
        if action == Some(Action::Audit)
            && metadata.as_ref().is_some_and(|metadata| metadata.mode == EnforcementMode::Report)
        {
            resource
                .error("an AUDIT policy changes nothing, so it has no dry run; remove the annotation istio.io/dry-run");
        }
        if action == Some(Action::Deny) && rules.as_ref().is_some_and(Vec::is_empty) {
            spec.error("a DENY without rules denies nothing; write rules: [{}] to deny everything");
        }
        spec.finish();
        let Metadata { name, mode, .. } = metadata?;
        Some(Self { name, mode, action: action?, target: target?, rules: rules?, rule_names: Vec::new() })
    }

    /// Reads a policy with `action: CUSTOM`, which is taken if it is for other workloads.
    fn read_custom(
        spec: &Object<'_>,
        action: &ConfigNode<'_>,
        metadata: Option<Metadata>,
        context: &Context<'_>,
    ) -> Option<Self> {
        let (metadata, target) = (metadata?, Target::read(spec)?);
        if metadata.name.namespace().is_some_and(|namespace| (context.is_for_others)(namespace, &target)) {
            // It is counted, and has no part in any decision.
            return Some(Self::without_rules(metadata, Action::Audit, target));
        }
        action.error("CUSTOM is not supported; use envoy.filters.http.ext_authz before this filter");
        None
    }

    fn without_rules(metadata: Metadata, action: Action, target: Target) -> Self {
        let Metadata { name, mode, .. } = metadata;
        Self { name, mode, action, target, rules: Vec::new(), rule_names: Vec::new() }
    }
}

fn read_action(node: Option<&ConfigNode<'_>>) -> Option<Action> {
    let Some(node) = node else { return Some(Action::Allow) };
    node.enum_value(&[("ALLOW", Action::Allow), ("DENY", Action::Deny), ("AUDIT", Action::Audit)])
}
