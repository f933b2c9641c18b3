//! A server of Envoy's secret discovery service (SDS) on a Unix socket, in place of a SPIRE agent.

use std::collections::BTreeMap;
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result};
use bytes::Bytes;
use h2::RecvStream;
use h2::server::{self, SendResponse};
use http::{Request, Response};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime;
use tokio::sync::watch;

use crate::certificates::Identity;

const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
const VALIDATOR: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig";

/// A secret, as a SPIRE agent gives it out.
#[derive(Clone, Debug)]
pub enum Secret {
    /// A certificate with its key.
    Svid(Identity),
    /// The authorities of one trust domain, in PEM.
    Bundle(String),
    /// The authorities of several trust domains, each in PEM, for Envoy's validator of SPIFFE: a certificate is validated by
    /// the authorities of its own trust domain.
    Federation(Vec<(String, String)>),
}

/// Secrets by name.
type Secrets = BTreeMap<String, Secret>;

/// A running server. Its thread ends when it is dropped.
#[derive(Debug)]
pub struct SecretServer {
    secrets: watch::Sender<Secrets>,
}

impl SecretServer {
    /// Starts a server at this socket, which has no secrets yet.
    pub fn start(socket: &Path) -> Result<Self> {
        let listener = StdListener::bind(socket).with_context(|| socket.display().to_string())?;
        listener.set_nonblocking(true)?;
        let (secrets, of_server) = watch::channel(Secrets::new());
        let (started, is_started) = mpsc::channel();
        thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_io().build();
            let serve = |runtime: runtime::Runtime| {
                runtime.block_on(async {
                    let listener = UnixListener::from_std(listener)?;
                    // The receiver is gone where the start has failed.
                    let _sent = started.send(());
                    accept(&listener, of_server).await
                })
            };
            runtime.map_err(Into::into).and_then(serve)
        });
        is_started.recv().context("the server does not start")?;
        Ok(Self { secrets })
    }

    /// Gives out other secrets: every subscriber gets those that it asked for.
    pub fn set(&self, secrets: &[(&str, Secret)]) {
        let secrets = secrets.iter().map(|(name, secret)| ((*name).to_owned(), secret.clone())).collect();
        // Without a subscriber there is nobody to tell.
        self.secrets.send_replace(secrets);
    }
}

/// Accepts connections until no server is there any more.
async fn accept(listener: &UnixListener, mut secrets: watch::Receiver<Secrets>) -> Result<()> {
    let of_connections = secrets.clone();
    let accepting = async {
        loop {
            let (socket, _) = listener.accept().await?;
            tokio::spawn(serve(socket, of_connections.clone()));
        }
    };
    let ended = async { while secrets.changed().await.is_ok() {} };
    race(accepting, ended).await
}

/// Waits for the end of `work`, or of `end`, whatever comes first.
async fn race(work: impl Future<Output = Result<()>>, end: impl Future<Output = ()>) -> Result<()> {
    let (mut work, mut end) = (Box::pin(work), Box::pin(end));
    std::future::poll_fn(|context| match work.as_mut().poll(context) {
        std::task::Poll::Ready(result) => std::task::Poll::Ready(result),
        std::task::Poll::Pending => end.as_mut().poll(context).map(|()| Ok(())),
    })
    .await
}

async fn serve(socket: UnixStream, secrets: watch::Receiver<Secrets>) -> Result<()> {
    let mut connection = server::handshake(socket).await?;
    while let Some(stream) = connection.accept().await {
        let (request, respond) = stream?;
        tokio::spawn(subscribe(request, respond, secrets.clone()));
    }
    Ok(())
}

/// Answers one subscription: the secrets that it asks for at first, and again whenever they change.
async fn subscribe(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    mut secrets: watch::Receiver<Secrets>,
) -> Result<()> {
    let mut body = request.into_body();
    let head = Response::builder().header("content-type", "application/grpc").body(())?;
    let mut answers = respond.send_response(head, false)?;
    let names = first_names(&mut body).await?;
    // What follows are acknowledgements.
    tokio::spawn(async move {
        while let Some(Ok(data)) = body.data().await {
            body.flow_control().release_capacity(data.len())?;
        }
        Ok::<_, h2::Error>(())
    });
    for version in 1_u64.. {
        let message = {
            let secrets = secrets.borrow_and_update();
            let found: Vec<_> = names.iter().filter_map(|name| Some((name, secrets.get(name)?))).collect();
            (found.len() == names.len()).then(|| discovery_response(version, &found))
        };
        if let Some(message) = message {
            let length = u32::try_from(message.len())?.to_be_bytes();
            answers.send_data([&[0][..], &length, &message].concat().into(), false)?;
        }
        if secrets.changed().await.is_err() {
            break;
        }
    }
    Ok(())
}

/// The names in the first request.
async fn first_names(body: &mut RecvStream) -> Result<Vec<String>> {
    let mut bytes: Vec<u8> = Vec::new();
    loop {
        if let Some(length) = bytes.get(1..5).and_then(|length| <[u8; 4]>::try_from(length).ok()) {
            let length = usize::try_from(u32::from_be_bytes(length))?;
            if let Some(message) = bytes.get(5..5 + length) {
                // DiscoveryRequest { repeated string resource_names = 3; }
                return Ok(texts(message, 3));
            }
        }
        let data = body.data().await.context("no request")??;
        body.flow_control().release_capacity(data.len())?;
        bytes.extend_from_slice(&data);
    }
}

/// The texts of a field of a message whose fields all have a length, as a DiscoveryRequest has.
fn texts(mut message: &[u8], number: u8) -> Vec<String> {
    let mut found = Vec::new();
    while let Some((tag, rest)) = message.split_first() {
        let (mut length, mut shift, mut rest) = (0_usize, 0, rest);
        while let Some((byte, after)) = rest.split_first() {
            length |= usize::from(byte & 0x7f) << shift;
            (shift, rest) = (shift + 7, after);
            if byte & 0x80 == 0 {
                break;
            }
        }
        let Some((content, after)) = rest.split_at_checked(length) else { break };
        if tag >> 3 == number {
            found.push(String::from_utf8_lossy(content).into_owned());
        }
        message = after;
    }
    found
}

/// A field with a length (protobuf wire type 2).
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut left = content.len();
    while left >= 0x80 {
        bytes.push(u8::try_from(left & 0x7f).unwrap_or_default() | 0x80);
        left >>= 7;
    }
    bytes.push(u8::try_from(left).unwrap_or_default());
    [bytes, content.to_vec()].concat()
}

/// `google.protobuf.Any { string type_url = 1; bytes value = 2; }`
fn any(type_url: &str, value: &[u8]) -> Vec<u8> {
    [field(1, type_url.as_bytes()), field(2, value)].concat()
}

/// `DataSource { oneof { string inline_string = 3; } }`
fn inline(text: &str) -> Vec<u8> {
    field(3, text.as_bytes())
}

/// `DiscoveryResponse { string version_info = 1; repeated Any resources = 2; string type_url = 4; string nonce = 5; }`
fn discovery_response(version: u64, secrets: &[(&String, &Secret)]) -> Vec<u8> {
    let version = version.to_string();
    let mut message = field(1, version.as_bytes());
    for (name, secret) in secrets {
        message.extend(field(2, &any(SECRET, &encode(name, secret))));
    }
    message.extend(field(4, SECRET.as_bytes()));
    message.extend(field(5, version.as_bytes()));
    message
}

/// `Secret { string name = 1; oneof { TlsCertificate tls_certificate = 2; CertificateValidationContext validation_context = 4; } }`
fn encode(name: &str, secret: &Secret) -> Vec<u8> {
    let content = match secret {
        // TlsCertificate { DataSource certificate_chain = 1; DataSource private_key = 2; }
        Secret::Svid(identity) => {
            field(2, &[field(1, &inline(identity.certificate())), field(2, &inline(identity.key()))].concat())
        }
        // CertificateValidationContext { DataSource trusted_ca = 1; TypedExtensionConfig custom_validator_config = 12; }
        Secret::Bundle(bundle) => field(4, &field(1, &inline(bundle))),
        // SPIFFECertValidatorConfig { repeated TrustDomain { string name = 1; DataSource trust_bundle = 2; } trust_domains = 1; }
        Secret::Federation(domains) => {
            let domain = |(name, bundle): &(String, String)| {
                field(1, &[field(1, name.as_bytes()), field(2, &inline(bundle))].concat())
            };
            let domains: Vec<u8> = domains.iter().flat_map(domain).collect();
            let validator =
                [field(1, b"envoy.tls.cert_validator.spiffe"), field(2, &any(VALIDATOR, &domains))].concat();
            field(4, &field(12, &validator))
        }
    };
    [field(1, name.as_bytes()), content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_a_request() {
        let long = "x".repeat(300);
        let request = [field(2, b"node"), field(3, b"default"), field(4, SECRET.as_bytes()), field(3, long.as_bytes())];
        assert_eq!(texts(&request.concat(), 3), ["default".to_owned(), long]);
        assert_eq!(texts(request.concat().get(..20).unwrap_or_default(), 9), Vec::<String>::new());
    }
}
