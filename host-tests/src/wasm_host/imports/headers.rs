//! Host functions on header maps.

use anyhow::Result;
use wasmtime::Linker;

use super::{CallResult, host_function, record};
use crate::wasm_host::encoding;
use crate::wasm_host::guest::Guest;
use crate::wasm_host::state::{State, Status};
use crate::wasm_host::stream::{Headers, StreamKind};

const HIGHEST_MAP_TYPE: u32 = 7;

pub(super) fn define(linker: &mut Linker<State>) -> Result<()> {
    host_function!(
        linker,
        "proxy_get_header_map_value",
        |guest, map: u32, key: u32, key_length: u32, pointer_out: u32, length_out: u32| {
            get_header(guest, map, [key, key_length], [pointer_out, length_out])
        }
    );
    host_function!(linker, "proxy_get_header_map_pairs", |guest, map: u32, pointer_out: u32, length_out: u32| {
        get_headers(guest, map, [pointer_out, length_out])
    });
    host_function!(linker, "proxy_get_header_map_size", |guest, map: u32, size_out: u32| {
        record(guest, "proxy_get_header_map_size", b"")?;
        let size = headers(guest.state(), map)?.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        Ok(guest.write_u32(size_out, u32::try_from(size).map_err(|_| Status::InternalFailure)?)?)
    });
    host_function!(
        linker,
        "proxy_add_header_map_value",
        |guest, map: u32, key: u32, key_length: u32, value: u32, length: u32| {
            change(guest, "proxy_add_header_map_value", map, [key, key_length], [value, length], Vec::push)
        }
    );
    host_function!(
        linker,
        "proxy_replace_header_map_value",
        |guest, map: u32, key: u32, key_length: u32, value: u32, length: u32| {
            let replace = |headers: &mut Headers, header: (Vec<u8>, Vec<u8>)| {
                headers.retain(|(name, _)| *name != header.0);
                headers.push(header);
            };
            change(guest, "proxy_replace_header_map_value", map, [key, key_length], [value, length], replace)
        }
    );
    host_function!(linker, "proxy_remove_header_map_value", |guest, map: u32, key: u32, key_length: u32| {
        let remove = |headers: &mut Headers, (key, _)| headers.retain(|(name, _)| *name != key);
        change(guest, "proxy_remove_header_map_value", map, [key, key_length], [0, 0], remove)
    });
    host_function!(linker, "proxy_set_header_map_pairs", |guest, map: u32, pairs: u32, length: u32| {
        record(guest, "proxy_set_header_map_pairs", b"")?;
        let pairs = encoding::read_header_map(&guest.read(pairs, length)?).unwrap_or_default();
        let pairs = pairs.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        *headers_mut(guest.state(), map)? = pairs;
        Ok(())
    });
    Ok(())
}

/// Returns a header map of a request. Fails where there is none.
fn headers(state: &State, map: u32) -> Result<&Headers, Status> {
    let stream = state.stream().filter(|stream| stream.kind == StreamKind::Http);
    stream.and_then(|stream| stream.headers(map)).ok_or(Status::BadArgument)
}

fn headers_mut(state: &mut State, map: u32) -> Result<&mut Headers, Status> {
    let stream = state.stream_mut().filter(|stream| stream.kind == StreamKind::Http);
    stream.and_then(|stream| stream.headers_mut(map)).ok_or(Status::BadArgument)
}

fn get_header(
    guest: &mut Guest<'_, '_>,
    map: u32,
    [key, key_length]: [u32; 2],
    [pointer_out, length_out]: [u32; 2],
) -> CallResult {
    let key = guest.read(key, key_length)?;
    record(guest, "proxy_get_header_map_value", &key)?;
    let headers = headers(guest.state(), map)?;
    // Envoy's `getHeaderMapValue` returns the first value of a repeated header.
    let (_, value) = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(&key)).ok_or(Status::NotFound)?;
    let value = value.clone();
    Ok(guest.return_bytes(&value, pointer_out, length_out)?)
}

/// Returns all headers of a map.
fn get_headers(guest: &mut Guest<'_, '_>, map: u32, [pointer_out, length_out]: [u32; 2]) -> CallResult {
    record(guest, "proxy_get_header_map_pairs", b"")?;
    if map > HIGHEST_MAP_TYPE {
        return Err(Status::BadArgument.into());
    }
    // Where there is no map, Envoy returns Ok and no bytes.
    let headers = headers(guest.state(), map).cloned().unwrap_or_default();
    let pairs = headers.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
    let bytes = if headers.is_empty() { Vec::new() } else { encoding::header_map(pairs) };
    Ok(guest.return_bytes(&bytes, pointer_out, length_out)?)
}

/// Changes a header map by a header, whose name is in lower case.
fn change(
    guest: &mut Guest<'_, '_>,
    function: &str,
    map: u32,
    [key, key_length]: [u32; 2],
    [value, length]: [u32; 2],
    change: impl FnOnce(&mut Headers, (Vec<u8>, Vec<u8>)),
) -> CallResult {
    let key = guest.read(key, key_length)?;
    record(guest, function, &key)?;
    let value = guest.read(value, length)?;
    change(headers_mut(guest.state(), map)?, (key.to_ascii_lowercase(), value));
    Ok(())
}
