//! `operation.paths`: the path without query and fragment.

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

use crate::attributes::readings::path::{self, Ends, MAX_COMPARED, PathReadings};
use crate::attributes::request::{PseudoHeader, Request, without_query};
use crate::attributes::wording::describe_reading;
use crate::authz::engine::field::{AnyFieldValues, FieldIndex, FieldValues, MatchField, Phrase};
use crate::authz::fields::reader::{FieldContext, FieldReader};
use crate::collections::sort::sort_by;
use crate::config::reader::ConfigNode;
use crate::config::string_list::read_values;
use crate::identity::error::EvalError;
use crate::matcher::field_match::FieldMatch;
use crate::matcher::path_template::{PathTemplate, SegmentBytes};
use crate::matcher::path_template_index::TemplateIndex;
use crate::matcher::readings_index::{ReadPattern, ReadingsIndex, ValueIndex, ValueList};
use crate::matcher::string_index::{LiteralPrefix, StringIndex};
use crate::matcher::string_pattern::StringPattern;
use crate::matcher::value_ids::{Matched, ValueId};

/// A pattern for paths, with regard to case: exact, `prefix*`, `*suffix`, `*` for any that is not empty, or a
/// template with `{*}` and `{**}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PathPattern {
    NotEmpty,
    Text(StringPattern),
    Template(PathTemplate),
}

impl PathPattern {
    /// Parses a path and brings it into the one spelling that requests are compared in; `bytes` says what the operators
    /// of a template stand for. Refuses what never matches, such as a star that Istio would take literally.
    pub(crate) fn parse(text: &str, bytes: SegmentBytes) -> Result<Self, String> {
        let is_template = PathTemplate::is_meant(text);
        if !is_template && text.contains(['?', '#']) {
            return Err(format!(
                "bad path `{text}`: paths are compared without query and fragment, so this never matches"
            ));
        }
        if !is_template && !text.starts_with(['/', '*', '\\']) {
            return Err(format!("bad path `{text}`: paths start with a slash, write `/{text}`"));
        }
        if let Some(wrong) = no_part_of_a_path(text) {
            return Err(format!("bad path `{}`: no path contains `{}`", text.escape_debug(), wrong.escape_default()));
        }
        let spelled = one_spelling(text);
        if spelled.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(format!(
                "bad path `{text}`: a path that Envoy has normalised has no `.` and `..`, write what is left"
            ));
        }
        if is_template {
            return PathTemplate::parse(&spelled, bytes)
                .map(Self::Template)
                .map_err(|problem| format!("bad path: {problem}"));
        }
        // Istio's prefix, and a shell-style double star.
        let spelled = spelled.strip_suffix('*').filter(|prefix| prefix.ends_with("/*")).unwrap_or(&spelled);
        match StringPattern::new(spelled) {
            StringPattern::Any => Ok(Self::NotEmpty),
            StringPattern::Glob(_) => Err(star_inside(text, bytes)),
            StringPattern::Prefix(prefix) if cuts_an_encoding(&prefix) => Err(format!(
                "bad path `{text}`: the star cuts an encoded character in two, write all three characters of it, as in `/a%2F*`"
            )),
            pattern => Ok(Self::Text(pattern)),
        }
    }

    /// Applies reading `number` to the pattern.
    fn read(&self, number: u8) -> ReadPattern<Self> {
        if let Self::Text(StringPattern::Prefix(prefix)) = self
            && path::ends_in_parameter(number, prefix)
        {
            // The star is part of the parameter, which ends the path or is followed by a slash.
            let exact = Self::Text(StringPattern::Exact(prefix.clone()));
            let under = Self::Text(StringPattern::Prefix([prefix, b"/".as_slice()].concat().into()));
            return ReadPattern::Others(
                [exact, under].iter().filter_map(|pattern| pattern.read_text(number)).collect(),
            );
        }
        match self.read_text(number) {
            Some(read) if read == *self => ReadPattern::Same,
            read => ReadPattern::Others(read.into_iter().collect()),
        }
    }

    /// Applies reading `number` to the literal text of the pattern; `None` if the result can never match.
    fn read_text(&self, number: u8) -> Option<Self> {
        let read = |text: &[u8], open_start, open_end| path::read(number, text, Ends { open_start, open_end });
        match self {
            Self::Text(StringPattern::Exact(text)) => {
                read(text, false, false).map(|read| Self::Text(StringPattern::Exact(read.into())))
            }
            Self::Text(StringPattern::Prefix(text)) => {
                read(text, false, true).map(|read| Self::Text(StringPattern::Prefix(read.into())))
            }
            Self::Text(StringPattern::Suffix(text)) => {
                read(text, true, false).map(|read| Self::Text(StringPattern::Suffix(read.into())))
            }
            Self::NotEmpty | Self::Text(_) => Some(self.clone()),
            Self::Template(template) => {
                let text = String::from_utf8(read(template.to_string().as_bytes(), false, false)?).ok()?;
                PathTemplate::parse(&text, template.bytes).ok().map(Self::Template)
            }
        }
    }

    /// Reports whether every reading leaves the pattern unchanged.
    fn is_plain(&self) -> bool {
        match self {
            Self::NotEmpty => true,
            Self::Text(StringPattern::Exact(text) | StringPattern::Prefix(text) | StringPattern::Suffix(text)) => {
                path::is_plain(text)
            }
            Self::Text(_) => false,
            Self::Template(template) => path::is_plain(template.to_string().replace(['{', '}', '*'], "").as_bytes()),
        }
    }

    /// The pattern in words: `under /orders/` or `at /orders`.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Text(StringPattern::Prefix(prefix)) if prefix.ends_with(b"/") => {
                format!("under {}", String::from_utf8_lossy(prefix))
            }
            other => format!("at {other}"),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotEmpty => f.write_str("*"),
            Self::Text(text) => text.fmt(f),
            Self::Template(template) => template.fmt(f),
        }
    }
}

/// The character of a pattern that no path contains, if there is one. Blanks inside are encoded; one at the end is there
/// by mistake.
fn no_part_of_a_path(text: &str) -> Option<char> {
    let last = text.chars().next_back().filter(|last| last.is_whitespace());
    text.chars().find(|character| character.is_control()).or(last)
}

/// A pattern in the spelling of [`path::one_spelling`], with `\` as `/` and without runs of slashes.
fn one_spelling(text: &str) -> String {
    let mut spelled = Vec::with_capacity(text.len());
    for (at, segment) in text.split(['/', '\\']).enumerate() {
        if at > 0 {
            spelled.push(b'/');
        }
        match PathTemplate::is_meant(segment) {
            true => spelled.extend_from_slice(segment.as_bytes()),
            false => spelled.extend_from_slice(&path::one_spelling(segment.as_bytes()).0),
        }
    }
    path::slashes_merged(&mut spelled);
    String::from_utf8_lossy(&spelled).into_owned()
}

fn star_inside(text: &str, bytes: SegmentBytes) -> String {
    let template: Vec<_> = text.split('/').map(|segment| if segment == "*" { "{*}" } else { segment }).collect();
    let template = template.join("/");
    match PathTemplate::parse(&template, bytes) {
        Ok(_) => format!("bad path `{text}`: a star inside is taken literally and never matches, write `{template}`"),
        Err(_) => format!(
            "bad path `{text}`: a star stands at the start or at the end only; use {{*}} for one segment and {{**}} for any number"
        ),
    }
}

/// Reports whether a prefix ends inside a percent-encoded byte.
fn cuts_an_encoding(prefix: &[u8]) -> bool {
    matches!(prefix, [.., b'%'] | [.., b'%', b'0'..=b'9' | b'A'..=b'F' | b'a'..=b'f'])
}

/// The patterns of this field, looked up by path.
pub(crate) struct Index {
    made: PathReadings,
    patterns: ReadingsIndex<Patterns>,
    /// Templates of Envoy's class, in order: no byte that has to be encoded is of it.
    of_envoys_class: Vec<ValueId>,
}

impl Index {
    pub(crate) fn new(patterns: impl Iterator<Item = (PathPattern, ValueId)>, made: PathReadings) -> Self {
        let patterns: Vec<_> = patterns.collect();
        let is_of_envoys_class = |pattern: &PathPattern| matches!(pattern, PathPattern::Template(template) if template.bytes == SegmentBytes::Envoy);
        let templates = patterns.iter().filter(|(pattern, _)| is_of_envoys_class(pattern));
        let mut of_envoys_class: Vec<_> = templates.map(|(_, id)| *id).collect();
        sort_by(&mut of_envoys_class, Ord::cmp);
        let read = |number, pattern: &PathPattern| pattern.read(number);
        let patterns = ReadingsIndex::new(patterns, made.numbers(), PathPattern::is_plain, read);
        Self { made, patterns, of_envoys_class }
    }

    pub(crate) fn lookup(&self, path: Option<&[u8]>, found: &mut FieldMatch) {
        let Some(path) = path.map(without_query) else { return };
        match path::is_plain(path) {
            true => self.patterns.written().lookup(path, &mut found.any),
            false => self.lookup_readings(path, found),
        }
    }

    /// Describes the reading of `path` that decides whether a list matches; `None` if the original path decides.
    pub(crate) fn deciding_reading(&self, path: &[u8], list: &ValueList<'_>, has_template: bool) -> Option<String> {
        let path = without_query(path);
        if path::is_too_long(path, self.made) {
            return Some(format!(
                "the path can be read in several ways and is not compared, since it has more than {MAX_COMPARED} bytes"
            ));
        }
        let (path, _) = path::one_spelling(path);
        let readings = path::readings(&path, self.made);
        let (number, reading) = self.patterns.deciding(&path, &readings, list)?;
        Some(describe_reading("path", reading, &PathReadings::remedy(*number, has_template)))
    }

    #[cold]
    #[inline(never)]
    fn lookup_readings(&self, path: &[u8], found: &mut FieldMatch) {
        if path::is_too_long(path, self.made) {
            found.uncompared = true;
            return;
        }
        let (path, encoded) = path::one_spelling(path);
        self.patterns.lookup(&path, &path::readings(&path, self.made), found);
        if encoded && !self.of_envoys_class.is_empty() {
            for matched in found.each.iter_mut().chain([&mut found.any]) {
                matched.retain(|id| self.of_envoys_class.binary_search(id).is_err());
            }
        }
    }
}

/// The patterns of one reading.
struct Patterns {
    not_empty: Option<ValueId>,
    text: StringIndex,
    /// Template indexes, one for each class of segment bytes in use.
    templates: Vec<TemplateIndex>,
}

impl ValueIndex for Patterns {
    type Pattern = PathPattern;

    fn build(patterns: Vec<(PathPattern, ValueId)>) -> Self {
        let (mut not_empty, mut texts, mut envoy, mut any) = (None, Vec::new(), Vec::new(), Vec::new());
        for (pattern, id) in patterns {
            match pattern {
                PathPattern::NotEmpty => not_empty = Some(id),
                PathPattern::Text(text) => texts.push((text, id)),
                PathPattern::Template(template) if template.bytes == SegmentBytes::Envoy => envoy.push((template, id)),
                PathPattern::Template(template) => any.push((template, id)),
            }
        }
        let listed = [(SegmentBytes::Envoy, envoy), (SegmentBytes::Any, any)];
        let templates = listed
            .into_iter()
            .filter(|(_, templates)| !templates.is_empty())
            .map(|(bytes, templates)| TemplateIndex::new(bytes, templates.into_iter()))
            .collect();
        Self { not_empty, text: StringIndex::new(texts), templates }
    }

    fn lookup(&self, path: &[u8], matched: &mut Matched) {
        if let Some(id) = self.not_empty
            && !path.is_empty()
        {
            matched.push(id);
        }
        self.text.lookup(path, matched);
        for templates in &self.templates {
            templates.lookup(path, matched);
        }
    }
}

impl FieldIndex for Index {
    fn has_several_readings(&self, request: &mut dyn Request) -> bool {
        request.path().ok().flatten().is_some_and(|path| !path::is_plain(without_query(path)))
    }

    fn describe_reading(&self, request: &mut dyn Request, list: &ValueList<'_>, has_template: bool) -> Option<String> {
        self.deciding_reading(request.path().ok()??, list, has_template)
    }

    fn lookup(&self, request: &mut dyn Request, found: &mut FieldMatch) -> Result<(), EvalError> {
        Index::lookup(self, request.path()?, found);
        Ok(())
    }

    fn pseudo_header(&self) -> Option<PseudoHeader> {
        Some(PseudoHeader::Path)
    }

    fn literal_prefix(&self, value: ValueId) -> Option<LiteralPrefix<'_>> {
        self.patterns.written().text.literal_prefix(value)
    }
}

/// The path of the request, without query and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    readings: PathReadings,
}

impl MatchField for Path {
    type Pattern = PathPattern;

    const RANK: u8 = 32;
    const REQUEST_HEADER: bool = true;
    const PHRASE: Phrase = Phrase::Path;

    fn subject(&self) -> Cow<'static, str> {
        // Its values say where they are.
        "".into()
    }

    fn http_key(&self) -> Option<String> {
        Some("paths".to_owned())
    }

    fn describe(pattern: &PathPattern) -> String {
        pattern.describe()
    }

    fn index(self, patterns: Vec<(PathPattern, ValueId)>) -> Box<dyn FieldIndex> {
        Box::new(Index::new(patterns.into_iter(), self.readings))
    }
}

/// `operation.paths` and `operation.notPaths`.
pub(crate) const OPERATION: FieldReader = FieldReader { keys: ["paths", "notPaths"], read };

fn read(node: &ConfigNode<'_>, context: &FieldContext<'_>) -> Option<Rc<dyn AnyFieldValues>> {
    let patterns = read_values(node, |text| PathPattern::parse(text, context.operators))?;
    Some(FieldValues::shared(Path { readings: context.path_readings }, patterns))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> Option<String> {
        PathPattern::parse(text, SegmentBytes::Any).err()
    }

    #[test]
    fn what_no_request_has_is_brought_into_the_spelling_that_it_has() {
        let rows = [
            ("/caf\u{e9}", "/caf%C3%A9"),
            ("/caf%c3%a9/*", "/caf%C3%A9/*"),
            ("/a|b", "/a%7Cb"),
            ("/%61dmin", "/admin"),
            ("/a%7Eb", "/a~b"),
            ("/a\\b", "/a/b"),
            ("\\admin", "/admin"),
            ("/a//b", "/a/b"),
            ("*//b", "*/b"),
            ("/a b", "/a%20b"),
            ("/a%2fb", "/a%2Fb"),
            ("/a/**", "/a/*"),
            ("/caf\u{e9}//{*}/%61/{**}", "/caf%C3%A9/{*}/a/{**}"),
        ];
        for (text, expected) in rows {
            let pattern = PathPattern::parse(text, SegmentBytes::Any).map(|pattern| pattern.to_string());
            assert_eq!(pattern.as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_refused_says_what_to_write() {
        let rows = [
            ("/a/*/b", "bad path `/a/*/b`: a star inside is taken literally and never matches, write `/a/{*}/b`"),
            (
                "*admin*",
                "bad path `*admin*`: a star stands at the start or at the end only; use {*} for one segment and {**} for any number",
            ),
            ("/admin ", "bad path `/admin `: no path contains ` `"),
            ("/a/../b", "bad path `/a/../b`: a path that Envoy has normalised has no `.` and `..`, write what is left"),
            ("admin", "bad path `admin`: paths start with a slash, write `/admin`"),
            (
                "/a/%2e%2e/b",
                "bad path `/a/%2e%2e/b`: a path that Envoy has normalised has no `.` and `..`, write what is left",
            ),
            (
                "/a/./{*}",
                "bad path `/a/./{*}`: a path that Envoy has normalised has no `.` and `..`, write what is left",
            ),
            (
                "/a%2*",
                "bad path `/a%2*`: the star cuts an encoded character in two, write all three characters of it, as in `/a%2F*`",
            ),
            ("/a\n", "bad path `/a\\n`: no path contains `\\n`"),
            ("/a?b=c", "bad path `/a?b=c`: paths are compared without query and fragment, so this never matches"),
        ];
        for (text, message) in rows {
            assert_eq!(refusal(text).as_deref(), Some(message));
        }
    }
}
