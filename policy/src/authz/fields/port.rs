//! `operation.ports`: the port that the connection was addressed to.

use std::fmt;

use crate::collections::map::OrderedMap;
use crate::matcher::value_ids::{Matched, ValueId};

/// A TCP port, 1 to 65535, written as a string as Istio has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Port(u16);

impl Port {
    #[cfg(test)]
    pub(crate) fn new(port: u16) -> Self {
        Self(port)
    }

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
