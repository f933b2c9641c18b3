//! The Proxy-Wasm ABI, version 0.2.1: host functions by pointer and length, and the memory that passes between.
//!
//! This is the one module that needs unsafe code. The host is trusted to keep to the ABI; client data only ever appears
//! as bytes in the buffers.
#![expect(unsafe_code, reason = "host functions take and give pointers into the module's memory")]

mod memory;
pub(crate) mod status;

use memory::{adopt, call_for_bytes};
use status::Status;

pub use memory::Bytes;
pub(crate) use memory::allocate;

#[cfg(target_arch = "wasm32")]
mod imports {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        pub(super) fn proxy_log(level: u32, message: *const u8, length: usize) -> u32;
        pub(super) fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
        pub(super) fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
        pub(super) fn proxy_get_buffer_bytes(
            kind: u32,
            start: usize,
            most: usize,
            data: *mut *mut u8,
            length: *mut usize,
        ) -> u32;
        pub(super) fn proxy_get_header_map_value(
            map: u32,
            key: *const u8,
            key_length: usize,
            data: *mut *mut u8,
            length: *mut usize,
        ) -> u32;
        pub(super) fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, length: *mut usize) -> u32;
        pub(super) fn proxy_get_property(
            path: *const u8,
            path_length: usize,
            data: *mut *mut u8,
            length: *mut usize,
        ) -> u32;
        pub(super) fn proxy_set_property(path: *const u8, path_length: usize, value: *const u8, length: usize) -> u32;
        pub(super) fn proxy_send_local_response(
            status: u32,
            details: *const u8,
            details_length: usize,
            body: *const u8,
            body_length: usize,
            headers: *const u8,
            headers_length: usize,
            grpc_status: i32,
        ) -> u32;
        pub(super) fn proxy_close_stream(kind: u32) -> u32;
        pub(super) fn proxy_set_effective_context(context: u32) -> u32;
        pub(super) fn proxy_call_foreign_function(
            name: *const u8,
            name_length: usize,
            argument: *const u8,
            argument_length: usize,
            data: *mut *mut u8,
            length: *mut usize,
        ) -> u32;
        pub(super) fn proxy_define_metric(kind: u32, name: *const u8, length: usize, id: *mut u32) -> u32;
        pub(super) fn proxy_increment_metric(id: u32, by: i64) -> u32;
        pub(super) fn proxy_record_metric(id: u32, value: u64) -> u32;
    }
}

/// Native stand-ins, so that the crates build and test outside a proxy: every host function returns `Unimplemented`.
#[cfg(not(target_arch = "wasm32"))]
mod imports {
    const UNIMPLEMENTED: u32 = 12;

    macro_rules! absent {
        ($($name:ident($($kind:ty),*);)*) => {
            $(pub(super) unsafe fn $name($(_: $kind),*) -> u32 { UNIMPLEMENTED })*
        };
    }

    absent! {
        proxy_log(u32, *const u8, usize);
        proxy_set_tick_period_milliseconds(u32);
        proxy_get_current_time_nanoseconds(*mut u64);
        proxy_get_buffer_bytes(u32, usize, usize, *mut *mut u8, *mut usize);
        proxy_get_header_map_value(u32, *const u8, usize, *mut *mut u8, *mut usize);
        proxy_get_header_map_pairs(u32, *mut *mut u8, *mut usize);
        proxy_get_property(*const u8, usize, *mut *mut u8, *mut usize);
        proxy_set_property(*const u8, usize, *const u8, usize);
        proxy_send_local_response(u32, *const u8, usize, *const u8, usize, *const u8, usize, i32);
        proxy_close_stream(u32);
        proxy_set_effective_context(u32);
        proxy_call_foreign_function(*const u8, usize, *const u8, usize, *mut *mut u8, *mut usize);
        proxy_define_metric(u32, *const u8, usize, *mut u32);
        proxy_increment_metric(u32, i64);
        proxy_record_metric(u32, u64);
    }
}

fn check(status: u32) -> Result<(), Status> {
    match Status(status) {
        Status::OK => Ok(()),
        status => Err(status),
    }
}

pub(crate) fn log(level: u32, message: &[u8]) -> Result<(), Status> {
    // SAFETY: the host reads the slice during the call only.
    check(unsafe { imports::proxy_log(level, message.as_ptr(), message.len()) })
}

pub(crate) fn set_tick_period(milliseconds: u32) -> Result<(), Status> {
    // SAFETY: no memory is passed.
    check(unsafe { imports::proxy_set_tick_period_milliseconds(milliseconds) })
}

pub(crate) fn current_time() -> Result<u64, Status> {
    let mut nanoseconds = 0;
    // SAFETY: the host writes the time during the call only.
    check(unsafe { imports::proxy_get_current_time_nanoseconds(&raw mut nanoseconds) }).map(|()| nanoseconds)
}

pub(crate) fn buffer(kind: u32, start: usize, most: usize) -> Result<Bytes, Status> {
    // SAFETY: both pointers are to locals of `call_for_bytes`, written during the call only.
    call_for_bytes(|data, length| unsafe { imports::proxy_get_buffer_bytes(kind, start, most, data, length) })
}

pub(crate) fn header(map: u32, key: &[u8]) -> Result<Bytes, Status> {
    // SAFETY: as for `buffer`; the key is read during the call only.
    call_for_bytes(|data, length| unsafe {
        imports::proxy_get_header_map_value(map, key.as_ptr(), key.len(), data, length)
    })
}

pub(crate) fn headers(map: u32) -> Result<Bytes, Status> {
    // SAFETY: as for `buffer`.
    call_for_bytes(|data, length| unsafe { imports::proxy_get_header_map_pairs(map, data, length) })
}

pub(crate) fn property(path: &[u8]) -> Result<Bytes, Status> {
    // SAFETY: as for `buffer`; the path is read during the call only.
    call_for_bytes(|data, length| unsafe { imports::proxy_get_property(path.as_ptr(), path.len(), data, length) })
}

/// Reports whether a property exists. The host copies no bytes for an empty property.
pub(crate) fn has_property(path: &[u8]) -> bool {
    let (mut data, mut length) = (std::ptr::null_mut(), 0);
    // SAFETY: as for `property`.
    let status = unsafe { imports::proxy_get_property(path.as_ptr(), path.len(), &raw mut data, &raw mut length) };
    let present = Status(status) == Status::OK;
    if present && length > 0 {
        drop(adopt(data, length));
    }
    present
}

pub(crate) fn set_property(path: &[u8], value: &[u8]) -> Result<(), Status> {
    // SAFETY: the host reads both slices during the call only.
    check(unsafe { imports::proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) })
}

pub(crate) fn send_local_response(
    status: u32,
    details: &[u8],
    body: &[u8],
    headers: &[u8],
    grpc_status: i32,
) -> Result<(), Status> {
    // SAFETY: the host reads the three slices during the call only.
    check(unsafe {
        imports::proxy_send_local_response(
            status,
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            grpc_status,
        )
    })
}

pub(crate) fn close_stream(kind: u32) -> Result<(), Status> {
    // SAFETY: no memory is passed.
    check(unsafe { imports::proxy_close_stream(kind) })
}

pub(crate) fn set_effective_context(context: u32) -> Result<(), Status> {
    // SAFETY: no memory is passed.
    check(unsafe { imports::proxy_set_effective_context(context) })
}

pub(crate) fn call_foreign_function(name: &[u8], argument: &[u8]) -> Result<Bytes, Status> {
    // SAFETY: as for `buffer`; name and argument are read during the call only.
    call_for_bytes(|data, length| unsafe {
        imports::proxy_call_foreign_function(name.as_ptr(), name.len(), argument.as_ptr(), argument.len(), data, length)
    })
}

pub(crate) fn define_metric(kind: u32, name: &[u8]) -> Result<u32, Status> {
    let mut id = 0;
    // SAFETY: the host reads the name and writes the id during the call only.
    check(unsafe { imports::proxy_define_metric(kind, name.as_ptr(), name.len(), &raw mut id) }).map(|()| id)
}

pub(crate) fn increment_metric(id: u32, by: i64) -> Result<(), Status> {
    // SAFETY: no memory is passed.
    check(unsafe { imports::proxy_increment_metric(id, by) })
}

pub(crate) fn record_metric(id: u32, value: u64) -> Result<(), Status> {
    // SAFETY: no memory is passed.
    check(unsafe { imports::proxy_record_metric(id, value) })
}
