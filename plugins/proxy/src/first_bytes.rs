//! A connection at its first bytes, from either side, as a policy asks for it.

use std::net::IpAddr;
use std::time::Duration;

use sallyport_policy::{DynamicMetadata, HeaderValues, HostFailure, Peer, Request};

use crate::abi::Bytes;
use crate::host;
use crate::http_request::{Asker, Surroundings, kept};

/// Which side has spoken first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client. Its TLS handshake is over then, so its certificate is known.
    Downstream,
    /// The service, which may do so before the handshake of the client's TLS is over.
    Upstream,
}

/// Asks the proxy for an attribute when a policy first needs it, and keeps the answer.
pub struct FirstBytes<'c> {
    surroundings: Surroundings<'c>,
    from: Side,
    asker: Option<Asker>,
    source: Option<Option<IpAddr>>,
    client: Option<Option<IpAddr>>,
    destination: Option<Option<IpAddr>>,
    port: Option<Option<u16>>,
    server_name: Option<Option<Bytes>>,
    time: Option<Duration>,
    metadata: Option<DynamicMetadata>,
}

impl<'c> FirstBytes<'c> {
    /// The connection whose first bytes the proxy has just handed over.
    pub fn new(surroundings: Surroundings<'c>, from: Side) -> Self {
        Self {
            surroundings,
            from,
            asker: None,
            source: None,
            client: None,
            destination: None,
            port: None,
            server_name: None,
            time: None,
            metadata: None,
        }
    }

    /// Has the connection counted, whether or not a policy asks who its peer is, once its certificate can be known.
    pub fn count_connection(&mut self) {
        let connections = self.surroundings.connections;
        if self.from == Side::Downstream || connections.handshake_may_go_on() == Ok(false) {
            let _uncounted = connections.current();
        }
    }
}

/// Only HTTP has it, and policies for connections do not ask for it.
fn of_http<T>(attribute: &'static str) -> Result<T, HostFailure> {
    Err(HostFailure { attribute, answer: "a connection has none" })
}

impl Request for FirstBytes<'_> {
    fn is_connection(&self) -> bool {
        true
    }

    fn peer(&mut self) -> Result<&Peer, HostFailure> {
        let (surroundings, from) = (&self.surroundings, self.from);
        let ask = || match from {
            Side::Downstream => surroundings.asker_of_connection(),
            Side::Upstream => {
                if surroundings.connections.handshake_may_go_on()? {
                    let answer = "the service spoke before the client's TLS was known to be established; set upstream_connect_mode: ON_DOWNSTREAM_TLS_HANDSHAKE in tcp_proxy";
                    return Err(HostFailure { attribute: "the client's certificate", answer });
                }
                surroundings.asker_of_connection()
            }
        };
        kept(&mut self.asker, ask).map(|asker| asker.peer())
    }

    fn source_ip(&mut self) -> Result<Option<IpAddr>, HostFailure> {
        kept(&mut self.source, self.surroundings.ask_source_ip()).copied()
    }

    fn remote_ip(&mut self) -> Result<Option<IpAddr>, HostFailure> {
        kept(&mut self.client, host::client_ip).copied()
    }

    fn destination_ip(&mut self) -> Result<Option<IpAddr>, HostFailure> {
        kept(&mut self.destination, host::destination_ip).copied()
    }

    fn destination_port(&mut self) -> Result<Option<u16>, HostFailure> {
        kept(&mut self.port, host::destination_port).copied()
    }

    fn server_name(&mut self) -> Result<Option<&[u8]>, HostFailure> {
        kept(&mut self.server_name, host::server_name).map(Option::as_deref)
    }

    fn time(&mut self) -> Result<Duration, HostFailure> {
        kept(&mut self.time, host::time).copied()
    }

    fn metadata(&mut self) -> Result<&DynamicMetadata, HostFailure> {
        kept(&mut self.metadata, host::metadata)
    }

    fn method(&mut self) -> Result<Option<&[u8]>, HostFailure> {
        of_http(":method")
    }

    fn host(&mut self) -> Result<Option<&[u8]>, HostFailure> {
        of_http(":authority")
    }

    fn path(&mut self) -> Result<Option<&[u8]>, HostFailure> {
        of_http(":path")
    }

    fn header(&mut self, _: &str) -> Result<HeaderValues<'_>, HostFailure> {
        of_http("request.headers")
    }
}
