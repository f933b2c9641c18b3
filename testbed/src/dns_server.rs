//! A DNS server in place of the internet's.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;

use anyhow::Result;
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};

/// Lifetime of answers, in seconds.
const TTL: u32 = 60;

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

fn dns_response(query: &[u8], names: &[(String, Ipv4Addr)]) -> Option<Vec<u8>> {
    let mut response = Packet::parse(query).ok()?.into_reply();
    response.set_flags(PacketFlag::RECURSION_DESIRED | PacketFlag::RECURSION_AVAILABLE);
    let question = response.questions.first()?.clone();
    let name = question.qname.to_string().to_ascii_lowercase();
    match names.iter().find(|(known, _)| *known == name) {
        None => *response.rcode_mut() = RCODE::NameError,
        Some((_, address)) if question.qtype == QTYPE::TYPE(TYPE::A) => {
            response.answers.push(ResourceRecord::new(question.qname, CLASS::IN, TTL, RData::A((*address).into())));
        }
        Some(_) => {}
    }
    response.build_bytes_vec_compressed().ok()
}
