//! A port for a configuration that has to name it before an Envoy listens there.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};

/// A free TCP port of 127.0.0.1, held for Envoy, which shares the ports of its listeners (`SO_REUSEPORT`). Nothing
/// listens here, so no connection is lost to it; other programs cannot take it while this value lives.
#[derive(Debug)]
pub struct ReservedPort {
    _holder: Socket,
    number: u16,
}

impl ReservedPort {
    /// Takes a free port.
    pub fn new() -> Result<Self> {
        let holder = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        holder.set_reuse_port(true)?;
        holder.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let number = holder.local_addr()?.as_socket().context("no address")?.port();
        Ok(Self { _holder: holder, number })
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }
}
