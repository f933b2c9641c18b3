//! Built-in lists of user agents, as data with a version.

use crate::attributes::names::HeaderName;
use crate::authz::engine::field::FieldValues;
use crate::authz::engine::rule::{Action, Predicate};
use crate::authz::policy_name::PolicyName;
use crate::authz::resources::authorization_policy::AuthorizationPolicy;
use crate::authz::resources::workload::Target;
use crate::baseline::header_field::{GlobHeader, HeaderGlob};
use crate::config::diagnostics::Diagnostics;
use crate::config::enforcement_mode::EnforcementMode;
use crate::config::reader::ConfigNode;
use crate::config::value::Value;

/// A built-in list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preset {
    /// Attack and scanner tools that name themselves: only what no ordinary client sends.
    Scanners,
    /// Scanning services and their products that name themselves, which people also have scan their own sites.
    ScanServices,
}

/// The most tools of a list.
const MAX_TOOLS: usize = 10_000;

impl Preset {
    pub(crate) const NAMES: [(&'static str, Self); 2] =
        [("scanners", Self::Scanners), ("scan-services", Self::ScanServices)];

    fn name(self) -> &'static str {
        match self {
            Self::Scanners => "scanners",
            Self::ScanServices => "scan-services",
        }
    }

    fn data(self) -> &'static str {
        match self {
            Self::Scanners => include_str!("scanners.json"),
            Self::ScanServices => include_str!("scan_services.json"),
        }
    }

    /// The names in `user-agent` by which the tools of the list are known. Of services there are none: people have their
    /// own sites scanned by those, and exempt them.
    pub(crate) fn attack_tools(self) -> Vec<String> {
        match self {
            Self::Scanners => self.tools().map(|(_, tools)| tools.into_iter().map(|tool| tool.text).collect()),
            Self::ScanServices => None,
        }
        .unwrap_or_default()
    }

    fn tools(self) -> Option<(u64, Vec<Tool>)> {
        let document = Value::parse(self.data().as_bytes()).ok()?;
        let diagnostics = Diagnostics::default();
        let list = read(&ConfigNode::root(&document, &diagnostics));
        diagnostics.into_result(list).ok()
    }

    /// The list as a DENY policy with a rule for each tool, and its version.
    ///
    /// `None` if the file is broken, which the tests rule out.
    pub(crate) fn policy(self) -> Option<(AuthorizationPolicy, u64)> {
        let (version, tools) = self.tools()?;
        let (rule_names, rules) = tools
            .into_iter()
            .map(|Tool { name, pattern, .. }| {
                let values = FieldValues::shared(GlobHeader { name: HeaderName::user_agent() }, vec![pattern]);
                (name, vec![vec![Predicate::among(values)]])
            })
            .unzip();
        let name = PolicyName::of_preset(self.name(), version);
        Some((
            AuthorizationPolicy {
                name,
                mode: EnforcementMode::Enforce,
                action: Action::Deny,
                provider: None,
                target: Target::All,
                rules,
                rule_names,
            },
            version,
        ))
    }
}

/// Tool of a list: its name, the text by which it is known, and the pattern that finds it.
struct Tool {
    name: String,
    text: String,
    pattern: HeaderGlob,
}

/// `{version, tools: [{tool, contains | word | begins, why}]}`: the tool's name for details and counters; what its user
/// agent contains, which word stands in it with no letter beside it, or how it begins; and why it is in the list.
fn read(node: &ConfigNode<'_>) -> Option<(u64, Vec<Tool>)> {
    let list = node.object()?;
    let version = list.required("version", "count the list's versions").and_then(|node| node.whole_number(1, u64::MAX));
    let mut tools = Vec::new();
    for item in list.required("tools", "list the tools")?.non_empty_list(MAX_TOOLS, "of a list without tools")? {
        let tool = item.object()?;
        let name = tool.required("tool", "name the tool")?.non_empty_str()?.to_owned();
        tool.required("why", "say why it is here")?.non_empty_str()?;
        let text = |key| tool.optional(key).map(|node| node.non_empty_str().map(str::to_owned));
        let (text, pattern) = match (text("contains"), text("word"), text("begins")) {
            (Some(Some(text)), None, None) => (text.clone(), HeaderGlob::parse_glob(&format!("*{text}*")).ok()?),
            (None, Some(Some(text)), None) => (text.clone(), HeaderGlob::word(&text)),
            (None, None, Some(Some(text))) => (text.clone(), HeaderGlob::parse_glob(&format!("{text}*")).ok()?),
            _ => {
                item.error("needs one of contains, word and begins");
                return None;
            }
        };
        tool.finish();
        tools.push(Tool { name, text, pattern });
    }
    list.finish();
    Some((version?, tools))
}

#[cfg(test)]
mod tests {
    use std::any::Any;

    use super::*;
    use crate::authz::engine::rule::Dnf;
    use crate::linear_reading::Matches;

    #[test]
    fn the_lists_are_well_formed_and_name_each_tool_once() {
        let mut tools = Vec::new();
        for (preset, least) in [(Preset::Scanners, 100), (Preset::ScanServices, 20)] {
            let (policy, version) = preset.policy().expect("a list");
            assert!(version >= 1);
            assert!(policy.rule_names.len() > least, "{} tools", policy.rule_names.len());
            tools.extend(policy.rule_names);
        }
        for (number, tool) in tools.iter().enumerate() {
            assert!(!tools[..number].contains(tool), "{tool} stands twice");
            assert!(
                tool.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
                "{tool}"
            );
        }
    }

    fn patterns(rule: &Dnf) -> &[HeaderGlob] {
        let values: &dyn Any = &*rule[0][0].values;
        &values.downcast_ref::<FieldValues<GlobHeader>>().expect("a header").patterns
    }

    #[test]
    fn no_pattern_is_a_word_of_ordinary_clients() {
        let rules = Preset::NAMES.map(|(_, preset)| preset.policy().expect("a list").0.rules).concat();
        assert!(rules.len() > 120);
        for rule in &rules {
            let patterns = patterns(rule);
            assert_eq!(patterns.len(), 1);
            for word in [
                "bot",
                "java",
                "curl",
                "python",
                "vega",
                "spider",
                "crawler",
                "scan",
                "test",
                "libwww",
                "go-http-client",
                "okhttp",
                "paros",
                "panoptic",
                "tsunami",
                "securityagent",
                "user-agent",
                "3bfac9",
                "sustenable",
                "whatsappspider",
                "kantinja",
            ] {
                assert!(!patterns[0].matches(word.as_bytes()), "{} matches {word}", patterns[0]);
            }
        }
    }
}
