//! `when` on `connection.sni`: the SNI of the client's TLS handshake.

use std::borrow::Cow;
use std::rc::Rc;

use crate::attributes::readings::host;
use crate::attributes::request::Request;
use crate::attributes::wording::describe_reading;
use crate::authz::engine::field::{AnyFieldValues, FieldIndex, FieldValues, MatchField};
use crate::authz::fields::host::host_index;
use crate::authz::fields::reader::{ConditionReader, FieldContext};
use crate::config::printable::printable;
use crate::config::reader::ConfigNode;
use crate::config::string_list::read_values;
use crate::identity::error::EvalError;
use crate::matcher::field_match::FieldMatch;
use crate::matcher::readings_index::{ReadingsIndex, ValueList};
use crate::matcher::string_index::{StringIndex, unwrap_patterns};
use crate::matcher::string_pattern::{StringPattern, string_pattern_newtype};
use crate::matcher::value_ids::ValueId;

/// A pattern for server names, without regard to case: Envoy lower-cases the client's, so in Istio a value with
/// capitals never matches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ServerNamePattern(StringPattern);

impl ServerNamePattern {
    /// Fails on what no server name contains: it is a DNS name (RFC 6066, section 3).
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(wrong) = text.chars().find(|character| !character.is_ascii_graphic()) {
            return Err(format!(
                "bad server name `{}`: no SNI contains `{}`, write an international name as xn--…",
                text.escape_debug(),
                wrong.escape_debug()
            ));
        }
        if let Some(wrong) = text.chars().find(|character| ":/?#[]@\\,".contains(*character)) {
            return Err(format!(
                "bad server name `{text}`: no SNI contains `{wrong}`, write the DNS name alone, as in `shop.example`"
            ));
        }
        Ok(Self(StringPattern::new(&text.to_ascii_lowercase())))
    }
}

string_pattern_newtype!(ServerNamePattern);

/// The server name of the client's TLS (SNI).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerName;

impl MatchField for ServerName {
    type Pattern = ServerNamePattern;

    const RANK: u8 = 24;
    const CONNECTION_SCOPED: bool = true;

    fn subject(&self) -> Cow<'static, str> {
        "SNI".into()
    }

    fn is_short(pattern: &ServerNamePattern) -> bool {
        pattern.0.is_short()
    }

    fn index(self, patterns: Vec<(ServerNamePattern, ValueId)>) -> Box<dyn FieldIndex> {
        Box::new(ServerNameIndex(host_index(unwrap_patterns(patterns), &host::SERVER_NAME_READINGS)))
    }
}

struct ServerNameIndex(ReadingsIndex<StringIndex>);

impl FieldIndex for ServerNameIndex {
    fn has_several_readings(&self, request: &mut dyn Request) -> bool {
        request.server_name().ok().flatten().is_some_and(|name| name.ends_with(b"."))
    }

    fn describe_reading(&self, request: &mut dyn Request, list: &ValueList<'_>, _: bool) -> Option<String> {
        let value = request.server_name().ok()??.to_ascii_lowercase();
        let readings = host::server_name_readings(&value);
        let (_, reading) = self.0.deciding(&value, &readings, list)?;
        Some(describe_reading("SNI", reading, ""))
    }

    fn lookup(&self, request: &mut dyn Request, found: &mut FieldMatch) -> Result<(), EvalError> {
        if let Some(name) = request.server_name()?.filter(|name| !name.is_empty()) {
            let name = name.to_ascii_lowercase();
            self.0.lookup(&name, &host::server_name_readings(&name), found);
        }
        Ok(())
    }

    fn describe_actual(&self, request: &mut dyn Request) -> Option<String> {
        match request.server_name().ok().flatten() {
            Some(name) => Some(format!("for SNI {}", printable(name))),
            None => Some("without SNI".to_owned()),
        }
    }
}

/// `when` on `connection.sni`.
pub(crate) const CONDITION: ConditionReader = ConditionReader { key: "connection.sni", read };

fn read(node: &ConfigNode<'_>, _: &FieldContext<'_>) -> Option<Rc<dyn AnyFieldValues>> {
    Some(FieldValues::shared(ServerName, read_values(node, ServerNamePattern::parse)?))
}
