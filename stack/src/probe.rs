//! Sends requests from inside a container, and prints the result as one line of JSON.
//!
//! `probe <kind> <host:port> [key=value | 'header: value' ...]`: `http` sends a request, `load` sends many and counts the
//! responses, `postgres` starts a PostgreSQL session, `tunnel` sends a CONNECT, `dns` asks a DNS server for `name=` and
//! `type=`, by TCP with `transport=tcp`, `dial` only opens a TCP connection. `as=` names a certificate of the visitor, or `none` for TLS without a certificate; without `as=`, the probe uses plaintext.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use testbed::{Client, DnsTransport, Identity, Response, ask_dns};

/// Time limit for a TCP connection.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// Pause between two requests of a load.
const LOAD_INTERVAL: Duration = Duration::from_millis(10);

/// The StartupMessage of the PostgreSQL protocol (3.0): length, version, user and database.
const STARTUP_MESSAGE: &[u8] = b"\x00\x00\x00\x21\x00\x03\x00\x00user\x00shop\x00database\x00shop\x00\x00";

/// A parsed probe.
struct Probe<'q> {
    address: &'q str,
    keys: BTreeMap<&'q str, &'q str>,
    headers: Vec<(&'q str, &'q str)>,
}

/// Parses and runs a probe, and prints its result.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let [kind, address, rest @ ..] = arguments else { bail!("expected a kind of probe and a host:port") };
    let mut probe = Probe { address, keys: BTreeMap::new(), headers: Vec::new() };
    for argument in rest {
        match (argument.split_once('='), argument.split_once(": ")) {
            (_, Some(header)) => probe.headers.push(header),
            (Some((key, value)), None) => _ = probe.keys.insert(key, value),
            _ => bail!("expected key=value or a header, found `{argument}`"),
        }
    }
    let result = match *kind {
        "http" => probe.http().map(|response| {
            let text = String::from_utf8_lossy(&response.body).into_owned();
            let headers: BTreeMap<_, _> = response
                .headers
                .into_iter()
                .map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()))
                .collect();
            json!({"status": response.status, "body": text, "headers": headers})
        }),
        "load" => probe.load(),
        "postgres" => probe.postgres(),
        "tunnel" => probe.tunnel(),
        "dns" => probe.dns(),
        "dial" => probe.dial().map(|_| json!({"status": "connected"})),
        _ => bail!("expected http, load, postgres, tunnel, dns or dial, found `{kind}`"),
    };
    println!("{}", result.unwrap_or_else(|error| json!({"error": format!("{error:#}")})));
    Ok(())
}

impl<'q> Probe<'q> {
    fn key(&self, key: &str, default: &'q str) -> &'q str {
        self.keys.get(key).copied().unwrap_or(default)
    }

    fn resolve(&self) -> Result<SocketAddr> {
        self.address.to_socket_addrs()?.find(SocketAddr::is_ipv4).context("no IPv4 address")
    }

    fn client(&self) -> Result<Client> {
        let address = self.resolve()?;
        let client = match self.keys.get("as") {
            None => Client::plaintext(address),
            Some(&"none") => Client::tls(address, None)?,
            Some(name) => {
                let folder = Path::new("/certificates/current");
                let read = |kind: &str| fs::read_to_string(folder.join(format!("{name}.{kind}")));
                let identity = Identity::from_pem(read("pem")?, read("key")?);
                Client::tls(address, Some(&identity))?
            }
        };
        Ok(match self.keys.get("sni") {
            Some(name) => client.with_sni(Some(name)),
            None => client,
        })
    }

    fn http(&self) -> Result<Response> {
        let (method, path) = (self.key("method", "GET"), self.key("path", "/"));
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.key("host", "shop.example"));
        for (name, value) in &self.headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(name) = self.keys.get("token") {
            let token = fs::read_to_string(format!("/tokens/{name}.jwt"))?;
            request.push_str(&format!("authorization: Bearer {token}\r\n"));
        }
        request.push_str("\r\n");
        self.client()?.send(request.as_bytes())
    }

    /// Sends requests until `seconds` or `count` is reached; counts the responses by status and by version, and returns the
    /// first errors.
    fn load(&self) -> Result<Value> {
        let (mut statuses, mut errors) = (BTreeMap::<u16, u32>::new(), Vec::new());
        let versions = &mut BTreeMap::<String, u32>::new();
        let time_limit = Duration::from_secs(self.key("seconds", "3").parse()?);
        let max_requests: u32 = self.key("count", "1000000").parse()?;
        let start = Instant::now();
        let mut sent = 0;
        while sent < max_requests && start.elapsed() < time_limit {
            sent += 1;
            match self.http() {
                Ok(response) => {
                    *statuses.entry(response.status).or_default() += 1;
                    if let Some(version) = response.header("x-version") {
                        *versions.entry(String::from_utf8_lossy(version).into_owned()).or_default() += 1;
                    }
                }
                Err(error) => errors.push(format!("{error:#}")),
            }
            thread::sleep(LOAD_INTERVAL);
        }
        let lost = errors.len();
        errors.truncate(3);
        Ok(json!({"sent": sent, "statuses": statuses, "versions": versions, "lost": lost, "errors": errors}))
    }

    /// Returns the type of the database's first message: R (Authentication) if it accepts the session, E (ErrorResponse) if
    /// it refuses.
    fn postgres(&self) -> Result<Value> {
        let mut stream = self.client()?.connect()?;
        stream.write_all(STARTUP_MESSAGE)?;
        stream.flush()?;
        let mut first = [0];
        stream.read_exact(&mut first).context("closed without a response")?;
        match first {
            [letter @ (b'R' | b'E')] => Ok(json!({"status": char::from(letter).to_string()})),
            other => bail!("unexpected first byte {other:?} from the database"),
        }
    }

    fn tunnel(&self) -> Result<Value> {
        let host = self.key("host", "");
        let mut stream = self.client()?.connect()?;
        stream.write_all(format!("CONNECT {host} HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes())?;
        stream.flush()?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).context("closed without a response")?;
        let status = String::from_utf8_lossy(&head).split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
        Ok(json!({"status": status}))
    }

    fn dns(&self) -> Result<Value> {
        let transport = if self.key("transport", "udp") == "tcp" { DnsTransport::Tcp } else { DnsTransport::Udp };
        let answer = ask_dns(self.resolve()?, transport, self.key("name", ""), self.key("type", "A"))?;
        Ok(json!({"status": answer.code, "addresses": answer.addresses, "records": answer.records}))
    }

    fn dial(&self) -> Result<TcpStream> {
        Ok(TcpStream::connect_timeout(&self.resolve()?, DIAL_TIMEOUT)?)
    }
}
