//! The functions of the Proxy-Wasm ABI 0.2.1, each answering as Envoy 1.40 does. Those that no filter here needs
//! answer that they are not implemented.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use wasmtime::{Caller, ExternType, Linker, Module, Val};

use super::encoding;
use super::memory::Guest;
use super::state::{LogLine, State, Status};
use super::stream::{Kind, LocalResponse};

const MODULE: &str = "env";
const HIGHEST_STREAM_TYPE: u32 = 3;
const DOWNSTREAM: u32 = 2;
const PLUGIN_CONFIGURATION: u32 = 7;

/// What a host call answers: its own status, or one that was injected.
type Answer = Result<(), Refusal>;

enum Refusal {
    Status(Status),
    Injected(u32),
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

fn code(answer: Answer) -> u32 {
    match answer {
        Ok(()) => Status::Ok as u32,
        Err(Refusal::Status(status)) => status as u32,
        Err(Refusal::Injected(status)) => status,
    }
}

/// Counts the crossing, and stops it where it is to fail.
fn cross(guest: &mut Guest<'_, '_>, call: &str, what: &[u8]) -> Answer {
    guest.state().cross(call, what).map_or(Ok(()), |status| Err(Refusal::Injected(status)))
}

/// Defines the imports of `module`.
pub(super) fn define(linker: &mut Linker<State>, module: &Module) -> Result<()> {
    linker.func_wrap(MODULE, "proxy_log", |mut caller: Caller<'_, State>, level: u32, at: u32, length: u32| {
        code(log(&mut caller, level, at, length))
    })?;
    linker.func_wrap(MODULE, "proxy_set_tick_period_milliseconds", |mut caller: Caller<'_, State>, period: u32| {
        if let Some(status) = caller.data_mut().cross("proxy_set_tick_period_milliseconds", b"") {
            return status;
        }
        caller.data_mut().tick_period = period;
        Status::Ok as u32
    })?;
    linker.func_wrap(MODULE, "proxy_get_current_time_nanoseconds", |mut caller: Caller<'_, State>, time_at: u32| {
        code(get_time(&mut caller, time_at))
    })?;
    linker.func_wrap(
        MODULE,
        "proxy_get_buffer_bytes",
        |mut caller: Caller<'_, State>, kind: u32, start: u32, most: u32, pointer_at: u32, length_at: u32| {
            code(get_buffer(&mut caller, kind, start, most, [pointer_at, length_at]))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_get_header_map_value",
        |mut caller: Caller<'_, State>, map: u32, key: u32, key_length: u32, pointer_at: u32, length_at: u32| {
            code(get_header(&mut caller, map, [key, key_length], [pointer_at, length_at]))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_get_header_map_pairs",
        |mut caller: Caller<'_, State>, map: u32, pointer_at: u32, length_at: u32| {
            code(get_headers(&mut caller, map, [pointer_at, length_at]))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_add_header_map_value",
        |mut caller: Caller<'_, State>, map: u32, key: u32, key_length: u32, value: u32, length: u32| {
            code(add_header(&mut caller, map, [key, key_length], [value, length]))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_get_property",
        |mut caller: Caller<'_, State>, path: u32, path_length: u32, pointer_at: u32, length_at: u32| {
            code(get_property(&mut caller, [path, path_length], [pointer_at, length_at]))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_set_property",
        |mut caller: Caller<'_, State>, path: u32, path_length: u32, value: u32, length: u32| {
            code(set_property(&mut caller, [path, path_length], [value, length]))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_send_local_response",
        |mut caller: Caller<'_, State>,
         status: u32,
         details: u32,
         details_length: u32,
         body: u32,
         body_length: u32,
         headers: u32,
         headers_length: u32,
         grpc_status: i32| {
            code(send_local_response(
                &mut caller,
                status,
                [details, details_length],
                [body, body_length],
                [headers, headers_length],
                grpc_status,
            ))
        },
    )?;
    linker.func_wrap(MODULE, "proxy_close_stream", |mut caller: Caller<'_, State>, kind: u32| {
        code(close_stream(&mut caller, kind))
    })?;
    linker.func_wrap(
        MODULE,
        "proxy_call_foreign_function",
        |mut caller: Caller<'_, State>,
         name: u32,
         name_length: u32,
         argument: u32,
         argument_length: u32,
         _pointer_at: u32,
         _length_at: u32| {
            code(call_foreign_function(&mut caller, [name, name_length], [argument, argument_length]))
        },
    )?;
    linker.func_wrap(MODULE, "proxy_set_effective_context", |mut caller: Caller<'_, State>, context: u32| {
        code(set_effective_context(&mut caller, context))
    })?;
    linker.func_wrap(
        MODULE,
        "proxy_define_metric",
        |mut caller: Caller<'_, State>, _kind: u32, name: u32, length: u32, id_at: u32| {
            code(define_metric(&mut caller, [name, length], id_at))
        },
    )?;
    linker.func_wrap(MODULE, "proxy_increment_metric", |mut caller: Caller<'_, State>, id: u32, by: i64| {
        code(increment_metric(&mut caller, id, by))
    })?;
    define_the_rest(linker, module)
}

/// Everything else that the module imports answers Unimplemented.
fn define_the_rest(linker: &mut Linker<State>, module: &Module) -> Result<()> {
    let known = linker.clone();
    for import in module.imports() {
        let ExternType::Func(kind) = import.ty() else { continue };
        let engine = module.engine();
        let mut store = wasmtime::Store::new(engine, State::default());
        if import.module() != MODULE || known.get(&mut store, import.module(), import.name()).is_ok() {
            continue;
        }
        let name = import.name().to_owned();
        linker.func_new(MODULE, import.name(), kind, move |mut caller, _, results| {
            caller.data_mut().cross(&name, b"");
            results.fill(Val::I32(Status::Unimplemented as i32));
            Ok(())
        })?;
    }
    Ok(())
}

fn log(caller: &mut Caller<'_, State>, level: u32, at: u32, length: u32) -> Answer {
    let mut guest = Guest::of(caller)?;
    cross(&mut guest, "proxy_log", b"")?;
    let message = String::from_utf8_lossy(&guest.read(at, length)?).into_owned();
    guest.state().log.push(LogLine { level, message });
    Ok(())
}

fn get_time(caller: &mut Caller<'_, State>, time_at: u32) -> Answer {
    let mut guest = Guest::of(caller)?;
    cross(&mut guest, "proxy_get_current_time_nanoseconds", b"")?;
    let time = match guest.state().time {
        Some(time) => time,
        None => SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| Status::InternalFailure)?,
    };
    let nanoseconds = u64::try_from(time.as_nanos()).map_err(|_| Status::InternalFailure)?;
    Ok(guest.write(time_at, &nanoseconds.to_le_bytes())?)
}

fn get_buffer(
    caller: &mut Caller<'_, State>,
    kind: u32,
    start: u32,
    most: u32,
    [pointer_at, length_at]: [u32; 2],
) -> Answer {
    let mut guest = Guest::of(caller)?;
    cross(&mut guest, "proxy_get_buffer_bytes", b"")?;
    if kind != PLUGIN_CONFIGURATION || !guest.state().configuring {
        return Err(Status::NotFound.into());
    }
    let bytes = guest.state().configuration.clone();
    let start = usize::try_from(start).map_err(|_| Status::BadArgument)?;
    let end = usize::try_from(most).ok().and_then(|most| start.checked_add(most)).ok_or(Status::BadArgument)?;
    let part = bytes.get(start..end.min(bytes.len())).ok_or(Status::BadArgument)?;
    Ok(guest.give(part, pointer_at, length_at)?)
}

/// Outside a request there is no header map: BadArgument. An absent header is NotFound.
fn get_header(
    caller: &mut Caller<'_, State>,
    map: u32,
    [key, key_length]: [u32; 2],
    [pointer_at, length_at]: [u32; 2],
) -> Answer {
    let mut guest = Guest::of(caller)?;
    let key = guest.read(key, key_length)?;
    cross(&mut guest, "proxy_get_header_map_value", &key)?;
    let stream = guest.state().stream().filter(|stream| stream.kind == Kind::Http).ok_or(Status::BadArgument)?;
    let headers = stream.headers(map).ok_or(Status::BadArgument)?;
    // Of a repeated header the first value, as Envoy's `getHeaderMapValue` has it.
    let (_, value) = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(&key)).ok_or(Status::NotFound)?;
    let value = value.clone();
    Ok(guest.give(&value, pointer_at, length_at)?)
}

/// Adds to the header map of a request or its answer; where there is none, BadArgument.
fn add_header(
    caller: &mut Caller<'_, State>,
    map: u32,
    [key, key_length]: [u32; 2],
    [value, length]: [u32; 2],
) -> Answer {
    let mut guest = Guest::of(caller)?;
    let key = guest.read(key, key_length)?;
    cross(&mut guest, "proxy_add_header_map_value", &key)?;
    let value = guest.read(value, length)?;
    let stream = guest.state().stream_mut().filter(|stream| stream.kind == Kind::Http).ok_or(Status::BadArgument)?;
    let headers = stream.headers_mut(map).ok_or(Status::BadArgument)?;
    headers.push((key.to_ascii_lowercase(), value));
    Ok(())
}

fn get_headers(caller: &mut Caller<'_, State>, map: u32, [pointer_at, length_at]: [u32; 2]) -> Answer {
    let mut guest = Guest::of(caller)?;
    cross(&mut guest, "proxy_get_header_map_pairs", b"")?;
    // Envoy answers an empty map where there is none, and Ok.
    let headers = guest.state().stream().and_then(|stream| stream.headers(map)).cloned().unwrap_or_default();
    let bytes = encoding::pairs(headers.iter().map(|(name, value)| (name.as_slice(), value.as_slice())));
    Ok(guest.give(&bytes, pointer_at, length_at)?)
}

fn get_property(
    caller: &mut Caller<'_, State>,
    [path, path_length]: [u32; 2],
    [pointer_at, length_at]: [u32; 2],
) -> Answer {
    let mut guest = Guest::of(caller)?;
    let path = guest.read(path, path_length)?;
    cross(&mut guest, "proxy_get_property", &path)?;
    let path = String::from_utf8(path).map_err(|_| Status::BadArgument)?;
    let parts: Vec<_> = path.split('\0').collect();
    let value = guest.state().property(&parts).ok_or(Status::NotFound)?;
    Ok(guest.give(&value, pointer_at, length_at)?)
}

/// Filter state under `wasm.<path>`; a root context has none.
fn set_property(caller: &mut Caller<'_, State>, [path, path_length]: [u32; 2], [value, length]: [u32; 2]) -> Answer {
    let mut guest = Guest::of(caller)?;
    let path = guest.read(path, path_length)?;
    cross(&mut guest, "proxy_set_property", &path)?;
    let value = guest.read(value, length)?;
    let key = format!("wasm.{}", String::from_utf8_lossy(&path));
    guest.state().set_filter_state(key, value).then_some(()).ok_or(Status::NotFound.into())
}

/// `declare_property` alone, for filter state that the module sets on requests and that lasts as long as the connection.
fn call_foreign_function(
    caller: &mut Caller<'_, State>,
    [name, name_length]: [u32; 2],
    [argument, argument_length]: [u32; 2],
) -> Answer {
    let mut guest = Guest::of(caller)?;
    let name = guest.read(name, name_length)?;
    cross(&mut guest, "proxy_call_foreign_function", &name)?;
    let argument = guest.read(argument, argument_length)?;
    let known = (name == b"declare_property").then(|| encoding::read_declaration(&argument)).flatten();
    let (key, of_connection) = known.ok_or(Status::NotFound)?;
    let root = guest.state().current;
    if !guest.state().declared.insert((root, key.clone())) {
        return Err(Status::BadArgument.into());
    }
    if of_connection {
        guest.state().of_connections.insert(format!("wasm.{key}"));
    }
    Ok(())
}

fn send_local_response(
    caller: &mut Caller<'_, State>,
    status: u32,
    [details, details_length]: [u32; 2],
    [body, body_length]: [u32; 2],
    [headers, headers_length]: [u32; 2],
    grpc_status: i32,
) -> Answer {
    let mut guest = Guest::of(caller)?;
    cross(&mut guest, "proxy_send_local_response", b"")?;
    let details = String::from_utf8_lossy(&guest.read(details, details_length)?).replace(' ', "_");
    let body = guest.read(body, body_length)?;
    let headers = encoding::read_pairs(&guest.read(headers, headers_length)?).ok_or(Status::BadArgument)?;
    let stream = guest.state().stream_mut().ok_or(Status::BadArgument)?;
    if stream.kind != Kind::Http {
        // At layer 4 there is nothing to answer with, and Envoy says nothing.
        return Ok(());
    }
    if stream.response.is_some() {
        return Err(Status::InternalFailure.into());
    }
    stream.response = Some(LocalResponse { status, details, body, headers, grpc_status });
    Ok(())
}

/// Closes a side of a connection; in an HTTP filter, and for a side that is not there, it does nothing.
fn close_stream(caller: &mut Caller<'_, State>, kind: u32) -> Answer {
    let mut guest = Guest::of(caller)?;
    cross(&mut guest, "proxy_close_stream", b"")?;
    if kind > HIGHEST_STREAM_TYPE {
        return Err(Status::BadArgument.into());
    }
    if let Some(stream) = guest.state().stream_mut()
        && let Kind::Connection { closed } = &mut stream.kind
    {
        *closed |= kind == DOWNSTREAM;
    }
    Ok(())
}

/// A context that is not there, or no more, is a BadArgument.
fn set_effective_context(caller: &mut Caller<'_, State>, context: u32) -> Answer {
    let mut guest = Guest::of(caller)?;
    cross(&mut guest, "proxy_set_effective_context", b"")?;
    let state = guest.state();
    if !state.roots.contains(&context) && !state.streams.contains_key(&context) {
        return Err(Status::BadArgument.into());
    }
    state.current = context;
    Ok(())
}

fn define_metric(caller: &mut Caller<'_, State>, [name, length]: [u32; 2], id_at: u32) -> Answer {
    let mut guest = Guest::of(caller)?;
    let name = guest.read(name, length)?;
    cross(&mut guest, "proxy_define_metric", &name)?;
    let name = String::from_utf8(name).map_err(|_| Status::BadArgument)?;
    let id = u32::try_from(guest.state().metric(&name)).map_err(|_| Status::InternalFailure)?;
    Ok(guest.write_u32(id_at, id)?)
}

/// A counter cannot go down or stay: BadArgument.
fn increment_metric(caller: &mut Caller<'_, State>, id: u32, by: i64) -> Answer {
    let mut guest = Guest::of(caller)?;
    cross(&mut guest, "proxy_increment_metric", b"")?;
    let by = u64::try_from(by).ok().filter(|by| *by > 0).ok_or(Status::BadArgument)?;
    let index = usize::try_from(id).map_err(|_| Status::BadArgument)?;
    let (_, value) = guest.state().metrics.get_mut(index).ok_or(Status::NotFound)?;
    *value += by;
    Ok(())
}
