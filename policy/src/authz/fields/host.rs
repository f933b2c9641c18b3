//! `operation.hosts`: the authority that the request is addressed to.

use std::borrow::Cow;
use std::rc::Rc;

use crate::attributes::readings::host;
use crate::attributes::request::{PseudoHeader, Request};
use crate::attributes::wording::describe_reading;
use crate::authz::engine::field::{AnyFieldValues, FieldIndex, FieldValues, MatchField};
use crate::authz::fields::reader::{FieldContext, FieldReader};
use crate::config::printable::printable;
use crate::config::reader::ConfigNode;
use crate::config::string_list::read_values;
use crate::identity::error::EvalError;
use crate::matcher::field_match::FieldMatch;
use crate::matcher::readings_index::{ReadPattern, ReadingsIndex, ValueList};
use crate::matcher::string_index::{LiteralPrefix, StringIndex, unwrap_patterns};
use crate::matcher::string_pattern::{StringPattern, string_pattern_newtype};
use crate::matcher::value_ids::ValueId;

/// A pattern for the `:authority`, without regard to case (RFC 9110, section 4.2.3).
///
/// As in Istio, the port is part of the value: an ALLOW of `shop.example` does not allow `shop.example:8080`. A DENY of it keeps that
/// out, since it is a reading of it.
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
        if let Some(wrong) = text.chars().find(|character| "?#\\".contains(*character)) {
            return Err(format!(
                "bad host `{text}`: no host contains `{wrong}`, write the name and, if needed, the port"
            ));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "bad host `{text}`: hosts are ASCII without blanks, write an international name as xn--…"
            ));
        }
        Ok(Self(StringPattern::new(&text.to_ascii_lowercase())))
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

    fn is_short(pattern: &HostPattern) -> bool {
        pattern.0.is_short()
    }

    fn index(self, patterns: Vec<(HostPattern, ValueId)>) -> Box<dyn FieldIndex> {
        Box::new(HostIndex(host_index(unwrap_patterns(patterns), &host::HOST_READINGS)))
    }
}

/// The index of patterns for hosts or server names, which have these readings.
pub(crate) fn host_index(
    patterns: Vec<(StringPattern, ValueId)>,
    readings: &'static [u8],
) -> ReadingsIndex<StringIndex> {
    let is_plain = |pattern: &StringPattern| host::is_plain(pattern.to_string().as_bytes());
    ReadingsIndex::new(patterns, readings.iter().copied(), is_plain, |number, pattern: &StringPattern| {
        let written = pattern.to_string();
        match std::str::from_utf8(host::read(number, written.as_bytes())) {
            Ok(read) if read == written => ReadPattern::Same,
            Ok(read) if !read.is_empty() => ReadPattern::Others(vec![StringPattern::new(read)]),
            _ => ReadPattern::Others(Vec::new()),
        }
    })
}

struct HostIndex(ReadingsIndex<StringIndex>);

impl FieldIndex for HostIndex {
    fn has_several_readings(&self, request: &mut dyn Request) -> bool {
        request.host().ok().flatten().is_some_and(|host| !host::is_plain(host))
    }

    fn describe_reading(&self, request: &mut dyn Request, list: &ValueList<'_>, _: bool) -> Option<String> {
        let value = request.host().ok()??.to_ascii_lowercase();
        let readings = host::readings(&value);
        let (_, reading) = self.0.deciding(&value, &readings, list)?;
        Some(describe_reading("host", reading, ""))
    }

    fn lookup(&self, request: &mut dyn Request, found: &mut FieldMatch) -> Result<(), EvalError> {
        match request.host()? {
            Some(host) if host::is_plain(host) => self.0.written().lookup(host, &mut found.any),
            Some(host) => {
                let host = host.to_ascii_lowercase();
                self.0.lookup(&host, &host::readings(&host), found);
            }
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
        self.0.written().literal_prefix(value)
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
