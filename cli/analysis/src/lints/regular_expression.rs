//! Regular expressions where a policy compares texts and knows `*` alone.

mod globs;

use crate::lints::policy::{Policy, blocks};
use crate::lints::{Lint, Linter};
use crate::source::Span;
use crate::tree::{Entry, Node};

pub(super) const LOOKS_LIKE_REGEX: Lint = Lint {
    code: "looks-like-regex",
    title: "A value looks like a regular expression, and is compared as it stands",
    fix: "write the exact value, a prefix `x*` or a suffix `*x`; `*` stands for any text, `.*` for a dot and any text",
};

pub(super) fn lint(linter: &mut Linter<'_>) {
    let found: Vec<_> = linter.policies.iter().flat_map(of_policy).collect();
    for (span, message, help) in found {
        linter.warn(LOOKS_LIKE_REGEX, span, message, help);
    }
}

/// Finds them in `exempt` of the settings of `baseline-deny`.
pub(super) fn lint_exemptions(linter: &mut Linter<'_>, settings: &Node) {
    let lists = [("userAgents", Kind::UserAgent), ("paths", Kind::Path)];
    let entries = lists.into_iter().filter_map(|(key, kind)| Some((settings.at(&["exempt"])?.entry(key)?, kind)));
    for (span, message, help) in entries.flat_map(|(entry, kind)| of_list(entry, kind)) {
        linter.warn(LOOKS_LIKE_REGEX, span, message, help);
    }
}

/// Kind of a value: what an ordinary one holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Path,
    /// Names with dots in them, as hosts and trust domains have.
    Dotted,
    /// Words without a dot at their end: claims, headers, namespaces.
    Word,
    UserAgent,
    Method,
}

fn of_policy(policy: &Policy<'_>) -> Vec<(Span, String, String)> {
    let mut found = Vec::new();
    for rule in policy.rules {
        for part in
            [("from", "source"), ("to", "operation")].into_iter().flat_map(|(list, key)| blocks(rule, list, key))
        {
            found.extend(part.entries().iter().flat_map(|entry| of_list(entry, kind_of(&entry.key))));
        }
        for condition in rule.get("when").map_or(&[][..], Node::items) {
            let Some(key) = condition.text_at(&["key"]) else { continue };
            let lists = ["values", "notValues"].into_iter().filter_map(|list| condition.entry(list));
            found.extend(lists.flat_map(|entry| of_list(entry, kind_of(key))));
        }
    }
    found
}

fn kind_of(key: &str) -> Kind {
    let name = key.strip_prefix("not").unwrap_or(key).to_ascii_lowercase();
    match name.as_str() {
        "paths" => Kind::Path,
        "methods" => Kind::Method,
        "request.headers[user-agent]" => Kind::UserAgent,
        "namespaces" | "request.auth.audiences" | "request.auth.presenter" | "source.namespace" => Kind::Word,
        _ if name.starts_with("request.auth.claims[") || name.starts_with("request.headers[") => Kind::Word,
        _ => Kind::Dotted,
    }
}

fn of_list(entry: &Entry, kind: Kind) -> Vec<(Span, String, String)> {
    let finding = |item: &Node| {
        let text = item.as_str().filter(|text| is_regex(text, kind))?;
        let message = format!("`{text}` looks like a regular expression, and is compared as it stands");
        let globs = globs::of_regex(text, kind);
        let help = globs.map_or_else(|| LOOKS_LIKE_REGEX.fix.to_owned(), |globs| format!("write {}", listed(&globs)));
        Some((item.span, message, help))
    };
    entry.value.items().iter().filter_map(finding).collect()
}

fn listed(globs: &[String]) -> String {
    globs.iter().map(|glob| format!("`{glob}`")).collect::<Vec<_>>().join(" and ")
}

/// Reports whether a text has a mark of regular expressions that no ordinary value of its kind has.
fn is_regex(text: &str, kind: Kind) -> bool {
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
fn is_alternation(text: &str, kind: Kind) -> bool {
    match kind {
        Kind::Path => text.contains("|/"),
        Kind::Method | Kind::UserAgent => text.contains('|'),
        Kind::Dotted | Kind::Word => false,
    }
}

/// Reports whether a text has an escaped dot or slash, or a class such as `\d` with what ends or repeats it.
fn has_class(text: &str) -> bool {
    text.match_indices('\\').any(|(at, _)| {
        let mut next = text.chars().skip(text.get(..at).unwrap_or_default().chars().count() + 1);
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
fn any_text(text: &str, kind: Kind) -> bool {
    text.match_indices(['*', '+']).any(|(at, operator)| {
        let (before, after) = (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default());
        let Some(before) = before.strip_suffix('.') else { return false };
        let repeats = operator == "*" || !after.starts_with(|next: char| next.is_ascii_alphanumeric());
        let is_dot_of_name = match before.chars().next_back() {
            Some(last) if last.is_ascii_digit() => true,
            Some(last) if last.is_alphanumeric() => {
                let is_word = matches!(kind, Kind::Word | Kind::UserAgent) && !before.contains('.');
                !is_word && (after.is_empty() || kind == Kind::Dotted)
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
        use Kind::{Dotted, Method, Path, UserAgent, Word};
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
            assert!(is_regex(text, kind), "{text}");
            let expected: Vec<String> = globs.iter().map(|glob| (*glob).to_owned()).collect();
            assert_eq!(globs::of_regex(text, kind).unwrap_or_default(), expected, "{text}");
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
            assert!(!is_regex(text, kind), "{text}");
        }
    }
}
