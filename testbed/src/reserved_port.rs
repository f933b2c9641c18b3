//! A port that a configuration can name before Envoy listens on it.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};

/// A free TCP port of 127.0.0.1, reserved for Envoy, which binds with `SO_REUSEPORT`. This socket does not listen, so it
/// receives no connection; other programs cannot bind the port while this value exists.
#[derive(Debug)]
pub struct ReservedPort {
    _holder: Socket,
    number: u16,
}

impl ReservedPort {
    /// Reserves a free port.
    pub fn new() -> Result<Self> {
        let holder = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        holder.set_reuse_port(true)?;
        holder.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let number = holder.local_addr()?.as_socket().context("no address")?.port();
        Ok(Self { _holder: holder, number })
    }

    /// The port number.
    pub fn number(&self) -> u16 {
        self.number
    }
}
