//! Names and patterns of names as Cilium has them: `matchName`, `matchPattern` and `serverNames`.
//!
//! Follows Cilium 1.19 (`pkg/policy/api/fqdn.go`, `pkg/fqdn/matchpattern`, `pkg/envoy`): a star is any run of letters,
//! digits, `-` and `_` within one label; `**.` at the start is one or more labels; a star alone is every name.

use crate::egress::authority::{Host, check_label, ends_in_number};
use crate::egress::host_pattern::{DestinationPattern, address, not_a_host};
use crate::egress::name_glob::NameGlob;

/// The longest pattern (the CRD's `maxLength`).
const MAX_PATTERN: usize = 255;

/// Parses `matchName`. Fails with what is wrong and what to write instead.
pub(crate) fn parse_name(text: &str) -> Result<DestinationPattern, String> {
    match text.contains('*') {
        true => Err(format!("bad host `{text}`: matchName is one name, write matchPattern for one with stars")),
        false => exact(text),
    }
}

/// Parses `matchPattern` or an entry of `serverNames`. Fails with what is wrong and what to write instead.
pub(crate) fn parse_pattern(text: &str) -> Result<DestinationPattern, String> {
    if !text.contains('*') {
        return exact(text);
    }
    let bad = |problem: String| format!("bad host `{text}`: {problem}");
    if let Some(problem) = not_a_host(text) {
        return Err(bad(problem));
    }
    if text.len() > MAX_PATTERN {
        return Err(bad(format!("it has {} characters, the most are {MAX_PATTERN}", text.len())));
    }
    let pattern = without_final_dot(text).to_ascii_lowercase();
    if pattern.bytes().all(|byte| byte == b'*') {
        return Ok(DestinationPattern::AnyName);
    }
    let below = pattern.trim_start_matches('*').strip_prefix('.').filter(|_| pattern.starts_with("**"));
    let (any_depth, labels) = (below.is_some(), below.unwrap_or(&pattern));
    let labels = labels.split('.').map(|label| checked_label(label).map_err(bad)).collect::<Result<Vec<_>, _>>()?;
    let joined = labels.join(".");
    if ends_in_number(joined.as_bytes()) {
        return Err(bad("it ends in a number, as no name does".to_owned()));
    }
    if labels.iter().any(|label| label.contains('*') && label != "*") {
        return Ok(DestinationPattern::Glob(NameGlob::new(any_depth, &joined)));
    }
    let labels = labels.into_iter().map(|label| (label != "*").then(|| label.into())).collect();
    Ok(DestinationPattern::Labels { any_depth, labels, underscores: true })
}

fn exact(text: &str) -> Result<DestinationPattern, String> {
    let bad = |problem: String| Err(format!("bad host `{text}`: {problem}"));
    if let Some(problem) = not_a_host(text) {
        return bad(problem);
    }
    if address(text).is_some() {
        return bad("an IP address is no name, and names are compared here; leave it to toCIDR".to_owned());
    }
    Host::parse(text.as_bytes()).map(DestinationPattern::Exactly).or_else(|problem| bad(problem.to_string()))
}

/// Cilium completes names with the root's dot, so one that is written says nothing more.
fn without_final_dot(text: &str) -> &str {
    text.strip_suffix('.').unwrap_or(text)
}

/// Returns a label of a pattern with one star where several stand beside each other.
fn checked_label(label: &str) -> Result<String, String> {
    if !label.contains('*') {
        return check_label(label.as_bytes()).map(|()| label.to_owned()).map_err(|problem| problem.to_string());
    }
    // What stands before and after a star is no whole label, so a hyphen may be at its ends.
    let inner = label.replace('*', "0");
    check_label(inner.as_bytes()).map_err(|problem| problem.to_string())?;
    let mut label = label.to_owned();
    while label.contains("**") {
        label = label.replace("**", "*");
    }
    Ok(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear_reading::Matches;

    #[test]
    fn patterns_match_as_in_cilium() {
        let rows: [(&str, &str, bool); 33] = [
            ("*.x.com", "a.x.com", true),
            ("*.x.com", "A.X.com.", true),
            ("*.x.com", "_a.x.com", true),
            ("*.x.com", "x.com", false),
            ("*.x.com", "a.b.x.com", false),
            ("*.x.com", "a.x.com.evil.test", false),
            ("**.x.com", "a.x.com", true),
            ("**.x.com", "a._b.x.com", true),
            ("**.x.com", "x.com", false),
            ("**.x.com", "evilx.com", false),
            ("***.x.com", "a.b.x.com", true),
            ("*x.com", "x.com", true),
            ("*x.com", "notx.com", true),
            ("*x.com", "a.x.com", false),
            ("**x.com", "notx.com", true),
            ("**x.com", "a.x.com", false),
            ("sub*.x.com", "sub.x.com", true),
            ("sub*.x.com", "subdomain.x.com", true),
            ("sub*.x.com", "www.x.com", false),
            ("a.*.x.com", "a.b.x.com", true),
            ("a.**.x.com", "a.b.x.com", true),
            ("a.**.x.com", "a.b.c.x.com", false),
            ("**.s3*.x.com", "b.s3-eu.x.com", true),
            ("*.X.Com.", "a.x.com", true),
            ("*.com", "x.com", true),
            ("*.com", "a.x.com", false),
            ("x.*", "x.com", true),
            ("*.*", "x.com", true),
            ("*.*", "localhost", false),
            ("*", "a.b.x.com", true),
            ("**", "localhost", true),
            ("*.", "x.com", true),
            ("*", "192.0.2.1", false),
        ];
        for (text, host, expected) in rows {
            let pattern = parse_pattern(text).unwrap_or_else(|problem| panic!("{problem}"));
            let host = Host::parse(host.as_bytes()).expect("a host");
            assert_eq!(pattern.matches(&host), expected, "{text} on {host}");
        }
    }

    #[test]
    fn names_are_one_name_in_any_case_with_or_without_the_final_dot() {
        let host = Host::parse(b"api.x.com").expect("a host");
        for text in ["api.x.com", "API.x.com", "api.x.com."] {
            for parsed in [parse_name(text), parse_pattern(text)] {
                assert_eq!(parsed, Ok(DestinationPattern::Exactly(host.clone())), "{text}");
            }
        }
    }

    #[test]
    fn what_is_refused_says_why() {
        let rows = [
            ("", "it names no host"),
            ("https://*.x.com/", "leave out `https://`, write `*.x.com`"),
            ("*.x.com:443", "ports stand beside hosts: write `*.x.com` and ports: [443]"),
            ("*..x.com", "its name has an empty label"),
            ("*.x.com..", "its name has an empty label"),
            ("a b*.x.com", "it has a character that no host name has"),
            ("*.0x1f", "it ends in a number, as no name does"),
            ("*.168.1", "it ends in a number, as no name does"),
            ("192.0.2.1", "an IP address is no name, and names are compared here; leave it to toCIDR"),
            ("2001:db8::1", "an IP address is no name, and names are compared here; leave it to toCIDR"),
        ];
        for (text, problem) in rows {
            assert_eq!(parse_pattern(text), Err(format!("bad host `{text}`: {problem}")));
        }
        let long = format!("{}*.x.com", "a.".repeat(130));
        assert!(parse_pattern(&long).is_err_and(|problem| problem.ends_with("characters, the most are 255")));
        assert_eq!(
            parse_name("*.x.com"),
            Err("bad host `*.x.com`: matchName is one name, write matchPattern for one with stars".to_owned())
        );
    }
}
