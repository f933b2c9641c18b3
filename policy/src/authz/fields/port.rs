//! `operation.ports`: the port that the connection was addressed to.

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

use crate::attributes::request::Request;
use crate::authz::engine::field::{AnyFieldValues, FieldIndex, FieldValues, MatchField};
use crate::authz::fields::reader::{ConditionReader, FieldContext, FieldReader};
use crate::collections::map::OrderedMap;
use crate::config::reader::ConfigNode;
use crate::config::string_list::read_values;
use crate::identity::error::EvalError;
use crate::matcher::field_match::FieldMatch;
use crate::matcher::value_ids::{Matched, ValueId};

/// TCP port, 1 to 65535, written as a string as in Istio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Port(u16);

impl Port {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        match text.parse().ok().filter(|_| digits) {
            Some(port) => Ok(Self(port)),
            None => Err(format!("bad port `{text}`: expected a whole number of 1 to 65535, as in \"8080\"")),
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

pub(crate) struct Index(OrderedMap<Box<[u8]>, ValueId>);

impl Index {
    pub(crate) fn new(ports: impl Iterator<Item = (Port, ValueId)>) -> Self {
        Self(ports.map(|(port, id)| (Box::from(port.0.to_be_bytes()), id)).collect())
    }

    pub(crate) fn lookup(&self, port: Option<u16>, matched: &mut Matched) {
        matched.extend(port.and_then(|port| self.0.get(port.to_be_bytes().as_slice())).copied());
    }
}

impl FieldIndex for Index {
    fn lookup(&self, request: &mut dyn Request, found: &mut FieldMatch) -> Result<(), EvalError> {
        Index::lookup(self, request.destination_port()?, &mut found.any);
        Ok(())
    }

    fn describe_actual(&self, request: &mut dyn Request) -> Option<String> {
        // A connection is described by its port already.
        let port = request.destination_port().ok().flatten().filter(|_| !request.is_connection())?;
        Some(format!("at port {port}"))
    }
}

/// The port that the connection was made to, on the proxy's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DestinationPort;

impl MatchField for DestinationPort {
    type Pattern = Port;

    const RANK: u8 = 23;

    fn subject(&self) -> Cow<'static, str> {
        "port".into()
    }

    fn index(self, patterns: Vec<(Port, ValueId)>) -> Box<dyn FieldIndex> {
        Box::new(Index::new(patterns.into_iter()))
    }
}

/// `operation.ports` and `operation.notPorts`.
pub(crate) const OPERATION: FieldReader = FieldReader { keys: ["ports", "notPorts"], read };

/// `when` on `destination.port`.
pub(crate) const CONDITION: ConditionReader = ConditionReader { key: "destination.port", read };

fn read(node: &ConfigNode<'_>, _: &FieldContext<'_>) -> Option<Rc<dyn AnyFieldValues>> {
    Some(FieldValues::shared(DestinationPort, read_values(node, Port::parse)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows() {
        for text in ["1", "80", "65535"] {
            assert_eq!(Port::parse(text).map(|port| port.to_string()).as_deref(), Ok(text));
        }
        for text in ["0", "65536", "+80", "080", "http", "*", "80-90", " 80", "-1"] {
            let message = format!("bad port `{text}`: expected a whole number of 1 to 65535, as in \"8080\"");
            assert_eq!(Port::parse(text).err(), Some(message));
        }
    }
}
