//! Regular expressions where a policy compares texts, and `*` is the one operator, or globs.

mod globs;
mod value_kind;

pub use globs::globs_of_regex;
pub use value_kind::ValueKind;

/// Reports whether a text has a mark of regular expressions that no ordinary value of its kind has.
pub fn looks_like_regex(text: &str, kind: ValueKind) -> bool {
    let is_group = text.contains("(?") || text.split_once('(').is_some_and(|(_, rest)| has_alternatives(rest));
    text.starts_with('^')
        || text.ends_with('$')
        || text.contains("]+")
        || is_group
        || is_alternation(text, kind)
        || has_class(text)
        || any_text(text, kind)
}

/// Reports whether a group that is open has alternatives: `a|b)`.
fn has_alternatives(rest: &str) -> bool {
    rest.split_once(')').is_some_and(|(group, _)| group.contains('|'))
}

/// Reports whether a text is of alternatives without a group. Subjects of tokens can have a `|`.
fn is_alternation(text: &str, kind: ValueKind) -> bool {
    match kind {
        ValueKind::Path => text.contains("|/"),
        ValueKind::Method | ValueKind::UserAgent => text.contains('|'),
        ValueKind::Dotted | ValueKind::Word => false,
    }
}

/// Reports whether a text has an escaped dot or slash, or a class such as `\d` with what ends or repeats it.
fn has_class(text: &str) -> bool {
    text.match_indices('\\').any(|(at, _)| {
        let mut next = text.get(at + 1..).unwrap_or_default().chars();
        match next.next() {
            Some('.') => !matches!(next.next(), None | Some('.' | '/' | '\\')),
            Some('d' | 'D' | 's' | 'S' | 'w' | 'W') => {
                matches!(next.next(), None | Some('+' | '*' | '?' | '{' | '$' | '/' | '.' | ']' | '\\'))
            }
            _ => false,
        }
    })
}

/// Reports whether a text has `.*` or `.+` where an ordinary glob has no dot: after a letter or digit it may be that of a
/// host, a version or a file, as in `curl/8.*`.
fn any_text(text: &str, kind: ValueKind) -> bool {
    text.match_indices(['*', '+']).any(|(at, operator)| {
        let (before, after) = (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default());
        let Some(before) = before.strip_suffix('.') else { return false };
        let repeats = operator == "*" || !after.starts_with(|next: char| next.is_ascii_alphanumeric());
        let is_dot_of_name = match before.chars().next_back() {
            Some(last) if last.is_ascii_digit() => true,
            Some(last) if last.is_alphanumeric() => {
                let is_word = matches!(kind, ValueKind::Word | ValueKind::UserAgent) && !before.contains('.');
                !is_word && (after.is_empty() || kind == ValueKind::Dotted)
            }
            // `*.*` is a name with a dot in it.
            Some('*' | '}') => true,
            _ => false,
        };
        repeats && !is_dot_of_name
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regular_expressions_are_told_from_globs() {
        use ValueKind::{Dotted, Method, Path, UserAgent, Word};
        for (text, kind, globs) in [
            ("badbot/.*", UserAgent, &["badbot/*"][..]),
            ("^badbot/[0-9]+$", UserAgent, &["badbot/*"]),
            ("(badbot|evilbot).*", UserAgent, &["badbot*", "evilbot*"]),
            (r"badbot/\d+", UserAgent, &["badbot/*"]),
            ("legacy-client/[12].*", UserAgent, &["legacy-client/[12]*"]),
            ("sqlmap|nikto", UserAgent, &["sqlmap", "nikto"]),
            (".*sqlmap.*", UserAgent, &["*sqlmap*"]),
            ("badbot.*", UserAgent, &["badbot*"]),
            ("^staff$", Word, &["staff"]),
            ("staff.*", Word, &["staff*"]),
            ("(a|b)", Word, &["a", "b"]),
            ("team-[0-9]+", Word, &["team-*"]),
            ("/admin/.*", Path, &["/admin/*"]),
            ("^/admin(/.*)?$", Path, &[]),
            ("/users/[0-9]+/orders", Path, &["/users/{*}/orders"]),
            (r"/users/\d+/.*", Path, &["/users/{*}/{**}"]),
            ("/(admin|internal)/.*", Path, &["/admin/*", "/internal/*"]),
            ("/a|/b", Path, &["/a", "/b"]),
            (r".*\.example\.com", Dotted, &["*.example.com"]),
            ("spiffe://.*", Dotted, &["spiffe://*"]),
            ("GET|POST", Method, &["GET", "POST"]),
            ("a{2}[b-c]+", Word, &[]),
        ] {
            assert!(looks_like_regex(text, kind), "{text}");
            let expected: Vec<String> = globs.iter().map(|glob| (*glob).to_owned()).collect();
            assert_eq!(globs_of_regex(text, kind).unwrap_or_default(), expected, "{text}");
        }
        for (text, kind) in [
            ("curl/8.*", UserAgent),
            ("com.example.*", UserAgent),
            ("*bot*", UserAgent),
            ("Mozilla/5.0 (X11; Linux x86_64)*", UserAgent),
            ("bot[0-9]*", UserAgent),
            ("app (compatible; +https://example.com)", UserAgent),
            ("auth0|507f1f77", Word),
            ("com.example.*", Word),
            ("application/vnd.api+json", Word),
            ("/.well-known/*", Path),
            ("/static/app.*", Path),
            ("/v1.*", Path),
            ("/a/{*}.json", Path),
            ("/a+b", Path),
            (r"/a\b", Path),
            ("shop.*", Dotted),
            ("[::1]:*", Dotted),
            ("*.example.com", Dotted),
            ("10.0.0.*", Dotted),
            ("https://issuer.example/*", Dotted),
            ("cluster.local/ns/*/sa/web", Dotted),
            ("*", Method),
        ] {
            assert!(!looks_like_regex(text, kind), "{text}");
        }
    }
}
