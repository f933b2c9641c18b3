//! `operation.hosts`: the authority that the request is addressed to.

use crate::matcher::string_index::StringIndex;
use crate::matcher::string_pattern::StringPattern;
use crate::matcher::value_ids::Matched;

/// A pattern for the `:authority`, without regard to case (RFC 9110, section 4.2.3).
///
/// As in Istio the port is part of the value: `shop.example` does not match `shop.example:8080`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HostPattern(StringPattern);

impl HostPattern {
    /// Fails on what no authority contains, a scheme or a path for instance.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some((scheme, rest)) = text.split_once("://") {
            return Err(format!(
                "bad host `{text}`: leave out `{scheme}://`, write `{}`",
                rest.split('/').next().unwrap_or_default()
            ));
        }
        if let Some((host, _)) = text.split_once('/') {
            return Err(format!("bad host `{text}`: a host has no path, write `{host}` and use paths for the rest"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "bad host `{text}`: hosts are ASCII without blanks, write an international name as xn--…"
            ));
        }
        Ok(Self(StringPattern::new(&text.to_ascii_lowercase())))
    }

    #[cfg(test)]
    pub(crate) fn matches(&self, host: &[u8]) -> bool {
        self.0.matches(&host.to_ascii_lowercase())
    }
}

string_pattern_newtype!(HostPattern);

/// Adds the patterns that match.
pub(crate) fn look_up(index: &StringIndex, host: Option<&[u8]>, matched: &mut Matched) {
    match host {
        Some(host) if host.iter().any(u8::is_ascii_uppercase) => index.lookup(&host.to_ascii_lowercase(), matched),
        Some(host) => index.lookup(host, matched),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_says_what_to_write() {
        let rows = [
            ("https://shop.example/a", "bad host `https://shop.example/a`: leave out `https://`, write `shop.example`"),
            (
                "shop.example/a",
                "bad host `shop.example/a`: a host has no path, write `shop.example` and use paths for the rest",
            ),
            (
                "sh\u{f6}p.example",
                "bad host `sh\u{f6}p.example`: hosts are ASCII without blanks, write an international name as xn--\u{2026}",
            ),
        ];
        for (text, message) in rows {
            assert_eq!(HostPattern::parse(text).err().as_deref(), Some(message));
        }
    }
}
