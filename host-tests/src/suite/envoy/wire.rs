//! Requests and first bytes as a client writes them.

use anyhow::Result;
use testbed::{Client, StreamOutcome};

use crate::suite::case::RequestSpec;
use crate::suite::first_bytes::bytes;

/// Encodes a request of HTTP/1.1 with the case's id in the header `x-case`.
pub(super) fn http1_request(request: &RequestSpec, id: &str) -> Result<Vec<u8>> {
    let target = match (&request.target, request.method.as_str()) {
        (Some(target), _) => target,
        (None, "CONNECT") => &request.host,
        (None, _) => &request.path,
    };
    let mut message = bytes(&format!("{} {target} {}\r\nhost: {}\r\n", request.method, request.version, request.host))?;
    for (name, value) in &request.headers {
        message.extend(bytes(&format!("{name}: {value}\r\n"))?);
    }
    message.extend(format!("x-case: {id}\r\nconnection: close\r\n\r\n").into_bytes());
    Ok(message)
}

/// Sends a request by HTTP/2 with the case's id in the header `x-case`.
pub(super) fn send_http2(client: &Client, request: &RequestSpec, id: &str) -> Result<StreamOutcome> {
    let headers = http2_headers(request, id)?;
    client.send_http2(&headers.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect::<Vec<_>>())
}

/// Returns the headers of a request of HTTP/2. CONNECT has neither scheme nor path (RFC 9113, section 8.5).
pub(super) fn http2_headers(request: &RequestSpec, id: &str) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut headers = vec![(":method", bytes(&request.method)?), (":authority", bytes(&request.host)?)];
    if request.method != "CONNECT" {
        headers.extend([(":scheme", b"http".to_vec()), (":path", bytes(&request.path)?)]);
    }
    headers.push(("x-case", id.as_bytes().to_vec()));
    let mut headers: Vec<_> = headers.into_iter().map(|(name, value)| (name.as_bytes().to_vec(), value)).collect();
    for (name, value) in &request.headers {
        headers.push((bytes(name)?, bytes(value)?));
    }
    Ok(headers)
}
