//! A small HTTP server: one thread a request, one function that answers.

use std::sync::Arc;
use std::thread;

use anyhow::{Result, anyhow};
use tiny_http::{Header, Request, Response, Server};

/// What is answered.
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The media type of the body.
    pub(crate) kind: &'static str,
    /// The body.
    pub(crate) body: String,
    /// Further headers.
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Answer {
    /// A short text.
    pub(crate) fn text(status: u16, body: impl Into<String>) -> Self {
        Self { status, kind: "text/plain", body: body.into(), headers: Vec::new() }
    }

    /// JSON.
    pub(crate) fn json(body: &serde_json::Value) -> Self {
        Self { status: 200, kind: "application/json", body: body.to_string(), headers: Vec::new() }
    }

    /// With this header as well.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// The value of a request's header.
pub(crate) fn header<'r>(request: &'r Request, name: &'static str) -> Option<&'r str> {
    request.headers().iter().find(|header| header.field.equiv(name)).map(|header| header.value.as_str())
}

/// Answers requests to this port until the process ends.
pub(crate) fn serve(port: u16, answer: impl Fn(&mut Request) -> Answer + Send + Sync + 'static) -> Result<()> {
    let server = Server::http(("0.0.0.0", port)).map_err(|error| anyhow!("listening on port {port}: {error}"))?;
    let answer = Arc::new(answer);
    for mut request in server.incoming_requests() {
        let answer = Arc::clone(&answer);
        thread::spawn(move || {
            let Answer { status, kind, body, headers } = answer(&mut request);
            let mut response = Response::from_string(body).with_status_code(status);
            let kind = ("content-type", kind.to_owned());
            for (name, value) in std::iter::once(kind).chain(headers) {
                if let Ok(header) = Header::from_bytes(name, value) {
                    response.add_header(header);
                }
            }
            // Who has gone does not wait for the answer.
            let _gone = request.respond(response);
        });
    }
    Ok(())
}
