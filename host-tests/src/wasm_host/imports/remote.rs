//! Host functions that call other services. The host has none, as Envoy has none by a name that it does not know.

use anyhow::Result;
use wasmtime::Linker;

use super::{host_function, record};
use crate::wasm_host::state::{State, Status};

/// The kinds of gRPC, as the last two bits of an ID tell them.
const CALL: u32 = 1;
const STREAM: u32 = 2;

pub(super) fn define(linker: &mut Linker<State>) -> Result<()> {
    host_function!(linker, "proxy_http_call", |guest,
                                               _a: u32,
                                               _b: u32,
                                               _c: u32,
                                               _d: u32,
                                               _e: u32,
                                               _f: u32,
                                               _g: u32,
                                               _h: u32,
                                               _i: u32,
                                               id_out: u32| {
        record(guest, "proxy_http_call", b"")?;
        guest.write_u32(id_out, 0)?;
        Err(Status::BadArgument.into())
    });
    host_function!(linker, "proxy_grpc_call", |guest,
                                               _a: u32,
                                               _b: u32,
                                               _c: u32,
                                               _d: u32,
                                               _e: u32,
                                               _f: u32,
                                               _g: u32,
                                               _h: u32,
                                               _i: u32,
                                               _j: u32,
                                               _k: u32,
                                               _l: u32| {
        record(guest, "proxy_grpc_call", b"")?;
        Err(Status::ParseFailure.into())
    });
    host_function!(linker, "proxy_grpc_stream", |guest,
                                                 _a: u32,
                                                 _b: u32,
                                                 _c: u32,
                                                 _d: u32,
                                                 _e: u32,
                                                 _f: u32,
                                                 _g: u32,
                                                 _h: u32,
                                                 _i: u32| {
        record(guest, "proxy_grpc_stream", b"")?;
        Err(Status::ParseFailure.into())
    });
    host_function!(linker, "proxy_grpc_send", |guest, id: u32, _message: u32, _length: u32, _end: u32| {
        record(guest, "proxy_grpc_send", b"")?;
        Err(unknown(id, &[STREAM]).into())
    });
    host_function!(linker, "proxy_grpc_close", |guest, id: u32| {
        record(guest, "proxy_grpc_close", b"")?;
        Err(unknown(id, &[CALL, STREAM]).into())
    });
    host_function!(linker, "proxy_grpc_cancel", |guest, id: u32| {
        record(guest, "proxy_grpc_cancel", b"")?;
        Err(unknown(id, &[CALL, STREAM]).into())
    });
    Ok(())
}

/// The status for an ID that no call has, where IDs of these kinds are taken.
fn unknown(id: u32, kinds: &[u32]) -> Status {
    if kinds.contains(&(id & 3)) { Status::NotFound } else { Status::BadArgument }
}
