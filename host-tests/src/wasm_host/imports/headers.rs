//! Host functions on header maps.

use wasmtime::Caller;

use super::{CallResult, record};
use crate::wasm_host::encoding;
use crate::wasm_host::guest::Guest;
use crate::wasm_host::state::{State, Status};
use crate::wasm_host::stream::StreamKind;

/// Returns BadArgument outside a request, where there is no header map, and NotFound for an absent header.
pub(super) fn get_header(
    caller: &mut Caller<'_, State>,
    map: u32,
    [key, key_length]: [u32; 2],
    [pointer_out, length_out]: [u32; 2],
) -> CallResult {
    let mut guest = Guest::new(caller)?;
    let key = guest.read(key, key_length)?;
    record(&mut guest, "proxy_get_header_map_value", &key)?;
    let stream = guest.state().stream().filter(|stream| stream.kind == StreamKind::Http).ok_or(Status::BadArgument)?;
    let headers = stream.headers(map).ok_or(Status::BadArgument)?;
    // Envoy's `getHeaderMapValue` returns the first value of a repeated header.
    let (_, value) = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(&key)).ok_or(Status::NotFound)?;
    let value = value.clone();
    Ok(guest.return_bytes(&value, pointer_out, length_out)?)
}

/// Adds to a header map of a request; returns BadArgument where there is no such map.
pub(super) fn add_header(
    caller: &mut Caller<'_, State>,
    map: u32,
    [key, key_length]: [u32; 2],
    [value, length]: [u32; 2],
) -> CallResult {
    let mut guest = Guest::new(caller)?;
    let key = guest.read(key, key_length)?;
    record(&mut guest, "proxy_add_header_map_value", &key)?;
    let value = guest.read(value, length)?;
    let stream =
        guest.state().stream_mut().filter(|stream| stream.kind == StreamKind::Http).ok_or(Status::BadArgument)?;
    let headers = stream.headers_mut(map).ok_or(Status::BadArgument)?;
    headers.push((key.to_ascii_lowercase(), value));
    Ok(())
}

/// Returns all headers of a map.
pub(super) fn get_headers(caller: &mut Caller<'_, State>, map: u32, [pointer_out, length_out]: [u32; 2]) -> CallResult {
    let mut guest = Guest::new(caller)?;
    record(&mut guest, "proxy_get_header_map_pairs", b"")?;
    // Where there is no map, Envoy returns Ok and an empty one.
    let headers = guest.state().stream().and_then(|stream| stream.headers(map)).cloned().unwrap_or_default();
    let bytes = encoding::header_map(headers.iter().map(|(name, value)| (name.as_slice(), value.as_slice())));
    Ok(guest.return_bytes(&bytes, pointer_out, length_out)?)
}
