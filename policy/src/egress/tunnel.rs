//! The first bytes inside a CONNECT tunnel, held against its authority.
//!
//! A CONNECT names a host; the TLS inside names another wherever both stand behind one front. So what a client sends is
//! held until its first bytes are known to be a ClientHello for the host, or no TLS at all.

use std::fmt;

use crate::config::printable::printable;
use crate::egress::authority::Host;
use crate::egress::client_hello::{ClientHelloError, ClientHelloReader, ServerName};
use crate::egress::outbound::Destination;
use crate::egress::sources::SourceMode;

/// The port on which a tunnel has to begin with TLS.
const HTTPS: u16 = 443;

/// Content types of TLS records (RFC 8446, section 5.1): servers may pass over one that comes before a ClientHello.
const FIRST_CONTENT_TYPE: u8 = 20;
const HANDSHAKE: u8 = 22;
const LAST_CONTENT_TYPE: u8 = 24;

/// Highest major version of TLS.
const MAJOR_VERSION: u8 = 3;

/// Tunnel whose first bytes from the client are held.
#[derive(Clone, Debug)]
pub struct Tunnel {
    destination: Destination,
    /// True if the rules that let it out are for TLS alone.
    tls_alone: bool,
    /// True if it was reported already.
    is_reported: bool,
    mode: SourceMode,
    /// Bytes inspected so far.
    inspected: usize,
    phase: Phase,
}

/// State of the inspection of the first bytes.
#[derive(Clone, Debug)]
enum Phase {
    /// Too few bytes to tell whether it is TLS.
    Start(Vec<u8>),
    /// TLS.
    Hello(ClientHelloReader),
}

/// Next step with a tunnel's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelStep {
    /// Hold them: more are needed.
    Hold,
    /// Let them and all that follow pass.
    Pass,
}

/// Reason to end a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TunnelFault {
    /// The ClientHello names another host, this one.
    OtherServerName(Box<[u8]>),
    /// The ClientHello names no server, and the authority is a name.
    NoServerName,
    /// It begins as TLS, and no server name can be read.
    ClientHello(ClientHelloError),
    /// It begins with a hello of SSLv2, which names no server.
    Sslv2,
    /// It is no TLS, on port 443.
    NotTls,
    /// It is no TLS, and the rules that let it out are for TLS alone.
    NotTlsByRule,
    /// It ends before it is known what it is.
    Unfinished,
}

impl fmt::Display for TunnelFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherServerName(name) => {
                write!(f, "the TLS inside the tunnel is for SNI {}, the tunnel is not", printable(name))
            }
            Self::NoServerName => f.write_str("the TLS inside the tunnel has to name its server by SNI"),
            Self::ClientHello(error) => write!(f, "the tunnel begins as TLS, and {error}"),
            Self::Sslv2 => f.write_str("the tunnel begins with a hello of SSLv2, which names no server"),
            Self::NotTls => f.write_str(
                "what the client sends inside the tunnel is no TLS, and port 443 is for TLS; set tunnels: trust \
                 where other protocols use it",
            ),
            Self::NotTlsByRule => f.write_str(
                "what the client sends inside the tunnel is no TLS, and what allows this host and port is about TLS: \
                 serverNames of Cilium, or a port of a ServiceEntry with protocol HTTPS or TLS; allow the host by toFQDNs \
                 without serverNames, by a port with protocol TCP, or by a rule",
            ),
            Self::Unfinished => f.write_str("the client's side of the tunnel ends within its first message"),
        }
    }
}

impl Tunnel {
    pub(crate) fn new(destination: Destination, tls_alone: bool, is_reported: bool, mode: SourceMode) -> Self {
        Self { destination, tls_alone, is_reported, mode, inspected: 0, phase: Phase::Start(Vec::new()) }
    }

    /// Treatment of its client.
    pub fn mode(&self) -> SourceMode {
        self.mode
    }

    /// Reports whether a denial of it was reported already, so that it does not count as allowed.
    pub fn is_reported(&self) -> bool {
        self.is_reported
    }

    pub(crate) fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Number of bytes inspected so far: those that [`inspect`](Self::inspect) wants next begin there.
    pub fn inspected(&self) -> usize {
        self.inspected
    }

    /// Inspects the next bytes. Not to be called again after it fails or says [`TunnelStep::Pass`].
    pub fn inspect(&mut self, bytes: &[u8]) -> Result<TunnelStep, TunnelFault> {
        self.inspected += bytes.len();
        let host = &self.destination.host;
        match &mut self.phase {
            Phase::Hello(reader) => judge(host, reader.read(bytes)),
            Phase::Start(first) => {
                first.extend_from_slice(bytes);
                match Protocol::of(first) {
                    None => Ok(TunnelStep::Hold),
                    Some(Protocol::Tls) => {
                        let mut reader = ClientHelloReader::default();
                        let step = judge(host, reader.read(first));
                        self.phase = Phase::Hello(reader);
                        step
                    }
                    Some(_) if self.destination.port == HTTPS => Err(TunnelFault::NotTls),
                    Some(Protocol::Sslv2) => Err(TunnelFault::Sslv2),
                    Some(Protocol::Other) if self.tls_alone => Err(TunnelFault::NotTlsByRule),
                    Some(Protocol::Other) => Ok(TunnelStep::Pass),
                }
            }
        }
    }

    /// Ends the client's side. Fails if bytes are held.
    pub fn end(&self) -> Result<(), TunnelFault> {
        if self.inspected == 0 { Ok(()) } else { Err(TunnelFault::Unfinished) }
    }
}

/// Judges what was read of a ClientHello inside a tunnel to `host`.
fn judge(host: &Host, read: Result<Option<ServerName>, ClientHelloError>) -> Result<TunnelStep, TunnelFault> {
    match read.map_err(TunnelFault::ClientHello)? {
        None => Ok(TunnelStep::Hold),
        Some(Some(name)) if Host::parse(&name).as_ref() == Ok(host) => Ok(TunnelStep::Pass),
        Some(Some(name)) => Err(TunnelFault::OtherServerName(name)),
        // TLS has no server names for addresses (RFC 6066, section 3).
        Some(None) if matches!(host, Host::Address(_)) => Ok(TunnelStep::Pass),
        Some(None) => Err(TunnelFault::NoServerName),
    }
}

/// Protocol that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Tls,
    Sslv2,
    Other,
}

impl Protocol {
    /// The protocol of a connection that begins with these bytes, `None` while they are too few to tell.
    ///
    /// Bytes that a lenient server could take for TLS are TLS here: a handshake record of any version, and other records of
    /// TLS.
    fn of(first: &[u8]) -> Option<Self> {
        Some(match first {
            [] => return None,
            [HANDSHAKE, ..] | [FIRST_CONTENT_TYPE..=LAST_CONTENT_TYPE, ..=MAJOR_VERSION, ..] => Self::Tls,
            [FIRST_CONTENT_TYPE..=LAST_CONTENT_TYPE] => return None,
            // A hello of SSLv2 has a length of at least 9 and, where servers take it, at most 4,096 bytes, then a 1 and
            // a version: 2 or 3.x (RFC 5246, appendix E.2).
            [0x80, ..9, ..] => Self::Other,
            [0x80..=0x90, _, 1, 0, 2, ..] | [0x80..=0x90, _, 1, MAJOR_VERSION, ..] => Self::Sslv2,
            [0x80..=0x90] | [0x80..=0x90, _] | [0x80..=0x90, _, 1] | [0x80..=0x90, _, 1, 0] => return None,
            _ => Self::Other,
        })
    }
}

#[cfg(test)]
mod tests;
