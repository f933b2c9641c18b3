//! What stands for the outside: a DNS server and a TLS server, each a thread that ends with the process.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::certificates::Identity;

/// A TLS server that answers each first request of a connection with 200 and the server name that it was asked for.
#[derive(Debug)]
pub struct TlsServer {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl TlsServer {
    /// Starts one on a free port.
    pub fn start(identity: &Identity) -> Result<Self> {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), identity)
    }

    /// Starts one at this address.
    pub fn start_at(address: SocketAddr, identity: &Identity) -> Result<Self> {
        let chain = CertificateDer::pem_slice_iter(identity.certificate().as_bytes()).collect::<Result<Vec<_>, _>>()?;
        let configuration = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_slice(identity.key().as_bytes())?)?;
        let configuration = Arc::new(configuration);
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::Relaxed);
                let configuration = Arc::clone(&configuration);
                thread::spawn(move || {
                    let connection = ServerConnection::new(configuration)?;
                    answer(&mut StreamOwned::new(connection, socket))
                });
            }
        });
        Ok(Self { address, connections })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has had.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
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

/// A DNS server (RFC 1035) that knows the IPv4 addresses of some names, and that others do not exist.
#[derive(Debug)]
pub struct DnsServer {
    address: SocketAddr,
}

impl DnsServer {
    /// Starts one on a free port.
    pub fn start(names: &[(&str, Ipv4Addr)]) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = socket.local_addr()?;
        let names: Vec<_> = names.iter().map(|(name, address)| ((*name).to_owned(), *address)).collect();
        thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query) {
                // A query that cannot be read gets no answer.
                let answer = query.get(..length).and_then(|query| dns_answer(query, &names));
                let _lost = answer.map(|answer| socket.send_to(&answer, from));
            }
        });
        Ok(Self { address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The question's name, and the bytes of the question with its type and class.
fn question(message: &[u8]) -> Option<(String, &[u8])> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(message.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    Some((labels.join("."), message.get(12..at + 4)?))
}

fn dns_answer(query: &[u8], names: &[(String, Ipv4Addr)]) -> Option<Vec<u8>> {
    let (name, question) = question(query)?;
    let known = names.iter().find(|(known, _)| *known == name).map(|(_, address)| *address);
    let is_ipv4 = question.ends_with(&[0, 1, 0, 1]);
    let found = known.filter(|_| is_ipv4);
    let no_such_name = if known.is_none() { 3 } else { 0 };
    let mut answer = query.get(..2)?.to_vec();
    answer.extend([0x81, 0x80 | no_such_name, 0, 1, 0, u8::from(found.is_some()), 0, 0, 0, 0]);
    answer.extend(question);
    if let Some(address) = found {
        // The name as a pointer to the question, type A, class IN, a minute, four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

/// Asks a DNS server for the IPv4 address of a name; none where it has none.
pub fn resolve(server: SocketAddr, name: &str) -> Result<Option<Ipv4Addr>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(std::time::Duration::from_secs(20)))?;
    let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len())?);
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    socket.send_to(&query, server)?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).with_context(|| format!("no answer from {server}"))?;
    let answer = answer.get(..length).unwrap_or_default();
    match answer.get(7) {
        Some(0) | None => Ok(None),
        Some(_) => {
            let octets: [u8; 4] = answer.last_chunk().copied().context("an answer without an address")?;
            Ok(Some(octets.into()))
        }
    }
}
