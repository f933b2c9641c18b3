//! Attributes of an outbound request.

use std::fmt;

use crate::attributes::request::Request;

/// Protocol by which a host is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EgressProtocol {
    /// A plain HTTP request that the proxy forwards.
    Http,
    /// A tunnel.
    Connect,
    /// A tunnel that carries no TLS.
    ConnectWithoutTls,
    /// TLS that passes through.
    Tls,
}

impl EgressProtocol {
    /// The port where none is named.
    pub(crate) fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Connect | Self::ConnectWithoutTls | Self::Tls => 443,
        }
    }
}

impl fmt::Display for EgressProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP to",
            Self::Connect | Self::ConnectWithoutTls => "CONNECT to",
            Self::Tls => "TLS to",
        })
    }
}

/// Outbound request or connection.
///
/// Of an HTTP request the policy asks [`method`](Request::method) and [`host`](Request::host), of a connection that
/// passes through [`server_name`](Request::server_name) and [`destination_port`](Request::destination_port); the sources
/// of its rules say what else.
pub trait EgressRequest: Request {
    /// Reports whether this is a TLS passthrough connection rather than an HTTP request.
    fn is_tls_passthrough(&self) -> bool;
}
