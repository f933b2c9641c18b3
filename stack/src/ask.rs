//! Asks from inside a container, and prints what came of it as one line of JSON.
//!
//! `ask <what> <host:port> [key=value ...]`: `http` sends a request, `flood` many and counts the answers, `postgres`
//! begins to speak with a database, `tunnel` asks for a CONNECT, `dial` only connects. `as=` names a certificate of the
//! visitor's, or `nobody` for TLS without one; without it, it is plaintext.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use testbed::{Client, Identity, Response};

/// How long a connection may take.
const DIAL_LIMIT: Duration = Duration::from_secs(3);
/// Between two requests of a flood.
const PACE: Duration = Duration::from_millis(10);

/// What the PostgreSQL protocol (3.0) begins with: length, version, the user and the database.
const STARTUP: &[u8] = b"\x00\x00\x00\x21\x00\x03\x00\x00user\x00shop\x00database\x00shop\x00\x00";

struct Question<'q> {
    address: &'q str,
    keys: BTreeMap<&'q str, &'q str>,
    headers: Vec<(&'q str, &'q str)>,
}

/// Asks, and prints.
pub(crate) fn ask(arguments: &[&str]) -> Result<()> {
    let [what, address, rest @ ..] = arguments else { bail!("expected what to ask and a host:port") };
    let mut question = Question { address, keys: BTreeMap::new(), headers: Vec::new() };
    for argument in rest {
        match (argument.split_once('='), argument.split_once(": ")) {
            (_, Some(header)) => question.headers.push(header),
            (Some((key, value)), None) => _ = question.keys.insert(key, value),
            _ => bail!("{argument} is neither key=value nor a header"),
        }
    }
    let answer = match *what {
        "http" => question.http().map(|response| {
            let text = String::from_utf8_lossy(&response.body).into_owned();
            let headers: BTreeMap<_, _> = response
                .headers
                .into_iter()
                .map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()))
                .collect();
            json!({"status": response.status, "body": text, "headers": headers})
        }),
        "flood" => question.flood(),
        "postgres" => question.postgres(),
        "tunnel" => question.tunnel(),
        "dial" => question.dial().map(|_| json!({"status": "connected"})),
        _ => bail!("{what} is not http, flood, postgres, tunnel or dial"),
    };
    println!("{}", answer.unwrap_or_else(|error| json!({"error": format!("{error:#}")})));
    Ok(())
}

impl<'q> Question<'q> {
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
            Some(&"nobody") => Client::tls(address, None)?,
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

    /// Asks again and again for so many seconds; how often each status came, and the first errors.
    fn flood(&self) -> Result<Value> {
        let (mut statuses, mut errors) = (BTreeMap::<u16, u32>::new(), Vec::new());
        let versions = &mut BTreeMap::<String, u32>::new();
        let limit = Duration::from_secs(self.key("seconds", "3").parse()?);
        let most: u32 = self.key("count", "1000000").parse()?;
        let start = Instant::now();
        let mut asked = 0;
        while asked < most && start.elapsed() < limit {
            asked += 1;
            match self.http() {
                Ok(response) => {
                    *statuses.entry(response.status).or_default() += 1;
                    if let Some(version) = response.header("x-version") {
                        *versions.entry(String::from_utf8_lossy(version).into_owned()).or_default() += 1;
                    }
                }
                Err(error) => errors.push(format!("{error:#}")),
            }
            thread::sleep(PACE);
        }
        let lost = errors.len();
        errors.truncate(3);
        Ok(json!({"asked": asked, "statuses": statuses, "versions": versions, "lost": lost, "errors": errors}))
    }

    /// The first byte that a database answers with: R where it takes the conversation up, E where it refuses.
    fn postgres(&self) -> Result<Value> {
        let mut stream = self.client()?.connect()?;
        stream.write_all(STARTUP)?;
        stream.flush()?;
        let mut first = [0];
        stream.read_exact(&mut first).context("closed without an answer")?;
        match first {
            [letter @ (b'R' | b'E')] => Ok(json!({"status": char::from(letter).to_string()})),
            other => bail!("{other:?} is nothing that a database answers"),
        }
    }

    fn tunnel(&self) -> Result<Value> {
        let host = self.key("host", "");
        let mut stream = self.client()?.connect()?;
        stream.write_all(format!("CONNECT {host} HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes())?;
        stream.flush()?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).context("closed without an answer")?;
        let status = String::from_utf8_lossy(&head).split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
        Ok(json!({"status": status}))
    }

    fn dial(&self) -> Result<TcpStream> {
        Ok(TcpStream::connect_timeout(&self.resolve()?, DIAL_LIMIT)?)
    }
}
