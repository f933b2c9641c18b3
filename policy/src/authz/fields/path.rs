//! `operation.paths`: the path without query and fragment.

use std::fmt;

use crate::attributes::request::without_query;
use crate::matcher::path_template::{PathTemplate, SegmentBytes};
use crate::matcher::path_template_index::TemplateIndex;
use crate::matcher::string_index::StringIndex;
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
    /// Parses a path; `bytes` says what the operators of a template stand for. Refuses a star that Istio would take
    /// literally.
    pub(crate) fn parse(text: &str, bytes: SegmentBytes) -> Result<Self, String> {
        if PathTemplate::is_meant(text) {
            return PathTemplate::parse(text, bytes)
                .map(Self::Template)
                .map_err(|problem| format!("bad path: {problem}"));
        }
        if text.contains(['?', '#']) {
            return Err(format!(
                "bad path `{text}`: paths are compared without query and fragment, so this never matches"
            ));
        }
        if !text.starts_with(['/', '*']) {
            return Err(format!("bad path `{text}`: paths start with a slash, write `/{text}`"));
        }
        if let Some(wrong) = text.chars().find(|character| character.is_whitespace() || character.is_control()) {
            return Err(format!("bad path `{text}`: no path contains `{}`", wrong.escape_default()));
        }
        if text.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(format!(
                "bad path `{text}`: a path that Envoy has normalised has no `.` and `..`, write what is left"
            ));
        }
        match StringPattern::new(text) {
            StringPattern::Any => Ok(Self::NotEmpty),
            StringPattern::Glob(_) => {
                let template: Vec<_> =
                    text.split('/').map(|segment| if segment == "*" { "{*}" } else { segment }).collect();
                let template = template.join("/");
                match PathTemplate::parse(&template, bytes) {
                    Ok(_) => Err(format!(
                        "bad path `{text}`: a star inside is taken literally and never matches, write `{template}`"
                    )),
                    Err(_) => Err(format!(
                        "bad path `{text}`: a star stands at the start or at the end only; use {{*}} for one segment and {{**}} for any number"
                    )),
                }
            }
            pattern => Ok(Self::Text(pattern)),
        }
    }

    /// Where it is, in words: under a folder, or at a path.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Text(StringPattern::Prefix(prefix)) if prefix.ends_with(b"/") => {
                format!("under {}", String::from_utf8_lossy(prefix))
            }
            other => format!("at {other}"),
        }
    }

    #[cfg(test)]
    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        let path = without_query(path);
        match self {
            Self::NotEmpty => !path.is_empty(),
            Self::Text(text) => text.matches(path),
            Self::Template(template) => template.matches(path),
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

/// The patterns of this field, looked up by value.
pub(crate) struct Index {
    not_empty: Option<ValueId>,
    text: StringIndex,
    /// One for each kind of bytes that operators stand for, where there is any.
    templates: Vec<TemplateIndex>,
}

impl Index {
    pub(crate) fn new(patterns: impl Iterator<Item = (PathPattern, ValueId)>) -> Self {
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

    /// Those that are texts.
    pub(crate) fn texts(&self) -> &StringIndex {
        &self.text
    }

    pub(crate) fn lookup(&self, path: Option<&[u8]>, matched: &mut Matched) {
        let Some(path) = path.map(without_query) else { return };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_and_fragment_do_not_count() {
        let pattern = PathPattern::parse("/a", SegmentBytes::Any);
        for (path, expected) in
            [("/a", true), ("/a?b", true), ("/a#b", true), ("/a?b#c", true), ("/ab", false), ("/b?/a", false)]
        {
            assert_eq!(pattern.as_ref().map(|pattern| pattern.matches(path.as_bytes())), Ok(expected), "{path}");
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
            ("/a?b=c", "bad path `/a?b=c`: paths are compared without query and fragment, so this never matches"),
        ];
        for (text, message) in rows {
            assert_eq!(PathPattern::parse(text, SegmentBytes::Any).err().as_deref(), Some(message));
        }
    }
}
