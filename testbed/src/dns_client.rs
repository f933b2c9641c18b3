//! Questions to a DNS server.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE};

/// Time limit for a response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);

/// The number by which a response belongs to its question.
const ID: u16 = 7;

/// Types of records, by their names in the IANA registry.
const KINDS: [(&str, u16); 13] = [
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", 12),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("SRV", 33),
    ("SVCB", 64),
    ("HTTPS", 65),
    ("CAA", 257),
    ("ANY", 255),
];

/// The protocol of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsTransport {
    /// One datagram each way.
    Udp,
    /// A connection of its own (RFC 1035, section 4.2.2).
    Tcp,
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsAnswer {
    /// The response code, as `NOERROR` or `NXDOMAIN`.
    pub code: &'static str,
    /// The addresses among the answers.
    pub addresses: Vec<IpAddr>,
    /// The number of answers of any type.
    pub records: usize,
}

/// Asks for the records of a type, such as `AAAA` or `HTTPS`. Fails unless the response repeats the question in the same
/// letter case, as clients that choose letters at random require.
pub fn ask_dns(server: SocketAddr, transport: DnsTransport, name: &str, kind: &str) -> Result<DnsAnswer> {
    let (_, kind) = KINDS.iter().find(|(known, _)| *known == kind).with_context(|| format!("unknown type {kind}"))?;
    let mut query = Packet::new_query(ID);
    query.set_flags(PacketFlag::RECURSION_DESIRED);
    let kind = QTYPE::try_from(*kind)?;
    query.questions.push(Question::new(Name::new(name)?, kind, QCLASS::CLASS(CLASS::IN), false));
    let query = query.build_bytes_vec()?;
    let bytes = match transport {
        DnsTransport::Udp => by_udp(server, &query),
        DnsTransport::Tcp => by_tcp(server, &query),
    };
    let bytes = bytes.with_context(|| format!("no answer from {server}"))?;
    let response = Packet::parse(&bytes)?;
    ensure!(response.id() == ID && response.has_flags(PacketFlag::RESPONSE), "this answers another question");
    let repeated = response.questions.first().context("the response does not repeat the question")?;
    ensure!(repeated.qname.to_string() == name && repeated.qtype == kind, "{repeated:?} in answer to {name}");
    let addresses = response.answers.iter().filter_map(|record| match &record.rdata {
        RData::A(record) => Some(IpAddr::V4(Ipv4Addr::from(record.address))),
        RData::AAAA(record) => Some(IpAddr::V6(Ipv6Addr::from(record.address))),
        _ => None,
    });
    Ok(DnsAnswer { code: code(response.rcode())?, addresses: addresses.collect(), records: response.answers.len() })
}

fn code(code: RCODE) -> Result<&'static str> {
    Ok(match code {
        RCODE::NoError => "NOERROR",
        RCODE::FormatError => "FORMERR",
        RCODE::ServerFailure => "SERVFAIL",
        RCODE::NameError => "NXDOMAIN",
        RCODE::NotImplemented => "NOTIMP",
        RCODE::Refused => "REFUSED",
        other => bail!("unexpected response code {other:?}"),
    })
}

fn by_udp(server: SocketAddr, query: &[u8]) -> Result<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(RESPONSE_TIMEOUT))?;
    socket.connect(server)?;
    socket.send(query)?;
    let mut response = vec![0; 4096];
    let length = socket.recv(&mut response)?;
    response.truncate(length);
    Ok(response)
}

fn by_tcp(server: SocketAddr, query: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, RESPONSE_TIMEOUT)?;
    stream.set_read_timeout(Some(RESPONSE_TIMEOUT))?;
    stream.write_all(&[&u16::try_from(query.len())?.to_be_bytes(), query].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut response = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut response)?;
    Ok(response)
}
