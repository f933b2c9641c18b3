//! A filter that makes every host call of ABI 0.2.1 in the callbacks where the answers differ, and reports them.
//!
//! The first of each callback is recorded. The answer to a request for `/answers` is a line for each call: the callback,
//! the call and the answer, with tabs between them. Arguments are such as no proxy needs anything for, and none points
//! outside the module's memory, which would end the VM.
#![expect(unsafe_code, reason = "the host finds callbacks by their unmangled names")]

mod calls;
mod host;
mod imports;
mod recorder;

use std::cell::{Cell, RefCell};

use recorder::Recorder;

thread_local! {
    static RECORDER: RefCell<Recorder> = const { RefCell::new(Recorder::new()) };
    /// The context of the latest request.
    static REQUEST: Cell<u32> = const { Cell::new(0) };
}

/// Records the calls of a callback, unless it was called before.
fn record(callback: &'static str, calls: impl FnOnce(&mut Recorder)) {
    RECORDER.with_borrow_mut(|recorder| {
        if recorder.begin(callback) {
            calls(recorder);
        }
    });
}

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    Box::into_raw(vec![0_u8; size].into_boxed_slice()).cast()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(_context: u32, parent: u32) {
    let callback = if parent == 0 { "root context create" } else { "stream context create" };
    record(callback, calls::everywhere);
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(_context: u32, _size: usize) -> u32 {
    record("configure", calls::on_configure);
    // Twenty ticks a second.
    u32::from(host::set_tick_period(50) == 0)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(_context: u32) {
    record("tick", calls::on_tick);
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_new_connection(_context: u32) -> u32 {
    record("new connection", calls::everywhere);
    0
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_downstream_data(_context: u32, _size: usize, _end_of_stream: u32) -> u32 {
    record("downstream data", calls::on_data);
    0
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(context: u32, _headers: usize, _end_of_stream: u32) -> u32 {
    REQUEST.set(context);
    match host::request_path().as_slice() {
        b"/answers" => {
            RECORDER.with_borrow(|recorder| host::send_response(recorder.report().as_bytes()));
            1
        }
        b"/twice" => {
            record("an answer", calls::on_answer);
            1
        }
        _ => {
            record("request headers", calls::on_request_headers);
            0
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(_context: u32, size: usize, _end_of_stream: u32) -> u32 {
    if size > 0 {
        record("request body", calls::on_request_body);
    }
    0
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(_context: u32, _headers: usize, _end_of_stream: u32) -> u32 {
    record("response headers", calls::on_response_headers);
    0
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_done(context: u32) -> u32 {
    if context == REQUEST.get() {
        record("done", calls::everywhere);
    }
    1
}
