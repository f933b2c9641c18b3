//! The globs that a simple regular expression was likely meant as.

use crate::matcher::regular_expression::value_kind::ValueKind;

/// The most alternatives that are written out.
const MAX_ALTERNATIVES: usize = 4;

/// Returns the globs that match what a regular expression does, or more; `None` for one that has no such globs.
pub fn globs_of_regex(text: &str, kind: ValueKind) -> Option<Vec<String>> {
    let text = text.strip_prefix('^').unwrap_or(text);
    let text = text.strip_suffix('$').unwrap_or(text);
    let alternatives = alternatives(text)?;
    let globs = alternatives.iter().map(|text| glob(text, kind)).collect::<Option<Vec<_>>>()?;
    (globs.len() <= MAX_ALTERNATIVES).then_some(globs)
}

/// Writes out the alternatives of the only group, or of a text without one.
fn alternatives(text: &str) -> Option<Vec<String>> {
    let Some((before, rest)) = text.split_once('(') else {
        return Some(text.split('|').map(str::to_owned).collect());
    };
    let (group, after) = rest.split_once(')')?;
    let is_plain =
        !before.contains(['|', ')']) && !after.contains(['|', '(', ')']) && !after.starts_with(['?', '*', '+', '{']);
    let group = group.strip_prefix("?:").unwrap_or(group);
    (is_plain && !group.contains(['(', '?']))
        .then(|| group.split('|').map(|one| format!("{before}{one}{after}")).collect())
}

/// Writes a star for each class and each repetition of any character. `None` where something else is left.
fn glob(regex: &str, kind: ValueKind) -> Option<String> {
    let mut glob = String::new();
    let mut rest = regex.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\\' => match rest.next()? {
                'd' | 'D' | 's' | 'S' | 'w' | 'W' => {}
                escaped if escaped.is_ascii_alphanumeric() => return None,
                escaped => {
                    glob.push(escaped);
                    continue;
                }
            },
            '[' => {
                let class: String = rest.by_ref().take_while(|next| *next != ']').collect();
                let repeats = rest.peek().is_some_and(|next| matches!(next, '+' | '*'));
                if kind == ValueKind::UserAgent && !repeats && !class.starts_with('^') && !class.contains('\\') {
                    glob.push_str(&format!("[{class}]"));
                    continue;
                }
            }
            '.' if rest.peek().is_some_and(|next| matches!(next, '+' | '*')) => {}
            '(' | ')' | '{' | '}' | '^' | '$' | '?' | '+' => return None,
            plain => {
                glob.push(plain);
                continue;
            }
        }
        // A class, or any character, alone or repeated.
        if rest.next_if(|next| matches!(next, '+' | '*')).is_none() && rest.peek() == Some(&'{') {
            return None;
        }
        if !glob.ends_with('*') {
            glob.push('*');
        }
    }
    let inside = glob.trim_matches('*');
    match kind {
        _ if glob.is_empty() => None,
        ValueKind::UserAgent => Some(glob),
        ValueKind::Path if inside.contains('*') => template(&glob),
        _ if inside.contains('*') || glob.starts_with('*') && glob.ends_with('*') && !inside.is_empty() => None,
        _ => Some(glob),
    }
}

/// Writes a path with stars inside as a template, if each is a whole segment.
fn template(glob: &str) -> Option<String> {
    let last = glob.split('/').count().saturating_sub(1);
    let segment = |(number, text): (usize, &str)| match text {
        "*" if number == last => Some("{**}".to_owned()),
        "*" => Some("{*}".to_owned()),
        _ if text.contains('*') => None,
        _ => Some(text.to_owned()),
    };
    Some(glob.split('/').enumerate().map(segment).collect::<Option<Vec<_>>>()?.join("/"))
}
