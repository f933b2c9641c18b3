//! Host functions on streams.

use anyhow::Result;
use wasmtime::Linker;

use super::{CallResult, host_function, record};
use crate::wasm_host::encoding;
use crate::wasm_host::guest::Guest;
use crate::wasm_host::outcome::LocalResponse;
use crate::wasm_host::state::{State, Status};
use crate::wasm_host::stream::StreamKind;

/// The values of `proxy_stream_type_t`.
const DOWNSTREAM: u32 = 2;
const UPSTREAM: u32 = 3;

pub(super) fn define(linker: &mut Linker<State>) -> Result<()> {
    host_function!(
        linker,
        "proxy_send_local_response",
        |guest,
         status: u32,
         details: u32,
         details_length: u32,
         body: u32,
         body_length: u32,
         headers: u32,
         headers_length: u32,
         grpc_status: i32| {
            send_local_response(
                guest,
                status,
                [details, details_length],
                [body, body_length],
                [headers, headers_length],
                grpc_status,
            )
        }
    );
    host_function!(linker, "proxy_continue_stream", |guest, kind: u32| {
        // Nothing here waits to be continued.
        record(guest, "proxy_continue_stream", b"")?;
        match kind {
            UPSTREAM => Err(Status::Unimplemented.into()),
            kind if kind > UPSTREAM => Err(Status::BadArgument.into()),
            _ => Ok(()),
        }
    });
    host_function!(linker, "proxy_close_stream", |guest, kind: u32| close_stream(guest, kind));
    Ok(())
}

fn send_local_response(
    guest: &mut Guest<'_, '_>,
    status: u32,
    [details, details_length]: [u32; 2],
    [body, body_length]: [u32; 2],
    [headers, headers_length]: [u32; 2],
    grpc_status: i32,
) -> CallResult {
    record(guest, "proxy_send_local_response", b"")?;
    let details = String::from_utf8_lossy(&guest.read(details, details_length)?).replace(' ', "_");
    let body = guest.read(body, body_length)?;
    let headers = encoding::read_header_map(&guest.read(headers, headers_length)?).ok_or(Status::BadArgument)?;
    let stream = guest.state().stream_mut().ok_or(Status::BadArgument)?;
    if stream.kind != StreamKind::Http {
        // A TCP stream has no response, and Envoy returns Ok all the same.
        return Ok(());
    }
    // The first answer is the one that Envoy sends.
    stream.response.get_or_insert(LocalResponse { status, details, body, headers, grpc_status });
    Ok(())
}

/// Closes the downstream side of a TCP stream; does nothing in an HTTP filter and for other sides.
fn close_stream(guest: &mut Guest<'_, '_>, kind: u32) -> CallResult {
    record(guest, "proxy_close_stream", b"")?;
    if kind > UPSTREAM {
        return Err(Status::BadArgument.into());
    }
    if let Some(stream) = guest.state().stream_mut()
        && let StreamKind::Tcp { closed } = &mut stream.kind
    {
        *closed |= kind == DOWNSTREAM;
    }
    Ok(())
}
