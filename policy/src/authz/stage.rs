//! `stage` and `customProviders` of `identity-authz`.

use crate::authz::custom::{NO_PROVIDER, SEPARATOR};
use crate::authz::engine::rule::Action;
use crate::authz::resources::authorization_policy::AuthorizationPolicy;
use crate::collections::sort::sort_by;
use crate::config::diagnostics::{ConfigError, Diagnostics};
use crate::config::enforcement_mode::EnforcementMode;
use crate::config::error_code::ErrorCode;
use crate::config::reader::{ConfigNode, Object, one_of};

/// `stage`: what an instance of the filter does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Marks requests for the authorizers of CUSTOM policies, and decides nothing.
    Custom,
    /// Decides.
    Decide,
}

/// Maximum number of `customProviders`. Each has an `ext_authz` filter of its own.
const MAX_PROVIDERS: usize = 100;

/// `stage` and `customProviders`.
pub(crate) struct CustomSettings {
    pub(crate) stage: Stage,
    /// In alphabetical order.
    pub(crate) providers: Vec<String>,
}

impl CustomSettings {
    pub(crate) fn read(configuration: &Object<'_>) -> Option<Self> {
        let stage = configuration.optional("stage").map_or(Some(Stage::Decide), |node| {
            node.enum_value(&[("decide", Stage::Decide), ("custom", Stage::Custom)])
        });
        let providers =
            configuration.optional("customProviders").map_or_else(|| Some(Vec::new()), |node| read_providers(&node));
        Some(Self { stage: stage?, providers: providers? })
    }

    /// Reports CUSTOM policies for whose provider there is no authorizer, and a mode that means nothing.
    pub(crate) fn check(&self, applicable: &[&AuthorizationPolicy], mode: EnforcementMode, diagnostics: &Diagnostics) {
        if self.stage == Stage::Custom && mode == EnforcementMode::Report {
            diagnostics.add(ConfigError::new(
                "mode",
                "report is for stage: decide; with stage: custom nothing is denied, and the authorizer decides by itself, so write it there alone",
            ).with_code(ErrorCode::Conflict));
        }
        for provider in applicable.iter().filter_map(|policy| policy.provider.as_deref()) {
            let (name, spec) = (&provider.name, &provider.spec);
            if self.providers.is_empty() {
                diagnostics.add(ConfigError::new(
                    format!("{spec}.action"),
                    format!("CUSTOM is not supported without customProviders; put envoy.filters.http.ext_authz between two instances of this filter (docs/identity-authz.md), and write customProviders: [`{name}`]"),
                ).with_code(ErrorCode::MissingAuthorizer));
            } else if !self.providers.contains(name) {
                let known = one_of(self.providers.iter().map(String::as_str));
                diagnostics.add(
                    ConfigError::new(
                        format!("{spec}.provider.name"),
                        format!("no authorizer `{name}`: customProviders lists {known}"),
                    )
                    .with_code(ErrorCode::MissingAuthorizer),
                );
            }
        }
    }

    /// End of the line at load: what the instance does about CUSTOM policies.
    pub(crate) fn note(&self, applicable: &[&AuthorizationPolicy]) -> String {
        let custom = applicable.iter().filter(|policy| policy.action == Action::Custom).count();
        match (self.stage, custom) {
            (Stage::Custom, 0) => ", stage: custom, every request is marked none".to_owned(),
            (Stage::Custom, _) => ", stage: custom, requests are marked and not decided".to_owned(),
            (Stage::Decide, 0) => String::new(),
            (Stage::Decide, custom) => format!(", {custom} of them CUSTOM, so a request without a mark is denied"),
        }
    }
}

fn read_providers(node: &ConfigNode<'_>) -> Option<Vec<String>> {
    let mut providers: Vec<String> = Vec::new();
    let mut complete = true;
    for item in node.items_up_to(MAX_PROVIDERS)? {
        let name = item.non_empty_str().filter(|name| is_valid(&item, name, &providers));
        complete &= name.is_some();
        providers.extend(name.map(str::to_owned));
    }
    sort_by(&mut providers, String::cmp);
    complete.then_some(providers)
}

/// Reports a name that a mark cannot hold, or that stands in the list already.
fn is_valid(item: &ConfigNode<'_>, name: &str, known: &[String]) -> bool {
    if name == NO_PROVIDER {
        item.error("`none` is the mark of a request that no CUSTOM policy matches, give the provider another name");
    } else if !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != SEPARATOR) {
        item.error(format!("bad provider `{name}`: a mark holds letters, digits and punctuation without commas"));
    } else if known.iter().any(|other| other == name) {
        item.error_as(ErrorCode::RepeatedKey, "given twice, keep one");
    } else {
        return true;
    }
    false
}
