//! Tunnels to a service that sends everything back.

use std::io::{Read, Write};

use anyhow::{Result, bail};
use testbed::{Client, Http2Tunnel, response_head};

use super::wire::{http1_request, http2_headers};
use crate::suite::case::RequestSpec;
use crate::suite::observed::{CLOSED, REACHED};
use crate::suite::tunnel::{Tunnel, TunnelEnd};

/// The header that selects the route to the service.
pub(super) const TUNNEL_HEADER: &str = "x-suite-tunnel";

/// Opens a tunnel and sends its bytes. The status is 200 if all come back, 0 if the tunnel was opened and ended before
/// one did, or else that of the answer, which for HTTP/2 the access log has.
pub(super) fn send_tunnel(
    client: &Client,
    request: &RequestSpec,
    tunnel: &Tunnel,
    id: &str,
) -> Result<(Option<u16>, Vec<u8>)> {
    let mut request = request.clone();
    request.headers.push((TUNNEL_HEADER.to_owned(), "1".to_owned()));
    let (early, writes) = match tunnel.early {
        true => (tunnel.bytes()?, Vec::new()),
        false => (Vec::new(), tunnel.writes()?),
    };
    if request.http2 {
        let headers = http2_headers(&request, id)?;
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
        return send_http2_tunnel(client.open_http2_tunnel(&headers, &early)?, tunnel, writes);
    }
    if tunnel.end.is_some() {
        bail!("HTTP/1.1 has no end of a tunnel's side that a test could see");
    }
    let mut stream = client.connect()?;
    let status = response_head(&mut *stream, &[http1_request(&request, id)?, early].concat())?;
    if status != REACHED {
        return Ok((Some(status), read_to_end(&mut *stream)));
    }
    for bytes in writes {
        // The proxy may close before everything is written.
        let _closed = stream.write_all(&bytes).and_then(|()| stream.flush());
    }
    Ok((Some(read_back(&mut *stream, &tunnel.bytes()?)?), Vec::new()))
}

fn send_http2_tunnel(
    mut stream: Http2Tunnel,
    tunnel: &Tunnel,
    mut writes: Vec<Vec<u8>>,
) -> Result<(Option<u16>, Vec<u8>)> {
    if !stream.is_open() {
        return Ok((None, read_to_end(&mut stream)));
    }
    let last = if tunnel.end == Some(TunnelEnd::Stream) { writes.pop() } else { None };
    for bytes in writes {
        stream.write_all(&bytes)?;
    }
    match tunnel.end {
        None => return Ok((Some(read_back(&mut stream, &tunnel.bytes()?)?), Vec::new())),
        Some(TunnelEnd::Stream) => stream.end_with(&last.unwrap_or_default())?,
        Some(TunnelEnd::Trailers) => stream.end_with_trailers()?,
    }
    // The service closes when the client's side ends, and may not send anything back.
    let _some = read_to_end(&mut stream);
    Ok((Some(if stream.is_reset() { CLOSED } else { REACHED }), Vec::new()))
}

fn read_to_end(stream: &mut (impl Read + ?Sized)) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A peer may close without a TLS close_notify.
    let _cut = stream.read_to_end(&mut bytes);
    bytes
}

/// Reads what the service sends back: everything, or nothing.
fn read_back(stream: &mut (impl Read + ?Sized), sent: &[u8]) -> Result<u16> {
    let mut received = vec![0; sent.len()];
    let mut length = 0;
    while let Some(rest) = received.get_mut(length..).filter(|rest| !rest.is_empty()) {
        // A peer may close without a TLS close_notify, or reset the connection.
        match stream.read(rest) {
            Ok(0) | Err(_) => break,
            Ok(more) => length += more,
        }
    }
    match received.get(..length) {
        Some([]) if !sent.is_empty() => Ok(CLOSED),
        Some(received) if received == sent => Ok(REACHED),
        received => bail!("{} came back", received.unwrap_or_default().escape_ascii()),
    }
}
