//! Host functions on buffers.

use anyhow::Result;
use wasmtime::Linker;

use super::{CallResult, host_function, record};
use crate::wasm_host::guest::Guest;
use crate::wasm_host::state::{State, Status};

/// The values of `proxy_buffer_type_t` that the host has, the one that Envoy has only during a call, and the highest.
const REQUEST_BODY: u32 = 0;
const HTTP_CALL_RESPONSE_BODY: u32 = 4;
const PLUGIN_CONFIGURATION: u32 = 7;
const HIGHEST_BUFFER_TYPE: u32 = 8;

pub(super) fn define(linker: &mut Linker<State>) -> Result<()> {
    host_function!(
        linker,
        "proxy_get_buffer_bytes",
        |guest, kind: u32, start: u32, most: u32, pointer_out: u32, length_out: u32| {
            get_buffer(guest, kind, [start, most], [pointer_out, length_out])
        }
    );
    host_function!(linker, "proxy_get_buffer_status", |guest, kind: u32, length_out: u32, flags_out: u32| {
        record(guest, "proxy_get_buffer_status", b"")?;
        let length = buffer(guest.state(), kind)?.len();
        guest.write_u32(length_out, u32::try_from(length).map_err(|_| Status::InternalFailure)?)?;
        Ok(guest.write_u32(flags_out, 0)?)
    });
    host_function!(
        linker,
        "proxy_set_buffer_bytes",
        |guest, kind: u32, start: u32, replaced: u32, data: u32, length: u32| {
            set_buffer(guest, kind, [start, replaced], [data, length])
        }
    );
    Ok(())
}

/// Returns a buffer, which is empty where there is nothing to read.
fn buffer(state: &State, kind: u32) -> Result<Vec<u8>, Status> {
    if kind > HIGHEST_BUFFER_TYPE {
        return Err(Status::BadArgument);
    }
    match kind {
        PLUGIN_CONFIGURATION if state.configuring => Ok(state.configuration.clone()),
        PLUGIN_CONFIGURATION | HTTP_CALL_RESPONSE_BODY => Err(Status::NotFound),
        REQUEST_BODY => Ok(state.stream().and_then(|stream| stream.body.clone()).unwrap_or_default()),
        _ => Ok(Vec::new()),
    }
}

fn get_buffer(
    guest: &mut Guest<'_, '_>,
    kind: u32,
    [start, most]: [u32; 2],
    [pointer_out, length_out]: [u32; 2],
) -> CallResult {
    record(guest, "proxy_get_buffer_bytes", b"")?;
    let bytes = buffer(guest.state(), kind)?;
    let start = usize::try_from(start).map_err(|_| Status::BadArgument)?;
    let end = usize::try_from(most).ok().and_then(|most| start.checked_add(most)).ok_or(Status::BadArgument)?;
    let part = bytes.get(start..end.min(bytes.len())).ok_or(Status::BadArgument)?;
    Ok(guest.return_bytes(part, pointer_out, length_out)?)
}

/// Puts bytes in the place of the first ones of a body, or behind it; elsewhere Envoy puts none.
fn set_buffer(
    guest: &mut Guest<'_, '_>,
    kind: u32,
    [start, replaced]: [u32; 2],
    [data, length]: [u32; 2],
) -> CallResult {
    record(guest, "proxy_set_buffer_bytes", b"")?;
    let bytes = buffer(guest.state(), kind)?;
    let data = guest.read(data, length)?;
    let rest = |place: u32| usize::try_from(place).ok().and_then(|place| bytes.get(place..)).unwrap_or_default();
    let changed = match start {
        0 => [&data, rest(replaced)].concat(),
        start if rest(start).is_empty() => [bytes.as_slice(), &data].concat(),
        _ => return Err(Status::BadArgument.into()),
    };
    let stream = guest.state().stream_mut().filter(|stream| kind == REQUEST_BODY && stream.body.is_some());
    stream.ok_or(Status::BadArgument)?.body = Some(changed);
    Ok(())
}
