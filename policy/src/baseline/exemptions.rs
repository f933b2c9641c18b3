//! `exempt`: clients and paths that are never denied.

use crate::attributes::names::USER_AGENT;
use crate::attributes::readings::header::trimmed;
use crate::attributes::readings::path::PathReadings;
use crate::attributes::request::Request;
use crate::attributes::steps::steps_left;
use crate::authz::engine::field_set::MAX_SHORT_PATTERNS;
use crate::authz::fields::header::has_too_many;
use crate::authz::fields::path::Index as PathIndex;
use crate::authz::fields::path::pattern::PathPattern;
use crate::baseline::header_field::{HeaderGlob, ListElementIndex};
use crate::config::reader::{ConfigNode, Object};
use crate::identity::error::AttributeError;
use crate::matcher::clause::Quantifier;
use crate::matcher::field_match::FieldMatch;
use crate::matcher::path_template::SegmentBytes;
use crate::matcher::readings_index::ValueList;
use crate::matcher::regular_expression::{ValueKind, looks_like_regex};
use crate::matcher::value_ids::{Matched, ValueId};

/// The most values of a list.
const MAX_ITEMS: usize = 100_000;

/// User agents and paths that beat every denial.
pub(crate) struct Exemptions {
    user_agents: ListElementIndex,
    paths: PathIndex,
    /// True if the decision needs the path.
    any_path: bool,
    any_user_agent: bool,
    /// User agents that look like regular expressions.
    like_regex: Vec<String>,
}

impl Exemptions {
    pub(crate) fn read(node: &ConfigNode<'_>, path_readings: PathReadings) -> Option<Self> {
        let object = node.object()?;
        let agents = patterns(&object, "userAgents", parse_agent);
        // An exemption allows, so templates match as in an ALLOW.
        let paths = patterns(&object, "paths", parse_path);
        object.finish();
        let (agents, paths) = (agents?, paths?);
        let short = agents.iter().filter(|(pattern, _)| pattern.is_short()).count();
        if short > MAX_SHORT_PATTERNS {
            node.error(format!(
                "{short} of userAgents have no literal of three bytes, the limit is {MAX_SHORT_PATTERNS}; write more of what they look for"
            ));
            return None;
        }
        let texts = agents.iter().map(|(pattern, _)| pattern.to_string());
        let like_regex = texts.filter(|text| looks_like_regex(text, ValueKind::UserAgent)).collect();
        let (any_path, any_user_agent) = (!paths.is_empty(), !agents.is_empty());
        let user_agents = ListElementIndex::new(agents.into_iter());
        let paths = PathIndex::new(paths.into_iter(), path_readings);
        Some(Self { user_agents, paths, any_path, any_user_agent, like_regex })
    }

    /// Returns the user agents that look like regular expressions.
    pub(crate) fn like_regex(&self) -> &[String] {
        &self.like_regex
    }

    /// Describes the reading of the path by which a request is not exempt, if its original path is.
    pub(crate) fn describe_reading(&self, request: &mut dyn Request) -> Option<String> {
        if !self.any_path {
            return None;
        }
        let path = request.path().ok()??;
        let list = ValueList { of: Quantifier::All, meets: &|matched| !matched.is_empty() };
        self.paths.deciding_reading(path, &list, false)
    }

    /// Reports whether a client of this name is exempt, with a version behind it or without.
    pub(crate) fn names(&self, tool: &str) -> bool {
        let is_exempt = |agent: &str| self.user_agents.matches_whole(agent.as_bytes(), &mut Matched::new());
        self.any_user_agent && (is_exempt(tool) || is_exempt(&format!("{tool}/1.0")))
    }

    /// Reports whether a request is exempt. One that takes too many steps to compare is not.
    pub(crate) fn hold(&self, request: &mut dyn Request) -> Result<bool, AttributeError> {
        let mut counted = Matched::with_steps(steps_left(request));
        if counted.is_exhausted() {
            return Ok(false);
        }
        if self.any_path {
            let mut found = FieldMatch { any: counted.others(), ..FieldMatch::default() };
            self.paths.lookup(request.path()?, &mut found);
            // Every reading of the path has to be exempt.
            if !found.any.is_empty() && !found.each.iter().any(|matched| matched.is_empty()) {
                return Ok(!found.any.is_exhausted());
            }
            counted.continue_after(&found.any);
        }
        if !self.any_user_agent {
            return Ok(false);
        }
        // Every header has to be exempt, so that adding an exempt header does not help.
        let values = request.header(USER_AGENT)?;
        if has_too_many(&values) {
            return Ok(false);
        }
        let mut headers = values.iter().flat_map(|value| joined_headers(trimmed(value))).peekable();
        Ok(headers.peek().is_some() && headers.all(|header| self.user_agents.matches_whole(header, &mut counted)))
    }
}

/// Parses an exempt user agent. Refuses one of `*` and `?` alone.
fn parse_agent(text: &str) -> Result<HeaderGlob, String> {
    match text.contains('*') && text.chars().all(|character| matches!(character, '*' | '?')) {
        true => Err(format!(
            "`{text}` exempts every client, so no denial is left; write the user agents that are meant, as in `acme-probe/*`"
        )),
        false => HeaderGlob::parse_glob(text),
    }
}

/// Parses an exempt path. Refuses one that every path matches.
fn parse_path(text: &str) -> Result<PathPattern, String> {
    match matches!(text, "*" | "**" | "/*" | "/**" | "/{**}") {
        true => Err(format!(
            "`{text}` exempts every path, so no denial is left; write the paths that are meant, as in `/.well-known/*`"
        )),
        false => PathPattern::parse(text, SegmentBytes::Envoy),
    }
}

/// The headers that Envoy has joined into one value: it puts a comma and no blank between them, while the commas inside
/// a user agent are followed by one.
fn joined_headers(value: &[u8]) -> Vec<&[u8]> {
    let mut headers = Vec::new();
    let mut start = 0;
    for (at, byte) in value.iter().enumerate() {
        let blank_follows = value.get(at + 1).is_some_and(|next| matches!(next, b' ' | b'\t'));
        if *byte == b',' && !blank_follows {
            headers.push(value.get(start..at).unwrap_or_default());
            start = at + 1;
        }
    }
    headers.push(value.get(start..).unwrap_or_default());
    headers
}

pub(super) fn patterns<P>(
    object: &Object<'_>,
    key: &'static str,
    parse: impl Fn(&str) -> Result<P, String>,
) -> Option<Vec<(P, ValueId)>> {
    let Some(node) = object.optional(key) else { return Some(Vec::new()) };
    let mut patterns = Vec::new();
    let mut complete = true;
    for (number, item) in (0..).zip(node.items_up_to(MAX_ITEMS)?) {
        match item.non_empty_str().map(&parse) {
            Some(Ok(pattern)) => patterns.push((pattern, ValueId(number))),
            Some(Err(problem)) => {
                item.error(problem);
                complete = false;
            }
            None => complete = false,
        }
    }
    complete.then_some(patterns)
}
