//! The hosts that an egress rule lists: `x.com`, `*.x.com`, `a.*.x.com`, or an address.

use std::fmt;
use std::net::IpAddr;

use crate::egress::authority::{Host, InvalidAuthority, check_label, ends_in_number};
use crate::egress::name_glob::NameGlob;

/// Entry of a list of hosts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum DestinationPattern {
    /// Exactly one host.
    Exactly(Host),
    /// Every name, and no address.
    AnyName,
    /// Names of these labels, left to right, each a literal or `None` for a wildcard. With `any_depth`, names that have
    /// one or more labels before them. Without `underscores`, wildcards do not match labels with `_`: such names have to
    /// be listed.
    Labels { any_depth: bool, labels: Box<[Option<Box<str>>]>, underscores: bool },
    /// Names with labels of which a part is given.
    Glob(NameGlob),
}

/// Syntax of an entry, by the place where it is written. A leading star is any depth in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostSyntax {
    /// In `rules`: a pattern gives at least two labels at its end, and its stars are whole labels.
    Rule,
    /// In a ServiceEntry: `*.com` and `*-eu.x.com` as well, and a final dot, as Istio has them (1.31,
    /// `pkg/config/validation/agent`, `ValidateWildcardDomain`).
    ServiceEntry,
}

impl DestinationPattern {
    /// Parses one entry. Fails with what is wrong and what to write instead.
    pub(crate) fn parse(written: &str, syntax: HostSyntax, addresses: bool) -> Result<Self, String> {
        let bad = |problem: String| Err(format!("bad host `{written}`: {problem}"));
        let text = match syntax {
            HostSyntax::Rule => written,
            HostSyntax::ServiceEntry => written.strip_suffix('.').unwrap_or(written),
        };
        if let Some(problem) = not_a_host(text) {
            return bad(problem);
        }
        if let Some(address) = address(text) {
            return match addresses {
                true => Ok(Self::Exactly(Host::Address(address.to_canonical()))),
                false => {
                    bad("an IP address says nothing of who is there; list the name, or set ipAddresses: allow"
                        .to_owned())
                }
            };
        }
        if !text.contains('*') {
            return match Host::parse(text.as_bytes()) {
                Ok(_) if text.ends_with('.') => {
                    bad(format!("leave out the final dot, write `{}`", text.trim_end_matches('.')))
                }
                Ok(host) => Ok(Self::Exactly(host)),
                Err(problem) => bad(hint(text, problem)),
            };
        }
        let (any_depth, rest) = match (text.strip_prefix("**."), text.strip_prefix("*.")) {
            (Some(rest), _) => return bad(format!("write `*.{rest}`, which is any depth below `{rest}` here")),
            (None, Some(rest)) => match rest.trim_start_matches("*.") {
                domain if domain != rest && domain != "*" => {
                    return bad(format!("write `*.{domain}`, which is any depth below `{domain}`"));
                }
                _ => (true, rest),
            },
            (None, None) => (false, text),
        };
        if let (HostSyntax::ServiceEntry, Some(glob)) = (syntax, label_suffix(text)) {
            return Ok(Self::Glob(glob));
        }
        labels(rest, syntax).map(|labels| Self::Labels { any_depth, labels, underscores: false }).or_else(bad)
    }
}

impl DestinationPattern {
    /// Returns the pattern whose wildcards stand for labels with `_` too.
    pub(crate) fn with_underscores(self) -> Self {
        match self {
            Self::Labels { any_depth, labels, .. } => Self::Labels { any_depth, labels, underscores: true },
            other => other,
        }
    }
}

/// Returns the error for common mistakes that are not hosts, such as URLs.
pub(crate) fn not_a_host(text: &str) -> Option<String> {
    if let Some((scheme, rest)) = text.split_once("://") {
        return Some(format!("leave out `{scheme}://`, write `{}`", rest.split('/').next().unwrap_or_default()));
    }
    if let Some((host, rest)) = text.split_once('/') {
        let network = host.parse::<IpAddr>().is_ok() && rest.bytes().all(|byte| byte.is_ascii_digit());
        return Some(match network {
            true => {
                "networks are not supported here; list names, or single addresses with ipAddresses: allow".to_owned()
            }
            false => format!("a host has no path, write `{host}`"),
        });
    }
    if !text.is_ascii() {
        return Some("international names are written in their ASCII form, which begins with `xn--`".to_owned());
    }
    match text.rsplit_once(':') {
        Some((host, port))
            if !host.contains(':') && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            Some(format!("ports stand beside hosts: write `{host}` and ports: [{port}]"))
        }
        _ => None,
    }
}

/// An address in its one spelling; IPv6 with brackets or without.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    match Host::parse(text.as_bytes()) {
        Ok(Host::Address(address)) => Some(address),
        Err(InvalidAuthority::BareIpv6) => text.parse().ok(),
        _ => None,
    }
}

fn hint(text: &str, problem: InvalidAuthority) -> String {
    match (problem, text.strip_prefix('.')) {
        (InvalidAuthority::EmptyLabel, Some(rest)) if !rest.starts_with('.') => {
            format!("write `*.{rest}` for every name below it, and `{rest}` beside it for the name itself")
        }
        _ => problem.to_string(),
    }
}

/// Reads `*-eu.x.com`, names whose first label ends so.
fn label_suffix(text: &str) -> Option<NameGlob> {
    let name = text.strip_prefix("*-").map(|end| format!("0-{end}"))?;
    let is_name = matches!(Host::parse(name.as_bytes()), Ok(Host::Name(_))) && name.contains('.');
    is_name.then(|| NameGlob::new(false, &text.to_ascii_lowercase()))
}

/// The labels of a pattern with stars, after its leading star.
fn labels(text: &str, syntax: HostSyntax) -> Result<Box<[Option<Box<str>>]>, String> {
    if text == "*" {
        return Err("it would let everything out; list the hosts, as in `api.x.com` or `*.x.com`".to_owned());
    }
    let labels: Vec<_> = text.split('.').collect();
    if let Some(label) = labels.iter().find(|label| label.contains('*') && **label != "*") {
        let end = label.trim_start_matches('*');
        return Err(
            match label.starts_with('*') && check_label(end.as_bytes()).is_ok() && labels.first() == Some(label) {
                true => {
                    let rest = [&[end], labels.get(1..).unwrap_or_default()].concat().join(".");
                    format!("a star stands for whole labels, or `evil{rest}` would match too; write `*.{rest}`")
                }
                false => format!(
                    "a star stands for a whole label, `{label}` is part of one; list the hosts, or write `*` there"
                ),
            },
        );
    }
    let fixed = labels.iter().rev().take_while(|label| **label != "*").count();
    let least = if syntax == HostSyntax::ServiceEntry { 1 } else { 2 };
    if fixed < least {
        return Err("the last two labels have to be given, or anyone could register a name that matches; name the domain, as in `*.example.com`".to_owned());
    }
    for label in labels.iter().filter(|label| **label != "*") {
        check_label(label.as_bytes()).map_err(|problem| problem.to_string())?;
    }
    if ends_in_number(text.as_bytes()) {
        return Err("it ends in a number, as no name does".to_owned());
    }
    let label = |label: &&str| (*label != "*").then(|| label.to_ascii_lowercase().into());
    Ok(labels.iter().map(label).collect())
}

impl fmt::Display for DestinationPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(host) => host.fmt(f),
            Self::AnyName => f.write_str("any name"),
            Self::Glob(glob) => glob.fmt(f),
            Self::Labels { any_depth, labels, .. } => {
                let written = labels.iter().map(|label| label.as_deref().unwrap_or("*")).collect::<Vec<_>>().join(".");
                match (any_depth, labels.first()) {
                    (true, _) => write!(f, "*.{written}"),
                    (false, Some(None)) => write!(f, "{written} (one label)"),
                    (false, _) => f.write_str(&written),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear_reading::Matches;

    #[test]
    fn rows() {
        use HostSyntax::{Rule, ServiceEntry};
        let rows: [(&str, HostSyntax, &str, bool); 36] = [
            ("x.com", Rule, "x.com", true),
            ("X.com", Rule, "x.COM.", true),
            ("x.com", Rule, "a.x.com", false),
            ("x.com", Rule, "evilx.com", false),
            ("x.com", Rule, "x.com.evil.com", false),
            ("*.x.com", Rule, "x.com", false),
            ("*.x.com", Rule, "a.x.com", true),
            ("*.X.com", Rule, "A.b.x.com", true),
            ("*.x.com", Rule, "evilx.com", false),
            ("*.x.com", Rule, "a.x.com.evil.com", false),
            ("*.x.com", Rule, "_a.x.com", false),
            ("*.x.com", Rule, "_a.b.x.com", false),
            ("_a.x.com", Rule, "_a.x.com", true),
            ("a.*.x.com", Rule, "a.b.x.com", true),
            ("a.*.x.com", Rule, "a.x.com", false),
            ("a.*.x.com", Rule, "a.b.c.x.com", false),
            ("a.*.x.com", Rule, "b.b.x.com", false),
            ("a.*.x.com", Rule, "a._b.x.com", false),
            ("*.a.*.x.com", Rule, "z.y.a.b.x.com", true),
            ("*.a.*.x.com", Rule, "a.b.x.com", false),
            ("*.com", ServiceEntry, "a.x.com", true),
            ("*.com", ServiceEntry, "com", false),
            ("x.com.", ServiceEntry, "x.com", true),
            ("*.X.com.", ServiceEntry, "a.b.x.com", true),
            ("*.x.com", ServiceEntry, "_a.x.com", false),
            ("*-eu.x.com", ServiceEntry, "api-EU.x.com", true),
            ("*-eu.X.com", ServiceEntry, "a.api-eu.x.com", false),
            ("*-eu.x.com", ServiceEntry, "eu.x.com", false),
            ("*-eu.x.com", ServiceEntry, "api-eu.x.com.evil.test", false),
            ("*.x.com", ServiceEntry, "x.com", false),
            ("192.0.2.1", Rule, "192.0.2.1", true),
            ("192.0.2.1", Rule, "192.0.2.2", false),
            ("2001:db8::1", Rule, "[2001:DB8:0::1]", true),
            ("[2001:db8::1]", Rule, "[2001:db8::1]", true),
            ("192.0.2.1", Rule, "[::ffff:192.0.2.1]", true),
            ("localhost", Rule, "localhost", true),
        ];
        for (text, syntax, host, expected) in rows {
            let pattern = DestinationPattern::parse(text, syntax, true).expect("a pattern");
            let host = Host::parse(host.as_bytes()).expect("a host");
            assert_eq!(pattern.matches(&host), expected, "{text} on {host}");
        }
    }

    #[test]
    fn what_is_refused_says_what_to_write() {
        let rows = [
            ("*", "it would let everything out; list the hosts, as in `api.x.com` or `*.x.com`"),
            (
                "*.com",
                "the last two labels have to be given, or anyone could register a name that matches; name the domain, as in `*.example.com`",
            ),
            (
                "api.*",
                "the last two labels have to be given, or anyone could register a name that matches; name the domain, as in `*.example.com`",
            ),
            (
                "api.*.com",
                "the last two labels have to be given, or anyone could register a name that matches; name the domain, as in `*.example.com`",
            ),
            ("*x.com", "a star stands for whole labels, or `evilx.com` would match too; write `*.x.com`"),
            (
                "*-eu.x.com",
                "a star stands for a whole label, `*-eu` is part of one; list the hosts, or write `*` there",
            ),
            (
                "api-*.x.com",
                "a star stands for a whole label, `api-*` is part of one; list the hosts, or write `*` there",
            ),
            ("*.*.x.com", "write `*.x.com`, which is any depth below `x.com`"),
            ("**.x.com", "write `*.x.com`, which is any depth below `x.com` here"),
            (".x.com", "write `*.x.com` for every name below it, and `x.com` beside it for the name itself"),
            ("x.com.", "leave out the final dot, write `x.com`"),
            ("https://x.com/a", "leave out `https://`, write `x.com`"),
            ("x.com/a", "a host has no path, write `x.com`"),
            ("x.com:8443", "ports stand beside hosts: write `x.com` and ports: [8443]"),
            ("b\u{fc}cher.example", "international names are written in their ASCII form, which begins with `xn--`"),
            ("10.0.0.0/8", "networks are not supported here; list names, or single addresses with ipAddresses: allow"),
            ("10.0.0.1", "an IP address says nothing of who is there; list the name, or set ipAddresses: allow"),
            ("::1", "an IP address says nothing of who is there; list the name, or set ipAddresses: allow"),
            ("127.1", "it ends in a number, and is not an IPv4 address of four plain decimal numbers"),
            ("[x.com]", "brackets stand around an IPv6 address and nothing else"),
            ("user@x.com", "it has an `@`, and what stands before that is not the host"),
            ("a..x.com", "its name has an empty label"),
            ("*..x.com", "its name has an empty label"),
            ("*.x-.com", "a label of its name begins or ends with a hyphen"),
        ];
        for (text, message) in rows {
            let found = DestinationPattern::parse(text, HostSyntax::Rule, false).expect_err(text);
            assert_eq!(found, format!("bad host `{text}`: {message}"));
        }
    }

    #[test]
    fn a_service_entry_is_refused_what_istio_refuses() {
        let rows = [
            ("*", "it would let everything out; list the hosts, as in `api.x.com` or `*.x.com`"),
            ("*x.com", "a star stands for whole labels, or `evilx.com` would match too; write `*.x.com`"),
            (
                "api-*.x.com",
                "a star stands for a whole label, `api-*` is part of one; list the hosts, or write `*` there",
            ),
            (
                "*-eu.*.com",
                "a star stands for a whole label, `*-eu` is part of one; list the hosts, or write `*` there",
            ),
            ("x.com..", "leave out the final dot, write `x.com`"),
        ];
        for (text, message) in rows {
            let found = DestinationPattern::parse(text, HostSyntax::ServiceEntry, false).expect_err(text);
            assert_eq!(found, format!("bad host `{text}`: {message}"));
        }
    }
}
