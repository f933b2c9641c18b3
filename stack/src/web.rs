//! A small HTTP server: one handler function, one thread per request.

use std::sync::Arc;
use std::thread;

use anyhow::{Result, anyhow};
use tiny_http::{Header, Request, Response, Server};

/// A response.
pub(crate) struct Reply {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The media type of the body.
    pub(crate) media_type: &'static str,
    /// The body.
    pub(crate) body: String,
    /// Further headers.
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Reply {
    /// A plain text response.
    pub(crate) fn text(status: u16, body: impl Into<String>) -> Self {
        Self { status, media_type: "text/plain", body: body.into(), headers: Vec::new() }
    }

    /// A JSON response with status 200.
    pub(crate) fn json(body: &serde_json::Value) -> Self {
        Self { status: 200, media_type: "application/json", body: body.to_string(), headers: Vec::new() }
    }

    /// Adds a header.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// The value of a request header.
pub(crate) fn header<'r>(request: &'r Request, name: &'static str) -> Option<&'r str> {
    request.headers().iter().find(|header| header.field.equiv(name)).map(|header| header.value.as_str())
}

/// Serves requests on a port until the process ends.
pub(crate) fn serve(port: u16, handler: impl Fn(&mut Request) -> Reply + Send + Sync + 'static) -> Result<()> {
    let server = Server::http(("0.0.0.0", port)).map_err(|error| anyhow!("listening on port {port}: {error}"))?;
    let handler = Arc::new(handler);
    for mut request in server.incoming_requests() {
        let handler = Arc::clone(&handler);
        thread::spawn(move || {
            let Reply { status, media_type, body, headers } = handler(&mut request);
            let mut response = Response::from_string(body).with_status_code(status);
            let content_type = ("content-type", media_type.to_owned());
            for (name, value) in std::iter::once(content_type).chain(headers) {
                if let Ok(header) = Header::from_bytes(name, value) {
                    response.add_header(header);
                }
            }
            // The client may have closed the connection.
            let _closed = request.respond(response);
        });
    }
    Ok(())
}
