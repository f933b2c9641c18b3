//! Patterns for paths, and each reading of them.

use std::fmt;

use crate::attributes::readings::path::{self, Ends, spelling};
use crate::matcher::path_template::{PathTemplate, SegmentBytes};
use crate::matcher::readings_index::ReadPattern;
use crate::matcher::string_pattern::StringPattern;

/// The most segments of a template.
const MAX_SEGMENTS: usize = 100;

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
            let rest = text.trim_start_matches(['^', '/']);
            return Err(format!("bad path `{text}`: paths start with a slash, write `/{rest}`"));
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
            let segments = segments_of_any_reading(&spelled);
            if segments > MAX_SEGMENTS {
                return Err(format!("bad path: it has {segments} segments, the limit of a template is {MAX_SEGMENTS}"));
            }
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
    pub(super) fn read(&self, number: u8) -> ReadPattern<Self> {
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
    pub(super) fn is_plain(&self) -> bool {
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

/// A pattern in the spelling of [`spelling::one_spelling`], with `\` as `/` and without runs of slashes.
fn one_spelling(text: &str) -> String {
    let mut spelled = Vec::with_capacity(text.len());
    for (at, segment) in text.split(['/', '\\']).enumerate() {
        if at > 0 {
            spelled.push(b'/');
        }
        match PathTemplate::is_meant(segment) {
            true => spelled.extend_from_slice(segment.as_bytes()),
            false => spelled.extend_from_slice(&spelling::one_spelling(segment.as_bytes()).0),
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

/// The most segments that a template has in any reading, in which encoded slashes separate them too.
fn segments_of_any_reading(spelled: &str) -> usize {
    ["/", "%2F", "%5C"].iter().map(|separator| spelled.matches(separator).count()).sum()
}

/// Reports whether a prefix ends inside a percent-encoded byte.
fn cuts_an_encoding(prefix: &[u8]) -> bool {
    matches!(prefix, [.., b'%'] | [.., b'%', b'0'..=b'9' | b'A'..=b'F' | b'a'..=b'f'])
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
    fn a_template_has_a_hundred_segments_at_most() {
        assert_eq!(refusal(&format!("/{{*}}{}", "/a".repeat(99))), None);
        for text in [format!("/{{*}}{}", "/a".repeat(100)), format!("/{{*}}{}", "%2Fa".repeat(100))] {
            let message = "bad path: it has 101 segments, the limit of a template is 100";
            assert_eq!(refusal(&text).as_deref(), Some(message));
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
