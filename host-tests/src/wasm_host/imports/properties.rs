//! Host functions on attributes and filter state, and Envoy's foreign functions that set it.

use anyhow::Result;
use wasmtime::Linker;

use super::{CallResult, host_function, record};
use crate::wasm_host::encoding;
use crate::wasm_host::guest::Guest;
use crate::wasm_host::state::{State, Status};

pub(super) fn define(linker: &mut Linker<State>) -> Result<()> {
    host_function!(linker, "proxy_get_property", |guest,
                                                  path: u32,
                                                  path_length: u32,
                                                  pointer_out: u32,
                                                  length_out: u32| {
        get_property(guest, [path, path_length], [pointer_out, length_out])
    });
    host_function!(linker, "proxy_set_property", |guest, path: u32, path_length: u32, value: u32, length: u32| {
        set_property(guest, [path, path_length], [value, length])
    });
    host_function!(
        linker,
        "proxy_call_foreign_function",
        |guest, name: u32, name_length: u32, argument: u32, argument_length: u32, pointer_out: u32, length_out: u32| {
            call_foreign_function(guest, [name, name_length], [argument, argument_length], [pointer_out, length_out])
        }
    );
    Ok(())
}

fn get_property(
    guest: &mut Guest<'_, '_>,
    [path, path_length]: [u32; 2],
    [pointer_out, length_out]: [u32; 2],
) -> CallResult {
    let path = guest.read(path, path_length)?;
    record(guest, "proxy_get_property", &path)?;
    if path.is_empty() {
        return Err(Status::SerializationFailure.into());
    }
    let path = String::from_utf8(path).map_err(|_| Status::NotFound)?;
    // A NUL at the end begins no further part.
    let parts: Vec<_> = path.strip_suffix('\0').unwrap_or(&path).split('\0').collect();
    guest.state().attributes.insert(parts.join("."));
    let value = guest.state().property(&parts).ok_or(Status::NotFound)?;
    Ok(guest.return_bytes(&value, pointer_out, length_out)?)
}

/// Sets the filter state `wasm.<path>`; a root context has none.
fn set_property(guest: &mut Guest<'_, '_>, [path, path_length]: [u32; 2], [value, length]: [u32; 2]) -> CallResult {
    let path = guest.read(path, path_length)?;
    record(guest, "proxy_set_property", &path)?;
    let value = guest.read(value, length)?;
    let key = format!("wasm.{}", String::from_utf8_lossy(&path));
    guest.state().set_filter_state(key, value).then_some(()).ok_or(Status::NotFound.into())
}

/// Supports `set_envoy_filter_state`, and `declare_property` for filter state that a request sets and that lives as long
/// as the connection. Neither returns bytes.
fn call_foreign_function(
    guest: &mut Guest<'_, '_>,
    [name, name_length]: [u32; 2],
    [argument, argument_length]: [u32; 2],
    [pointer_out, length_out]: [u32; 2],
) -> CallResult {
    let name = guest.read(name, name_length)?;
    record(guest, "proxy_call_foreign_function", &name)?;
    let argument = guest.read(argument, argument_length)?;
    let call = match name.as_slice() {
        b"set_envoy_filter_state" => set_envoy_filter_state,
        b"declare_property" => declare_property,
        _ => return Err(Status::NotFound.into()),
    };
    if !guest.state().profile.has_extensions() {
        return Err(Status::NotFound.into());
    }
    let result = call(guest.state(), &argument);
    guest.write_u32(pointer_out, 0)?;
    guest.write_u32(length_out, 0)?;
    Ok(result?)
}

fn set_envoy_filter_state(state: &mut State, argument: &[u8]) -> Result<(), Status> {
    let (key, value) = encoding::read_set_envoy_filter_state(argument).ok_or(Status::BadArgument)?;
    state.set_filter_state(key, value).then_some(()).ok_or(Status::NotFound)
}

fn declare_property(state: &mut State, argument: &[u8]) -> Result<(), Status> {
    let (key, connection_scoped) = encoding::read_declare_property(argument).ok_or(Status::BadArgument)?;
    if !state.declared.insert((state.context, key.clone())) {
        return Err(Status::BadArgument);
    }
    if connection_scoped {
        state.connection_scoped.insert(format!("wasm.{key}"));
    }
    Ok(())
}
