//! A client that sends the bytes that it is given.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use crate::certificates::Identity;

/// How long a server may be silent.
const SILENCE_LIMIT: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Its HTTP status.
    pub status: u16,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_slice())
    }
}

/// Connects anew for every request.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    server_name: String,
    preamble: Vec<u8>,
}

impl Client {
    /// A client that speaks plaintext.
    pub fn plaintext(address: SocketAddr) -> Self {
        Self { address, tls: None, server_name: "localhost".to_owned(), preamble: Vec::new() }
    }

    /// A client that speaks TLS, with a certificate or without. It does not check the server's: what is tested is the
    /// server.
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

    /// Sends these bytes before anything else, TLS included: a PROXY protocol header.
    pub fn with_preamble(mut self, preamble: Vec<u8>) -> Self {
        self.preamble = preamble;
        self
    }

    /// Sends GET and reads the answer.
    pub fn get(&self, path: &str) -> Result<Response> {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes())
    }

    /// Sends raw bytes and reads the answer.
    pub fn send(&self, bytes: &[u8]) -> Result<Response> {
        let mut socket = TcpStream::connect(self.address).with_context(|| format!("connecting to {}", self.address))?;
        socket.set_read_timeout(Some(SILENCE_LIMIT))?;
        socket.set_write_timeout(Some(SILENCE_LIMIT))?;
        socket.set_nodelay(true)?;
        socket.write_all(&self.preamble)?;
        match &self.tls {
            None => talk(&mut socket, bytes),
            Some(configuration) => {
                let name = ServerName::try_from(self.server_name.clone())?;
                let connection = ClientConnection::new(Arc::clone(configuration), name)?;
                talk(&mut StreamOwned::new(connection, socket), bytes)
            }
        }
    }
}

/// Writes, then reads until the answer is whole. A peer that resets after it has answered has answered.
fn talk(stream: &mut (impl Read + Write), bytes: &[u8]) -> Result<Response> {
    stream.write_all(bytes)?;
    stream.flush()?;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let length = match stream.read(&mut chunk) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if answer.is_empty() => return Err(error).context("reading the answer"),
            Err(_) => 0,
        };
        answer.extend(chunk.get(..length).unwrap_or_default());
        if let Some(response) = parse(&answer, length == 0)? {
            return Ok(response);
        }
        if length == 0 {
            bail!("the connection was closed without a whole answer, after {} bytes", answer.len());
        }
    }
}

/// The answer, once it is whole: by its length, by its last chunk, or by the end of the connection.
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

/// The body of all chunks, once the last one is there.
fn unchunk(mut body: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut whole = Vec::new();
    loop {
        let (start, size) = match httparse::parse_chunk_size(body) {
            Ok(httparse::Status::Complete(found)) => found,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => bail!("a broken chunk"),
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

/// Trusts every server.
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
