//! A client that sends raw bytes over plaintext or TLS and parses the response.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use socket2::{Domain, Socket, Type};

use crate::certificates::Identity;
use crate::http2::{self, Http2Connection, StreamOutcome};
use crate::http2_tunnel::Http2Tunnel;

/// Time limit for each read and write.
const IO_TIMEOUT: Duration = Duration::from_secs(20);

/// An HTTP response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, dechunked.
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_slice())
    }
}

/// A client that opens a new connection for every request.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    server_name: String,
    preamble: Vec<u8>,
    from: Option<Ipv4Addr>,
}

impl Client {
    /// A client without TLS.
    pub fn plaintext(address: SocketAddr) -> Self {
        Self { address, tls: None, server_name: "localhost".to_owned(), preamble: Vec::new(), from: None }
    }

    /// A TLS client, with a client certificate or without. It accepts any server certificate, because the tests are
    /// about the server.
    pub fn tls(address: SocketAddr, identity: Option<&Identity>) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer));
        let configuration = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain =
                    CertificateDer::pem_slice_iter(identity.certificate().as_bytes()).collect::<Result<Vec<_>, _>>()?;
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(identity.key().as_bytes())?)?
            }
        };
        Ok(Self { tls: Some(Arc::new(configuration)), ..Self::plaintext(address) })
    }

    /// Connects to this address instead, with the TLS sessions of the former.
    pub fn at(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Sends this name as SNI; with `None`, the handshake has no SNI.
    pub fn with_sni(mut self, server_name: Option<&str>) -> Self {
        if let Some(configuration) = &mut self.tls {
            Arc::make_mut(configuration).enable_sni = server_name.is_some();
        }
        if let Some(name) = server_name {
            name.clone_into(&mut self.server_name);
        }
        self
    }

    /// Offers this protocol in ALPN (RFC 7301).
    pub fn with_alpn(mut self, protocol: &str) -> Self {
        if let Some(configuration) = &mut self.tls {
            Arc::make_mut(configuration).alpn_protocols = vec![protocol.as_bytes().to_vec()];
        }
        self
    }

    /// Connects, and returns the ALPN protocol that the server selects, if any.
    pub fn negotiated_alpn(&self) -> Result<Option<Vec<u8>>> {
        let configuration = self.tls.as_ref().context("ALPN needs TLS")?;
        let mut socket = self.connect_socket()?;
        socket.set_read_timeout(Some(IO_TIMEOUT))?;
        let name = ServerName::try_from(self.server_name.clone())?;
        let mut connection = ClientConnection::new(Arc::clone(configuration), name)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(connection.alpn_protocol().map(<[u8]>::to_vec))
    }

    /// Sends these bytes before the TLS handshake, such as a PROXY protocol header.
    pub fn with_preamble(mut self, preamble: Vec<u8>) -> Self {
        self.preamble = preamble;
        self
    }

    /// Connects from this source address, one of 127.0.0.0/8.
    pub fn with_source_address(mut self, address: Ipv4Addr) -> Self {
        self.from = Some(address);
        self
    }

    /// Sends GET and reads the response.
    pub fn get(&self, path: &str) -> Result<Response> {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes())
    }

    /// Sends raw bytes and reads the response.
    pub fn send(&self, bytes: &[u8]) -> Result<Response> {
        round_trip(&mut *self.connect()?, bytes)
    }

    /// Sends an HTTP/2 request with these headers, unchecked, and waits for the end of its stream.
    pub fn send_http2(&self, headers: &[(&[u8], &[u8])]) -> Result<StreamOutcome> {
        http2::exchange(&mut *self.connect()?, headers)
    }

    /// Opens an HTTP/2 connection for many requests.
    pub fn http2(&self) -> Result<Http2Connection> {
        Http2Connection::new(self.connect()?)
    }

    /// Asks for a tunnel by HTTP/2 with these headers, and sends `early` in it before the answer.
    pub fn open_http2_tunnel(&self, headers: &[(&[u8], &[u8])], early: &[u8]) -> Result<Http2Tunnel> {
        Http2Tunnel::open(self.connect()?, headers, early)
    }

    /// Sends raw bytes to an echo service; true if all of them come back before the connection is closed.
    pub fn is_echoed(&self, bytes: &[u8]) -> Result<bool> {
        let mut stream = self.connect()?;
        let mut answer = vec![0; bytes.len()];
        // A peer may close before everything is written.
        let _reset = stream.write_all(bytes).and_then(|()| stream.flush());
        Ok(stream.read_exact(&mut answer).is_ok() && answer == bytes)
    }

    /// Reads from a server-first service until the connection is closed; true if it sent exactly `greeting`, false if it
    /// sent nothing. Fails on any other bytes.
    pub fn is_greeted(&self, greeting: &[u8]) -> Result<bool> {
        let mut stream = self.connect()?;
        let mut received = Vec::new();
        // A peer may close without a TLS close_notify.
        let _cut = stream.read_to_end(&mut received);
        match received.is_empty() || received == greeting {
            true => Ok(received == greeting),
            false => bail!("expected the greeting, received {}", received.escape_ascii()),
        }
    }

    /// Opens a connection, with TLS if the client has it.
    pub fn connect(&self) -> Result<Box<dyn Stream>> {
        let mut socket = self.connect_socket().with_context(|| format!("connecting to {}", self.address))?;
        socket.set_read_timeout(Some(IO_TIMEOUT))?;
        socket.set_write_timeout(Some(IO_TIMEOUT))?;
        socket.set_nodelay(true)?;
        socket.write_all(&self.preamble)?;
        let Some(configuration) = &self.tls else { return Ok(Box::new(socket)) };
        let name = ServerName::try_from(self.server_name.clone())?;
        let connection = ClientConnection::new(Arc::clone(configuration), name)?;
        Ok(Box::new(StreamOwned::new(connection, socket)))
    }

    fn connect_socket(&self) -> Result<TcpStream> {
        let Some(from) = self.from else { return Ok(TcpStream::connect(self.address)?) };
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((from, 0)).into())?;
        socket.connect(&self.address.into())?;
        Ok(socket.into())
    }
}

/// TLS inside a CONNECT tunnel.
impl Client {
    /// Starts TLS with this SNI on an open connection.
    pub(crate) fn over(stream: Box<dyn Stream>, server_name: &str) -> Result<Box<dyn Stream>> {
        let any = Self::tls(SocketAddr::from(([127, 0, 0, 1], 0)), None)?;
        let configuration = any.tls.context("the client above has TLS")?;
        let connection = ClientConnection::new(configuration, ServerName::try_from(server_name.to_owned())?)?;
        Ok(Box::new(StreamOwned::new(connection, stream)))
    }
}

/// Writes a request, reads exactly the head of the response, and returns its status.
pub fn response_head(stream: &mut dyn Stream, bytes: &[u8]) -> Result<u16> {
    stream.write_all(bytes)?;
    stream.flush()?;
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).context("reading the response head")?;
        answer.extend(byte);
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Response::new(&mut headers);
    parsed.parse(&answer)?;
    parsed.code.context("no status")
}

/// A connection that can be read from and written to.
pub trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// Writes a request, and reads until the response is complete. A reset after the complete response is not an error.
pub fn round_trip(stream: &mut dyn Stream, bytes: &[u8]) -> Result<Response> {
    stream.write_all(bytes)?;
    stream.flush()?;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let length = match stream.read(&mut chunk) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if answer.is_empty() => return Err(error).context("reading the response"),
            Err(_) => 0,
        };
        answer.extend(chunk.get(..length).unwrap_or_default());
        if let Some(response) = parse(&answer, length == 0)? {
            return Ok(response);
        }
        if length == 0 {
            bail!("the connection was closed after {} bytes of an incomplete response", answer.len());
        }
    }
}

/// Parses a response; `None` until it is complete by its length, its last chunk or the end of the connection.
fn parse(answer: &[u8], ended: bool) -> Result<Option<Response>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = parsed.parse(answer)? else { return Ok(None) };
    let status = parsed.code.context("no status")?;
    let headers: Vec<_> =
        parsed.headers.iter().map(|header| (header.name.to_ascii_lowercase(), header.value.to_vec())).collect();
    let header = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_slice());
    let body = answer.get(length..).unwrap_or_default();
    let body = match (header("transfer-encoding"), header("content-length")) {
        (Some(b"chunked"), _) => unchunk(body)?,
        (_, Some(length)) => body.get(..str::from_utf8(length)?.parse()?).map(<[u8]>::to_vec),
        _ => ended.then(|| body.to_vec()),
    };
    Ok(body.map(|body| Response { status, headers, body }))
}

/// Joins the chunks of a body; `None` until the last one is received.
pub(crate) fn unchunk(mut body: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut whole = Vec::new();
    loop {
        let (start, size) = match httparse::parse_chunk_size(body) {
            Ok(httparse::Status::Complete(found)) => found,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => bail!("invalid chunk size"),
        };
        let size = usize::try_from(size)?;
        let (Some(chunk), Some(rest)) = (body.get(start..start + size), body.get(start + size + 2..)) else {
            return Ok(None);
        };
        if size == 0 {
            return Ok(Some(whole));
        }
        whole.extend(chunk);
        body = rest;
    }
}

/// A verifier that accepts every server certificate.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
