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
use crate::authz::resources::peer_authentication::PeerAuthentication;
use crate::authz::resources::workload::Target;
use crate::config::enforcement_mode::EnforcementMode;
use crate::config::reader::Object;
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
    /// The reader of PeerAuthentication, in a filter that knows identities.
    pub(crate) peer_authentication: Option<fn(&Object<'_>) -> Option<PeerAuthentication>>,
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

    pub(crate) fn read(resource: &Object<'_>, context: &Context<'_>) -> Option<Self> {
        let metadata = Metadata::read(resource);
        let node = resource.required("spec", "write spec: {} to allow nothing")?;
        let spec = node.object()?;
        let action = read_action(&spec, context);
        let target = Target::read(&spec);
        spec.unsupported(
            "provider",
            "is for the action CUSTOM, which is not supported; use envoy.filters.http.ext_authz before this filter",
        );
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
        let Metadata { name, mode } = metadata?;
        Some(Self { name, mode, action: action?, target: target?, rules: rules?, rule_names: Vec::new() })
    }
}

fn read_action(spec: &Object<'_>, context: &Context<'_>) -> Option<Action> {
    let Some(node) = spec.optional("action") else {
        if context.denies_only {
            spec.error("has no action, which means ALLOW, and this filter only denies; write action: DENY");
        }
        return Some(Action::Allow);
    };
    match node.text()? {
        "CUSTOM" => {
            node.error("CUSTOM is not supported; use envoy.filters.http.ext_authz before this filter");
            None
        }
        text @ ("ALLOW" | "AUDIT") if context.denies_only => {
            node.error(format!("this filter only denies, use identity-authz for {text}"));
            None
        }
        _ => node.enum_value(&[("ALLOW", Action::Allow), ("DENY", Action::Deny), ("AUDIT", Action::Audit)]),
    }
}
