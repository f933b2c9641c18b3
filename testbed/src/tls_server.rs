//! A TLS server in place of an external host. Its threads end with the process.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::Result;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::certificates::Identity;

/// A TLS server that answers the first request of each connection with 200 and a body that names the client's SNI.
#[derive(Debug)]
pub struct TlsServer {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl TlsServer {
    /// Starts a server on a free port of 127.0.0.1.
    pub fn start(identity: &Identity) -> Result<Self> {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), identity)
    }

    /// Starts a server at this address; port 0 takes a free one.
    pub fn start_at(address: SocketAddr, identity: &Identity) -> Result<Self> {
        let configuration = server_config(identity)?;
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::Relaxed);
                let configuration = Arc::clone(&configuration);
                thread::spawn(move || {
                    let connection = ServerConnection::new(configuration)?;
                    answer(&mut StreamOwned::new(connection, socket))
                });
            }
        });
        Ok(Self { address, connections })
    }

    /// The address of the listening socket.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of connections accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// The configuration of a TLS server with this certificate, which asks clients for none.
pub(crate) fn server_config(identity: &Identity) -> Result<Arc<ServerConfig>> {
    let chain = CertificateDer::pem_slice_iter(identity.certificate().as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let configuration = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(identity.key().as_bytes())?)?;
    Ok(Arc::new(configuration))
}

fn answer(stream: &mut StreamOwned<ServerConnection, std::net::TcpStream>) -> Result<()> {
    let mut request: Vec<u8> = Vec::new();
    let mut chunk = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let length = stream.read(&mut chunk)?;
        if length == 0 {
            return Ok(());
        }
        request.extend(chunk.get(..length).unwrap_or_default());
    }
    let body = format!("this is {}\n", stream.conn.server_name().unwrap_or("nobody"));
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes())?;
    Ok(stream.flush()?)
}
