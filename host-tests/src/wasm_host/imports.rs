//! The host functions of the Proxy-Wasm ABI 0.2.1, which behave as in Envoy 1.40. Functions that no filter here needs
//! return Unimplemented.

mod headers;

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use wasmtime::{Caller, ExternType, Linker, Module, Val};

use headers::{add_header, get_header, get_headers};

use super::encoding;
use super::guest::Guest;
use super::outcome::LocalResponse;
use super::state::{LogLine, MetricKind, State, Status};
use super::stream::StreamKind;

const MODULE: &str = "env";
const HIGHEST_STREAM_TYPE: u32 = 3;
const DOWNSTREAM: u32 = 2;
const REQUEST_BODY: u32 = 0;
const PLUGIN_CONFIGURATION: u32 = 7;

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

/// Records a host call, and fails it if a test has asked for that.
fn record(guest: &mut Guest<'_, '_>, function: &str, subject: &[u8]) -> CallResult {
    guest.state().record(function, subject).map_or(Ok(()), |status| Err(CallError::Injected(status)))
}

/// Defines the imports of `module`.
pub(super) fn define(linker: &mut Linker<State>, module: &Module) -> Result<()> {
    define_runtime(linker)?;
    define_headers_and_properties(linker)?;
    define_streams(linker)?;
    define_metrics(linker)?;
    define_unimplemented(linker, module)
}

/// Defines logging, time, the configuration, contexts and foreign functions.
fn define_runtime(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(MODULE, "proxy_log", |mut caller: Caller<'_, State>, level: u32, message: u32, length: u32| {
        status_code(log(&mut caller, level, message, length))
    })?;
    linker.func_wrap(MODULE, "proxy_set_tick_period_milliseconds", |mut caller: Caller<'_, State>, period: u32| {
        if let Some(status) = caller.data_mut().record("proxy_set_tick_period_milliseconds", b"") {
            return status;
        }
        caller.data_mut().tick_period = period;
        Status::Ok as u32
    })?;
    linker.func_wrap(
        MODULE,
        "proxy_get_current_time_nanoseconds",
        |mut caller: Caller<'_, State>, time_out: u32| status_code(get_time(&mut caller, time_out)),
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_get_buffer_bytes",
        |mut caller: Caller<'_, State>, kind: u32, start: u32, max_size: u32, pointer_out: u32, length_out: u32| {
            status_code(get_buffer(&mut caller, kind, start, max_size, [pointer_out, length_out]))
        },
    )?;
    linker.func_wrap(MODULE, "proxy_set_effective_context", |mut caller: Caller<'_, State>, context: u32| {
        status_code(set_effective_context(&mut caller, context))
    })?;
    linker.func_wrap(
        MODULE,
        "proxy_call_foreign_function",
        |mut caller: Caller<'_, State>,
         name: u32,
         name_length: u32,
         argument: u32,
         argument_length: u32,
         _pointer_out: u32,
         _length_out: u32| {
            status_code(call_foreign_function(&mut caller, [name, name_length], [argument, argument_length]))
        },
    )?;
    Ok(())
}

fn define_headers_and_properties(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(
        MODULE,
        "proxy_get_header_map_value",
        |mut caller: Caller<'_, State>, map: u32, key: u32, key_length: u32, pointer_out: u32, length_out: u32| {
            status_code(get_header(&mut caller, map, [key, key_length], [pointer_out, length_out]))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_get_header_map_pairs",
        |mut caller: Caller<'_, State>, map: u32, pointer_out: u32, length_out: u32| {
            status_code(get_headers(&mut caller, map, [pointer_out, length_out]))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_add_header_map_value",
        |mut caller: Caller<'_, State>, map: u32, key: u32, key_length: u32, value: u32, length: u32| {
            status_code(add_header(&mut caller, map, [key, key_length], [value, length]))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_get_property",
        |mut caller: Caller<'_, State>, path: u32, path_length: u32, pointer_out: u32, length_out: u32| {
            status_code(get_property(&mut caller, [path, path_length], [pointer_out, length_out]))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_set_property",
        |mut caller: Caller<'_, State>, path: u32, path_length: u32, value: u32, length: u32| {
            status_code(set_property(&mut caller, [path, path_length], [value, length]))
        },
    )?;
    Ok(())
}

fn define_streams(linker: &mut Linker<State>) -> Result<()> {
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
            status_code(send_local_response(
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
        status_code(close_stream(&mut caller, kind))
    })?;
    Ok(())
}

fn define_metrics(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(
        MODULE,
        "proxy_define_metric",
        |mut caller: Caller<'_, State>, kind: u32, name: u32, length: u32, id_out: u32| {
            status_code(define_metric(&mut caller, kind, [name, length], id_out))
        },
    )?;
    linker.func_wrap(MODULE, "proxy_increment_metric", |mut caller: Caller<'_, State>, id: u32, offset: i64| {
        status_code(increment_metric(&mut caller, id, offset))
    })?;
    linker.func_wrap(MODULE, "proxy_record_metric", |mut caller: Caller<'_, State>, id: u32, value: u64| {
        status_code(record_metric(&mut caller, id, value))
    })?;
    Ok(())
}

/// Defines all other imports of the module, which return Unimplemented.
fn define_unimplemented(linker: &mut Linker<State>, module: &Module) -> Result<()> {
    let defined = linker.clone();
    for import in module.imports() {
        let ExternType::Func(kind) = import.ty() else { continue };
        let engine = module.engine();
        let mut store = wasmtime::Store::new(engine, State::default());
        if import.module() != MODULE || defined.get(&mut store, import.module(), import.name()).is_ok() {
            continue;
        }
        let name = import.name().to_owned();
        linker.func_new(MODULE, import.name(), kind, move |mut caller, _, results| {
            caller.data_mut().record(&name, b"");
            results.fill(Val::I32(Status::Unimplemented as i32));
            Ok(())
        })?;
    }
    Ok(())
}

fn log(caller: &mut Caller<'_, State>, level: u32, message: u32, length: u32) -> CallResult {
    let mut guest = Guest::new(caller)?;
    record(&mut guest, "proxy_log", b"")?;
    let message = String::from_utf8_lossy(&guest.read(message, length)?).into_owned();
    guest.state().log.push(LogLine { level, message });
    Ok(())
}

fn get_time(caller: &mut Caller<'_, State>, time_out: u32) -> CallResult {
    let mut guest = Guest::new(caller)?;
    record(&mut guest, "proxy_get_current_time_nanoseconds", b"")?;
    let time = match guest.state().time {
        Some(time) => time,
        None => SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| Status::InternalFailure)?,
    };
    let nanoseconds = u64::try_from(time.as_nanos()).map_err(|_| Status::InternalFailure)?;
    Ok(guest.write(time_out, &nanoseconds.to_le_bytes())?)
}

fn get_buffer(
    caller: &mut Caller<'_, State>,
    kind: u32,
    start: u32,
    max_size: u32,
    [pointer_out, length_out]: [u32; 2],
) -> CallResult {
    let mut guest = Guest::new(caller)?;
    record(&mut guest, "proxy_get_buffer_bytes", b"")?;
    let state = guest.state();
    let bytes = match kind {
        PLUGIN_CONFIGURATION if state.configuring => Some(state.configuration.clone()),
        REQUEST_BODY => state.stream().and_then(|stream| stream.body.clone()),
        _ => None,
    };
    let bytes = bytes.ok_or(Status::NotFound)?;
    let start = usize::try_from(start).map_err(|_| Status::BadArgument)?;
    let end =
        usize::try_from(max_size).ok().and_then(|max_size| start.checked_add(max_size)).ok_or(Status::BadArgument)?;
    let part = bytes.get(start..end.min(bytes.len())).ok_or(Status::BadArgument)?;
    Ok(guest.return_bytes(part, pointer_out, length_out)?)
}

fn get_property(
    caller: &mut Caller<'_, State>,
    [path, path_length]: [u32; 2],
    [pointer_out, length_out]: [u32; 2],
) -> CallResult {
    let mut guest = Guest::new(caller)?;
    let path = guest.read(path, path_length)?;
    record(&mut guest, "proxy_get_property", &path)?;
    let path = String::from_utf8(path).map_err(|_| Status::BadArgument)?;
    let parts: Vec<_> = path.split('\0').collect();
    guest.state().attributes.insert(parts.join("."));
    let value = guest.state().property(&parts).ok_or(Status::NotFound)?;
    Ok(guest.return_bytes(&value, pointer_out, length_out)?)
}

/// Sets the filter state `wasm.<path>`; a root context has none.
fn set_property(
    caller: &mut Caller<'_, State>,
    [path, path_length]: [u32; 2],
    [value, length]: [u32; 2],
) -> CallResult {
    let mut guest = Guest::new(caller)?;
    let path = guest.read(path, path_length)?;
    record(&mut guest, "proxy_set_property", &path)?;
    let value = guest.read(value, length)?;
    let key = format!("wasm.{}", String::from_utf8_lossy(&path));
    guest.state().set_filter_state(key, value).then_some(()).ok_or(Status::NotFound.into())
}

/// Supports `set_envoy_filter_state`, and `declare_property` for filter state that a request sets and that lives as long
/// as the connection.
fn call_foreign_function(
    caller: &mut Caller<'_, State>,
    [name, name_length]: [u32; 2],
    [argument, argument_length]: [u32; 2],
) -> CallResult {
    let mut guest = Guest::new(caller)?;
    let name = guest.read(name, name_length)?;
    record(&mut guest, "proxy_call_foreign_function", &name)?;
    if !guest.state().profile.has_extensions() {
        return Err(Status::NotFound.into());
    }
    let argument = guest.read(argument, argument_length)?;
    if name == b"set_envoy_filter_state" {
        let (key, value) = encoding::read_set_envoy_filter_state(&argument).ok_or(Status::BadArgument)?;
        return guest.state().set_filter_state(key, value).then_some(()).ok_or(Status::NotFound.into());
    }
    let declaration = (name == b"declare_property").then(|| encoding::read_declare_property(&argument)).flatten();
    let (key, connection_scoped) = declaration.ok_or(Status::NotFound)?;
    let root = guest.state().context;
    if !guest.state().declared.insert((root, key.clone())) {
        return Err(Status::BadArgument.into());
    }
    if connection_scoped {
        guest.state().connection_scoped.insert(format!("wasm.{key}"));
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
) -> CallResult {
    let mut guest = Guest::new(caller)?;
    record(&mut guest, "proxy_send_local_response", b"")?;
    let details = String::from_utf8_lossy(&guest.read(details, details_length)?).replace(' ', "_");
    let body = guest.read(body, body_length)?;
    let headers = encoding::read_header_map(&guest.read(headers, headers_length)?).ok_or(Status::BadArgument)?;
    let stream = guest.state().stream_mut().ok_or(Status::BadArgument)?;
    if stream.kind != StreamKind::Http {
        // A TCP stream has no response, and Envoy returns Ok all the same.
        return Ok(());
    }
    if stream.response.is_some() {
        return Err(Status::InternalFailure.into());
    }
    stream.response = Some(LocalResponse { status, details, body, headers, grpc_status });
    Ok(())
}

/// Closes the downstream side of a TCP stream; does nothing in an HTTP filter and for other sides.
fn close_stream(caller: &mut Caller<'_, State>, kind: u32) -> CallResult {
    let mut guest = Guest::new(caller)?;
    record(&mut guest, "proxy_close_stream", b"")?;
    if kind > HIGHEST_STREAM_TYPE {
        return Err(Status::BadArgument.into());
    }
    if let Some(stream) = guest.state().stream_mut()
        && let StreamKind::Tcp { closed } = &mut stream.kind
    {
        *closed |= kind == DOWNSTREAM;
    }
    Ok(())
}

/// Returns BadArgument for a context that does not exist, or not any more.
fn set_effective_context(caller: &mut Caller<'_, State>, context: u32) -> CallResult {
    let mut guest = Guest::new(caller)?;
    record(&mut guest, "proxy_set_effective_context", b"")?;
    let state = guest.state();
    if !state.roots.contains(&context) && !state.streams.contains_key(&context) {
        return Err(Status::BadArgument.into());
    }
    state.context = context;
    Ok(())
}

/// Returns BadArgument for other kinds than counters and gauges, which no filter here defines.
fn define_metric(caller: &mut Caller<'_, State>, kind: u32, [name, length]: [u32; 2], id_out: u32) -> CallResult {
    let mut guest = Guest::new(caller)?;
    let name = guest.read(name, length)?;
    record(&mut guest, "proxy_define_metric", &name)?;
    let name = String::from_utf8(name).map_err(|_| Status::BadArgument)?;
    let kind = match kind {
        0 => MetricKind::Counter,
        1 => MetricKind::Gauge,
        _ => return Err(Status::BadArgument.into()),
    };
    let id = u32::try_from(guest.state().metric(&name, kind)).map_err(|_| Status::InternalFailure)?;
    Ok(guest.write_u32(id_out, id)?)
}

/// Returns BadArgument unless the counter goes up.
fn increment_metric(caller: &mut Caller<'_, State>, id: u32, offset: i64) -> CallResult {
    let mut guest = Guest::new(caller)?;
    record(&mut guest, "proxy_increment_metric", b"")?;
    let offset = u64::try_from(offset).ok().filter(|offset| *offset > 0).ok_or(Status::BadArgument)?;
    let index = usize::try_from(id).map_err(|_| Status::BadArgument)?;
    guest.state().metrics.get_mut(index).ok_or(Status::NotFound)?.value += offset;
    Ok(())
}

fn record_metric(caller: &mut Caller<'_, State>, id: u32, value: u64) -> CallResult {
    let mut guest = Guest::new(caller)?;
    record(&mut guest, "proxy_record_metric", b"")?;
    let index = usize::try_from(id).map_err(|_| Status::BadArgument)?;
    guest.state().metrics.get_mut(index).ok_or(Status::NotFound)?.value = value;
    Ok(())
}
