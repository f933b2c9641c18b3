//! `operation.hosts`: the authority that the request is addressed to.

use std::borrow::Cow;
use std::rc::Rc;

use crate::attributes::request::{PseudoHeader, Request};
use crate::attributes::wording::printable;
use crate::authz::engine::field::{AnyFieldValues, FieldIndex, FieldValues, MatchField};
use crate::authz::fields::{FieldContext, FieldReader, unwrap_patterns};
use crate::config::reader::ConfigNode;
use crate::config::string_list::read_values;
use crate::identity::error::EvalError;
use crate::matcher::field_match::FieldMatch;
use crate::matcher::string_index::{LiteralPrefix, StringIndex};
use crate::matcher::string_pattern::StringPattern;
use crate::matcher::value_ids::ValueId;

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

/// The authority that the request is addressed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host;

impl MatchField for Host {
    type Pattern = HostPattern;

    const RANK: u8 = 31;
    const REQUEST_HEADER: bool = true;

    fn subject(&self) -> Cow<'static, str> {
        "host".into()
    }

    fn http_key(&self) -> Option<String> {
        Some("hosts".to_owned())
    }

    fn index(self, patterns: Vec<(HostPattern, ValueId)>) -> Box<dyn FieldIndex> {
        Box::new(HostIndex(StringIndex::new(unwrap_patterns(patterns))))
    }
}

struct HostIndex(StringIndex);

impl FieldIndex for HostIndex {
    fn lookup(&self, request: &mut dyn Request, found: &mut FieldMatch) -> Result<(), EvalError> {
        match request.host()? {
            Some(host) if host.iter().any(u8::is_ascii_uppercase) => {
                self.0.lookup(&host.to_ascii_lowercase(), &mut found.any);
            }
            Some(host) => self.0.lookup(host, &mut found.any),
            None => {}
        }
        Ok(())
    }

    fn describe_actual(&self, request: &mut dyn Request) -> Option<String> {
        request.host().ok().flatten().map(|host| format!("to host {}", printable(host)))
    }

    fn pseudo_header(&self) -> Option<PseudoHeader> {
        Some(PseudoHeader::Authority)
    }

    fn literal_prefix(&self, value: ValueId) -> Option<LiteralPrefix<'_>> {
        self.0.literal_prefix(value)
    }
}

/// `operation.hosts` and `operation.notHosts`.
pub(crate) const OPERATION: FieldReader = FieldReader { keys: ["hosts", "notHosts"], read };

fn read(node: &ConfigNode<'_>, _: &FieldContext<'_>) -> Option<Rc<dyn AnyFieldValues>> {
    Some(FieldValues::shared(Host, read_values(node, HostPattern::parse)?))
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
