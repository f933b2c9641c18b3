//! The linear reading of lists of patterns for values that can be read in several ways.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::attributes::request::without_query;
use crate::authz::fields::host::HostPattern;
use crate::authz::fields::method::MethodPattern;
use crate::authz::fields::path::pattern::PathPattern;
use crate::authz::fields::server_name::ServerNamePattern;
use crate::linear_reading::matches::Matches;
use crate::matcher::clause::Quantifier;
use crate::matcher::path_template::{PathTemplate, SegmentBytes};
use crate::matcher::string_pattern::StringPattern;

/// Longest path with several readings that is compared, in bytes.
const MAX_COMPARED_PATH: usize = 8_192;

/// Function that applies a reading to a value or to a pattern.
type Read = Box<dyn Fn(&str) -> String>;

/// Reports whether a list matches a value: the written patterns in any reading, or in every reading the patterns after
/// the same reading.
fn listed<P>(
    patterns: &[P],
    value: &str,
    readings: &[Read],
    of: Quantifier,
    matches: &dyn Fn(&P, Option<&Read>, &str) -> bool,
) -> bool {
    let as_it_came = patterns.iter().any(|pattern| matches(pattern, None, value));
    let mut others = readings.iter().map(|read| (read, read(value))).filter(|(_, reading)| reading != value);
    match of {
        Quantifier::Any => {
            as_it_came || others.any(|(_, reading)| patterns.iter().any(|pattern| matches(pattern, None, &reading)))
        }
        Quantifier::All => {
            let read_likewise =
                |read: &Read, reading: &str| patterns.iter().any(|pattern| matches(pattern, Some(read), reading));
            as_it_came && others.all(|(read, reading)| read_likewise(read, &reading))
        }
    }
}

fn text_matches(pattern: String, read: Option<&Read>, value: &str) -> bool {
    let pattern = read.map_or(pattern.clone(), |read| read(&pattern));
    !pattern.is_empty() && StringPattern::new(&pattern).matches(value.as_bytes())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn methods(patterns: &[MethodPattern], method: &[u8], of: Quantifier) -> bool {
    let capitals: Read = Box::new(str::to_ascii_uppercase);
    listed(patterns, &text(method), &[capitals], of, &|pattern, read, value| {
        text_matches(pattern.to_string(), read, value)
    })
}

pub(crate) fn hosts(patterns: &[HostPattern], host: &[u8], of: Quantifier) -> bool {
    let port = |host: &str| match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') && (!name.contains('[') || name.contains(']')) => name.to_owned(),
        _ => host.to_owned(),
    };
    let readings: [Read; 3] = [Box::new(port), Box::new(without_dot), Box::new(move |host| without_dot(&port(host)))];
    listed(patterns, &text(host).to_ascii_lowercase(), &readings, of, &|pattern, read, value| {
        text_matches(pattern.to_string(), read, value)
    })
}

pub(crate) fn server_names(patterns: &[ServerNamePattern], name: &[u8], of: Quantifier) -> bool {
    let readings: [Read; 1] = [Box::new(without_dot)];
    let name = text(name).to_ascii_lowercase();
    !name.is_empty()
        && listed(patterns, &name, &readings, of, &|pattern, read, value| {
            text_matches(pattern.to_string(), read, value)
        })
}

fn without_dot(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_owned()
}

/// Most lines of a header, and most elements between commas in all of them, that are compared.
const MAX_LINES: usize = 1_024;
const MAX_ELEMENTS: usize = 4_096;

/// Compares the lines of a header as bytes, which need not be UTF-8.
pub(crate) fn header<P: Matches<[u8]>>(patterns: &[P], lines: &[&[u8]], of: Quantifier) -> bool {
    let lines: Vec<&[u8]> = lines.iter().map(|line| without_blanks(line)).collect();
    let listed = |value: &[u8]| patterns.iter().any(|pattern| pattern.matches(value));
    let elements = lines.iter().flat_map(|line| line.split(|byte| *byte == b',')).map(without_blanks);
    let mut elements = elements.filter(|element| !element.is_empty());
    if lines.len() > MAX_LINES || elements.clone().count() > MAX_ELEMENTS {
        return of == Quantifier::Any;
    }
    match of {
        Quantifier::All => !lines.is_empty() && lines.iter().all(|line| listed(line)),
        Quantifier::Any => {
            lines.iter().any(|line| listed(line))
                || (lines.len() > 1 && listed(&lines.join(&b',')))
                || elements.any(listed)
        }
    }
}

fn without_blanks(value: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().take_while(|byte| is_blank(byte)).count();
    let end = value.iter().rev().take_while(|byte| is_blank(byte)).count();
    value.get(start..value.len() - end).unwrap_or_default()
}

pub(crate) fn paths(patterns: &[PathPattern], path: &[u8], of: Quantifier) -> bool {
    let raw = without_query(path);
    let spelled = one_spelling(raw);
    let beyond_envoy = raw.iter().any(|byte| must_be_encoded(*byte));
    let readings: Vec<Read> = if has_several_readings(&spelled) { all_path_readings().collect() } else { Vec::new() };
    if raw.len() > MAX_COMPARED_PATH && !readings.is_empty() {
        return of == Quantifier::Any;
    }
    listed(patterns, &spelled, &readings, of, &|pattern, read, value| {
        let written = pattern.to_string();
        match pattern {
            PathPattern::NotEmpty => !value.is_empty(),
            PathPattern::Template(template) if template.bytes == SegmentBytes::Envoy && beyond_envoy => false,
            PathPattern::Template(template) => {
                let written = read.map_or(written.clone(), |read| read(&written));
                PathTemplate::parse(&written, template.bytes).is_ok_and(|read| read.matches(value.as_bytes()))
            }
            PathPattern::Text(_) => {
                let Some(read) = read else { return StringPattern::new(&written).matches(value.as_bytes()) };
                let as_read = read(&written);
                // A star inside a parameter goes with it: the parameter ends the path, or a slash follows.
                let readings = match written.strip_suffix('*') {
                    Some(start) if !as_read.ends_with('*') => vec![read(start), read(&format!("{start}/*"))],
                    _ => vec![as_read],
                };
                readings.iter().any(|read| StringPattern::new(read).matches(value.as_bytes()))
            }
        }
    })
}

/// Reports whether any reading of a path differs from it. Cached: tests ask about the same few paths again and again.
fn has_several_readings(path: &str) -> bool {
    thread_local!(static KNOWN: RefCell<HashMap<String, bool>> = RefCell::default());
    let find_out = || all_path_readings().any(|read| read(path) != path);
    KNOWN.with_borrow_mut(|known| *known.entry(path.to_owned()).or_insert_with(find_out))
}

fn must_be_encoded(byte: u8) -> bool {
    !(33..127).contains(&byte) || "|\"<>^`{}[]\\".contains(char::from(byte))
}

fn one_spelling(path: &[u8]) -> String {
    let mut spelled = String::new();
    let mut rest = path;
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|digits| *byte == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let decoded = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match decoded {
            Some(byte) if byte.is_ascii_alphanumeric() || "-._~".contains(char::from(byte)) => {
                spelled.push(char::from(byte));
            }
            Some(byte) => spelled.push_str(&format!("%{byte:02X}")),
            None if must_be_encoded(*byte) => spelled.push_str(&format!("%{byte:02X}")),
            None => spelled.push(char::from(*byte)),
        }
        rest = if decoded.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    spelled
}

fn all_path_readings() -> impl Iterator<Item = Read> {
    let separators = |path: &str| path.replace("%2F", "/").replace("%5C", "/");
    let parameters = |path: &str| {
        path.split('/').map(|segment| segment.split(';').next().unwrap_or_default()).collect::<Vec<_>>().join("/")
    };
    let merged = |path: &str| {
        let mut path = path.to_owned();
        while path.contains("//") {
            path = path.replace("//", "/");
        }
        path
    };
    let dots = |path: &str| {
        let mut kept: Vec<&str> = Vec::new();
        let segments: Vec<_> = path.split('/').collect();
        for (at, segment) in segments.iter().enumerate() {
            let last = at + 1 == segments.len();
            match *segment {
                "." | ".." if at > 0 => {
                    match kept.as_mut_slice() {
                        [first] if *segment == ".." => *first = "",
                        [_, ..] if *segment == ".." => drop(kept.pop()),
                        _ => {}
                    }
                    if last {
                        kept.push("");
                    }
                }
                segment => kept.push(segment),
            }
        }
        kept.join("/")
    };
    (0..5).flat_map(move |base| {
        let base = move |path: &str| match base {
            0 => path.to_owned(),
            1 => separators(path),
            2 => parameters(path),
            3 => parameters(&separators(path)),
            _ => separators(&parameters(path)),
        };
        let all: [Read; 3] = [
            Box::new(move |path| dots(&base(path))),
            Box::new(move |path| dots(&merged(&base(path)))),
            Box::new(move |path| merged(&dots(&base(path)))),
        ];
        all
    })
}
