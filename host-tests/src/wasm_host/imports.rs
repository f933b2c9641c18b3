//! The host functions of the Proxy-Wasm ABI 0.2.1, which answer as in Envoy 1.40: `host-tests/tests/host_calls.rs` makes
//! the same calls in both. A module that imports another function is not loaded, as in Envoy.

mod buffers;
mod headers;
mod metrics;
mod properties;
mod remote;
mod shared;
mod streams;

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use wasmtime::{Caller, Linker};

pub(super) use shared::Shared;

use super::guest::Guest;
use super::state::{LogLine, State, Status};

const MODULE: &str = "env";

/// The levels of `proxy_log_level_t`: that of Envoy's log, and the highest.
const LOG_LEVEL: u32 = 2;
const HIGHEST_LOG_LEVEL: u32 = 5;

/// The result of a host call.
type CallResult = Result<(), CallError>;

/// The status of a failed call: the host's own, or one that a test injected.
enum CallError {
    Status(Status),
    Injected(u32),
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

fn status_code(result: CallResult) -> u32 {
    match result {
        Ok(()) => Status::Ok as u32,
        Err(CallError::Status(status)) => status as u32,
        Err(CallError::Injected(status)) => status,
    }
}

/// Defines a host function by its name and its parameters.
macro_rules! host_function {
    ($linker:ident, $name:literal, |$guest:ident $(, $parameter:ident: $kind:ty)*| $call:expr) => {
        $linker.func_wrap(
            $crate::wasm_host::imports::MODULE,
            $name,
            |mut caller: ::wasmtime::Caller<'_, $crate::wasm_host::state::State>, $($parameter: $kind),*| {
                $crate::wasm_host::imports::answer(&mut caller, |$guest| $call)
            },
        )?
    };
}

use host_function;

/// Answers a host call.
fn answer(caller: &mut Caller<'_, State>, call: impl FnOnce(&mut Guest<'_, '_>) -> CallResult) -> u32 {
    status_code(Guest::new(caller).map_err(CallError::from).and_then(|mut guest| call(&mut guest)))
}

/// Records a host call, and fails it if a test has asked for that.
fn record(guest: &mut Guest<'_, '_>, function: &str, subject: &[u8]) -> CallResult {
    guest.state().record(function, subject).map_or(Ok(()), |status| Err(CallError::Injected(status)))
}

/// Defines all host functions.
pub(super) fn define(linker: &mut Linker<State>) -> Result<()> {
    define_runtime(linker)?;
    buffers::define(linker)?;
    headers::define(linker)?;
    metrics::define(linker)?;
    properties::define(linker)?;
    remote::define(linker)?;
    shared::define(linker)?;
    streams::define(linker)
}

/// Defines logging, time and contexts.
fn define_runtime(linker: &mut Linker<State>) -> Result<()> {
    host_function!(linker, "proxy_log", |guest, level: u32, text: u32, length: u32| log(guest, level, [text, length]));
    host_function!(linker, "proxy_get_log_level", |guest, level_out: u32| {
        record(guest, "proxy_get_log_level", b"")?;
        Ok(guest.write_u32(level_out, LOG_LEVEL)?)
    });
    host_function!(linker, "proxy_get_status", |guest, code_out: u32, pointer_out: u32, length_out: u32| {
        // The status of a call of the module's own, of which none is answered here.
        record(guest, "proxy_get_status", b"")?;
        guest.write_u32(code_out, 0)?;
        Ok(guest.return_bytes(b"", pointer_out, length_out)?)
    });
    host_function!(linker, "proxy_set_tick_period_milliseconds", |guest, period: u32| {
        record(guest, "proxy_set_tick_period_milliseconds", b"")?;
        guest.state().tick_period = period;
        Ok(())
    });
    host_function!(linker, "proxy_get_current_time_nanoseconds", |guest, time_out: u32| get_time(guest, time_out));
    host_function!(linker, "proxy_set_effective_context", |guest, context: u32| set_effective_context(guest, context));
    host_function!(linker, "proxy_done", |guest| {
        // No context here waits to be done.
        record(guest, "proxy_done", b"")?;
        Err(Status::NotFound.into())
    });
    Ok(())
}

fn log(guest: &mut Guest<'_, '_>, level: u32, [text, length]: [u32; 2]) -> CallResult {
    record(guest, "proxy_log", b"")?;
    if level > HIGHEST_LOG_LEVEL {
        return Err(Status::BadArgument.into());
    }
    let message = String::from_utf8_lossy(&guest.read(text, length)?).into_owned();
    guest.state().log.push(LogLine { level, message });
    Ok(())
}

fn get_time(guest: &mut Guest<'_, '_>, time_out: u32) -> CallResult {
    record(guest, "proxy_get_current_time_nanoseconds", b"")?;
    let time = match guest.state().time {
        Some(time) => time,
        None => SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| Status::InternalFailure)?,
    };
    let nanoseconds = u64::try_from(time.as_nanos()).map_err(|_| Status::InternalFailure)?;
    Ok(guest.write(time_out, &nanoseconds.to_le_bytes())?)
}

/// Returns BadArgument for a context that does not exist, or not any more.
fn set_effective_context(guest: &mut Guest<'_, '_>, context: u32) -> CallResult {
    record(guest, "proxy_set_effective_context", b"")?;
    let state = guest.state();
    if !state.roots.contains(&context) && !state.streams.contains_key(&context) {
        return Err(Status::BadArgument.into());
    }
    state.context = context;
    Ok(())
}
