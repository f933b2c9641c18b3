//! A DNS server in place of the internet's, and a client for it.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// Time limit for a response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);

/// The response code of a name that does not exist (RFC 1035, section 4.1.1).
const NXDOMAIN: u8 = 3;

/// A DNS server (RFC 1035) with fixed A records; it answers NXDOMAIN for every other name.
#[derive(Debug)]
pub struct DnsServer {
    address: SocketAddr,
}

impl DnsServer {
    /// Starts a server with these A records on a free UDP port of 127.0.0.1.
    pub fn start(names: &[(&str, Ipv4Addr)]) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = socket.local_addr()?;
        let names: Vec<_> = names.iter().map(|(name, address)| ((*name).to_owned(), *address)).collect();
        thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query) {
                // A malformed query gets no response.
                let response = query.get(..length).and_then(|query| dns_response(query, &names));
                let _unsent = response.map(|response| socket.send_to(&response, from));
            }
        });
        Ok(Self { address })
    }

    /// The address of the listening socket.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Parses the first question: its name, and its bytes with type and class.
fn question(message: &[u8]) -> Option<(String, &[u8])> {
    let mut labels = Vec::new();
    let mut offset = 12;
    loop {
        let length = usize::from(*message.get(offset)?);
        offset += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(message.get(offset..offset + length)?).to_ascii_lowercase());
        offset += length;
    }
    Some((labels.join("."), message.get(12..offset + 4)?))
}

fn dns_response(query: &[u8], names: &[(String, Ipv4Addr)]) -> Option<Vec<u8>> {
    let (name, question) = question(query)?;
    let known = names.iter().find(|(known, _)| *known == name).map(|(_, address)| *address);
    let is_type_a = question.ends_with(&[0, 1, 0, 1]);
    let found = known.filter(|_| is_type_a);
    let response_code = if known.is_none() { NXDOMAIN } else { 0 };
    let mut response = query.get(..2)?.to_vec();
    response.extend([0x81, 0x80 | response_code, 0, 1, 0, u8::from(found.is_some()), 0, 0, 0, 0]);
    response.extend(question);
    if let Some(address) = found {
        // The name as a pointer to the question, type A, class IN, TTL 60 s, four bytes.
        response.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        response.extend(address.octets());
    }
    Some(response)
}

/// Resolves a name to an IPv4 address; `None` if the response has no answer.
pub fn resolve(server: SocketAddr, name: &str) -> Result<Option<Ipv4Addr>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(RESPONSE_TIMEOUT))?;
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
