//! The few calls of W3C WebDriver that the tests make. A library would do, but those for Rust either change how
//! `serde_json` keeps objects for the whole workspace (thirtyfour) or are under MPL-2.0 (fantoccini), which deny.toml
//! does not have.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Time limit of one call.
const LIMIT: Duration = Duration::from_secs(60);

/// Session with a driver.
pub(crate) struct Session {
    driver: SocketAddr,
    id: String,
    /// Process of the browser.
    process: Option<i32>,
}

impl Session {
    /// Opens a session with these capabilities.
    pub(crate) fn open(driver: SocketAddr, capabilities: &Value) -> Result<Self> {
        let body = json!({"capabilities": {"alwaysMatch": capabilities}});
        let opened = call(driver, "POST", "/session", Some(&body))?;
        let id = opened.get("sessionId").and_then(Value::as_str).context("the driver opened no session")?;
        let process = opened.pointer("/capabilities/goog:processID").and_then(Value::as_i64);
        Ok(Self { driver, id: id.to_owned(), process: process.and_then(|process| i32::try_from(process).ok()) })
    }

    /// Makes a call of the session.
    pub(crate) fn post(&self, command: &str, body: &Value) -> Result<Value> {
        call(self.driver, "POST", &format!("/session/{}/{command}", self.id), Some(body))
    }

    /// Asks the session.
    pub(crate) fn get(&self, command: &str) -> Result<Value> {
        call(self.driver, "GET", &format!("/session/{}/{command}", self.id), None)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A driver that is gone has no session either.
        let _gone = call(self.driver, "DELETE", &format!("/session/{}", self.id), None);
        // A browser that hangs does not end by itself.
        if let Some(process) = self.process.and_then(Pid::from_raw) {
            let _ended = kill_process(process, Signal::KILL);
        }
    }
}

/// Reports whether the driver answers.
pub(crate) fn is_ready(driver: SocketAddr) -> Result<bool> {
    Ok(call(driver, "GET", "/status", None)?.get("ready") == Some(&Value::Bool(true)))
}

fn call(driver: SocketAddr, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
    let content = body.map(Value::to_string).unwrap_or_default();
    let mut stream = TcpStream::connect(driver).context("the driver does not answer")?;
    stream.set_read_timeout(Some(LIMIT))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        content.len()
    )?;
    stream.write_all(content.as_bytes())?;
    let answer = read_body(BufReader::new(stream)).with_context(|| format!("{method} {path}"))?;
    let mut answer: Value = serde_json::from_slice(&answer).with_context(|| format!("{method} {path}"))?;
    let value = answer.get_mut("value").map(Value::take).unwrap_or_default();
    match value.get("error").and_then(Value::as_str) {
        Some(error) if value.get("message").is_some() => {
            let message = value.get("message").and_then(Value::as_str).unwrap_or_default();
            bail!("{method} {path}: {error}: {message}")
        }
        _ => Ok(value),
    }
}

/// Reads the body of a response, which has a length.
fn read_body(mut stream: impl Read) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    response.parse(&head)?;
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.context("a response without a length")?;
    let mut body = vec![0; std::str::from_utf8(length.value)?.trim().parse()?];
    stream.read_exact(&mut body)?;
    Ok(body)
}
