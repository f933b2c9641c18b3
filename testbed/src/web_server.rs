//! A web server in place of an external host, for real clients. Its threads end with the process.

use std::fs;
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, bail};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::certificates::Identity;
use crate::client::{Stream, unchunk};
use crate::tls_server::server_config;

/// A server of HTTP/1.1, with TLS or without. It serves the files of a folder, answers `GET /` with `this is` and the
/// host that the client asked for, and other methods with the length of the body that it got.
#[derive(Debug)]
pub struct WebServer {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

/// State that the threads of a server share.
struct Site {
    folder: PathBuf,
    requests: Arc<Mutex<Vec<String>>>,
}

impl WebServer {
    /// Starts a server on a free port of 127.0.0.1, with TLS where it has an identity.
    pub fn start(folder: &Path, identity: Option<&Identity>) -> Result<Self> {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), folder, identity)
    }

    /// Starts a server at this address; port 0 takes a free one.
    pub fn start_at(address: SocketAddr, folder: &Path, identity: Option<&Identity>) -> Result<Self> {
        let tls = identity.map(server_config).transpose()?;
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let requests = Arc::default();
        let site = Arc::new(Site { folder: folder.to_owned(), requests: Arc::clone(&requests) });
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (site, tls) = (Arc::clone(&site), tls.clone());
                thread::spawn(move || site.serve(socket, tls));
            }
        });
        Ok(Self { address, requests })
    }

    /// The port of the listening socket.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The requests so far, each as method, path and host without the port.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The head of a request.
struct Head {
    method: String,
    path: String,
    host: String,
    length: Option<usize>,
    chunked: bool,
    expects_continue: bool,
    last: bool,
}

impl Site {
    fn serve(&self, socket: TcpStream, tls: Option<Arc<ServerConfig>>) -> Result<()> {
        let Some(tls) = tls else { return self.answer_all(&mut &socket) };
        let mut stream = StreamOwned::new(ServerConnection::new(tls)?, socket);
        self.answer_all(&mut stream)?;
        stream.conn.send_close_notify();
        Ok(stream.flush()?)
    }

    fn answer_all(&self, stream: &mut dyn Stream) -> Result<()> {
        let mut received = Vec::new();
        while let Some(length) = read_until(stream, &mut received, head_length)? {
            let head = Head::parse(received.get(..length).unwrap_or_default())?;
            received.drain(..length);
            let body = read_body(stream, &mut received, &head)?;
            let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
            requests.push(format!("{} {} {}", head.method, head.path, head.host));
            drop(requests);
            let (status, content) = self.content(&head, body);
            let connection = if head.last { "close" } else { "keep-alive" };
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\ncontent-type: {}\r\nconnection: {connection}\r\n\r\n",
                content.len(),
                content_type(&head.path),
            );
            stream.write_all(answer.as_bytes())?;
            if head.method != "HEAD" {
                stream.write_all(&content)?;
            }
            stream.flush()?;
            if head.last {
                break;
            }
        }
        Ok(())
    }

    /// The status and the body of a response.
    fn content(&self, head: &Head, body: usize) -> (&'static str, Vec<u8>) {
        if !matches!(head.method.as_str(), "GET" | "HEAD") {
            return ("200 OK", format!("{body} bytes\n").into_bytes());
        }
        let path = head.path.split('?').next().unwrap_or_default().trim_start_matches('/');
        if path.is_empty() {
            return ("200 OK", format!("this is {}\n", head.host).into_bytes());
        }
        let file = self.folder.join(path);
        let file = if file.is_dir() { file.join("index.html") } else { file };
        match fs::read(file) {
            Ok(content) if !path.contains("..") => ("200 OK", content),
            _ => ("404 Not Found", b"no such file\n".to_vec()),
        }
    }
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.') {
        Some((_, "json")) => "application/json",
        Some((_, "html")) => "text/html",
        Some((_, "js")) => "text/javascript",
        Some((_, "css")) => "text/css",
        Some((_, "svg")) => "image/svg+xml",
        Some((_, "wasm")) => "application/wasm",
        _ if path.ends_with('/') => "text/html",
        _ => "application/octet-stream",
    }
}

impl Head {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Request::new(&mut headers);
        parsed.parse(bytes)?;
        let header = |name: &str| {
            let header = parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            header.map(|header| String::from_utf8_lossy(header.value).to_ascii_lowercase())
        };
        let host = header("host").unwrap_or_default();
        let chunked = header("transfer-encoding").is_some_and(|coding| coding == "chunked");
        Ok(Self {
            method: parsed.method.unwrap_or_default().to_owned(),
            path: parsed.path.unwrap_or_default().to_owned(),
            host: host.split(':').next().unwrap_or_default().to_owned(),
            length: header("content-length").map(|length| length.parse()).transpose()?,
            chunked,
            expects_continue: header("expect").is_some_and(|expected| expected == "100-continue"),
            // Where a chunked body ends is not looked for.
            last: chunked || header("connection").is_some_and(|options| options.contains("close")),
        })
    }
}

/// Reads the body of a request, and returns its length.
fn read_body(stream: &mut dyn Stream, received: &mut Vec<u8>, head: &Head) -> Result<usize> {
    if head.expects_continue {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        stream.flush()?;
    }
    let cut_off = "the body was cut off";
    if head.chunked {
        return Ok(read_until(stream, received, unchunk)?.context(cut_off)?.len());
    }
    let length = head.length.unwrap_or_default();
    if length > 0 {
        read_until(stream, received, |bytes| Ok((bytes.len() >= length).then_some(())))?.context(cut_off)?;
        received.drain(..length);
    }
    Ok(length)
}

/// The length of the head with which these bytes begin.
fn head_length(bytes: &[u8]) -> Result<Option<usize>> {
    Ok(bytes.windows(4).position(|end| end == b"\r\n\r\n").map(|position| position + 4))
}

/// Reads until `done` returns a value; `None` where the client closes before it sends anything.
fn read_until<T>(
    stream: &mut dyn Stream,
    received: &mut Vec<u8>,
    done: impl Fn(&[u8]) -> Result<Option<T>>,
) -> Result<Option<T>> {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        if let Some(value) = done(received)? {
            return Ok(Some(value));
        }
        let length = match stream.read(&mut chunk) {
            // Many clients close without a TLS close_notify.
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => 0,
            read => read?,
        };
        match (length, received.is_empty()) {
            (0, true) => return Ok(None),
            (0, false) => bail!("the client closed in the middle of a request"),
            (length, _) => received.extend(chunk.get(..length).unwrap_or_default()),
        }
    }
}
