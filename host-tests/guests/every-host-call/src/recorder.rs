//! Host calls with a record of their answers.

use std::fmt::{self, Display, Write};

use crate::host::{Returned, Written};
use crate::imports;

/// The answers so far.
pub(crate) struct Recorder {
    callbacks: Vec<&'static str>,
    lines: String,
}

impl Recorder {
    pub(crate) const fn new() -> Self {
        Self { callbacks: Vec::new(), lines: String::new() }
    }

    /// Begins a callback. Returns false if it was recorded before.
    pub(crate) fn begin(&mut self, callback: &'static str) -> bool {
        let is_new = !self.callbacks.contains(&callback);
        if is_new {
            self.callbacks.push(callback);
        }
        is_new
    }

    pub(crate) fn report(&self) -> &str {
        &self.lines
    }

    pub(crate) fn put(&mut self, call: fmt::Arguments<'_>, answer: impl Display) {
        let callback = self.callbacks.last().copied().unwrap_or_default();
        // Writing to a string does not fail.
        let _written = writeln!(self.lines, "{callback}\t{call}\t{answer}");
    }
}

// SAFETY: in each of these functions the host reads what is passed and writes to locals, both during the call only.
impl Recorder {
    pub(crate) fn log(&mut self, level: u32) {
        let text = "every-host-call";
        let status = unsafe { imports::proxy_log(level, text.as_ptr(), text.len()) };
        self.put(format_args!("proxy_log {level}"), status);
    }

    pub(crate) fn log_level(&mut self) {
        let answer = Written::of(|level| unsafe { imports::proxy_get_log_level(level) });
        self.put(format_args!("proxy_get_log_level"), answer);
    }

    pub(crate) fn status(&mut self) {
        let mut message = None;
        let code = Written::of(|code| {
            let answer = Returned::of(|data, length| unsafe { imports::proxy_get_status(code, data, length) });
            let status = answer.status;
            message = answer.bytes;
            status
        });
        let message = message.unwrap_or_default();
        self.put(format_args!("proxy_get_status"), format_args!("{code} \"{}\"", message.escape_ascii()));
    }

    pub(crate) fn time(&mut self) {
        let mut time = 0;
        let status = unsafe { imports::proxy_get_current_time_nanoseconds(&raw mut time) };
        let is_known = if time > 1_700_000_000_000_000_000 { "a time" } else { "no time" };
        self.put(format_args!("proxy_get_current_time_nanoseconds"), format_args!("{status} {is_known}"));
    }

    /// Makes a context the effective one, which `name` tells.
    pub(crate) fn effective_context(&mut self, name: &str, context: u32) {
        let status = unsafe { imports::proxy_set_effective_context(context) };
        self.put(format_args!("proxy_set_effective_context {name}"), status);
    }

    pub(crate) fn done(&mut self) {
        let status = unsafe { imports::proxy_done() };
        self.put(format_args!("proxy_done"), status);
    }

    pub(crate) fn foreign_function(&mut self, name: &str, argument: &[u8]) {
        let answer = Returned::of(|data, length| unsafe {
            imports::proxy_call_foreign_function(
                name.as_ptr(),
                name.len(),
                argument.as_ptr(),
                argument.len(),
                data,
                length,
            )
        });
        self.put(format_args!("proxy_call_foreign_function {name} \"{}\"", argument.escape_ascii()), answer);
    }

    pub(crate) fn property(&mut self, path: &[u8]) {
        let answer = property(path);
        self.put(format_args!("proxy_get_property {}", path.escape_ascii()), answer);
    }

    /// Records the length of a property whose value is another in each run.
    pub(crate) fn property_length(&mut self, path: &[u8]) {
        let Returned { status, bytes } = property(path);
        let length = bytes.map_or_else(String::new, |bytes| format!(" {} bytes", bytes.len()));
        self.put(format_args!("proxy_get_property {}", path.escape_ascii()), format_args!("{status}{length}"));
    }

    pub(crate) fn set_property(&mut self, path: &[u8], value: &str) {
        let status = unsafe { imports::proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) };
        self.put(format_args!("proxy_set_property {} {value}", path.escape_ascii()), status);
    }

    pub(crate) fn buffer(&mut self, kind: u32, start: usize, most: usize) {
        let answer =
            Returned::of(|data, length| unsafe { imports::proxy_get_buffer_bytes(kind, start, most, data, length) });
        self.put(format_args!("proxy_get_buffer_bytes {kind} {start} {most}"), answer);
    }

    pub(crate) fn buffer_status(&mut self, kind: u32) {
        let mut flags = 0;
        let answer =
            Written::of(|length| unsafe { imports::proxy_get_buffer_status(kind, length.cast(), &raw mut flags) });
        self.put(format_args!("proxy_get_buffer_status {kind}"), format_args!("{answer}, {flags}"));
    }

    pub(crate) fn set_buffer(&mut self, kind: u32, start: usize, replaced: usize, data: &str) {
        let status = unsafe { imports::proxy_set_buffer_bytes(kind, start, replaced, data.as_ptr(), data.len()) };
        self.put(format_args!("proxy_set_buffer_bytes {kind} {start} {replaced} {data}"), status);
    }

    pub(crate) fn header(&mut self, map: u32, key: &str) {
        let answer = Returned::of(|data, length| unsafe {
            imports::proxy_get_header_map_value(map, key.as_ptr(), key.len(), data, length)
        });
        self.put(format_args!("proxy_get_header_map_value {map} {key}"), answer);
    }

    pub(crate) fn headers(&mut self, map: u32) {
        let answer = Returned::of(|data, length| unsafe { imports::proxy_get_header_map_pairs(map, data, length) });
        self.put(format_args!("proxy_get_header_map_pairs {map}"), answer);
    }

    pub(crate) fn headers_size(&mut self, map: u32) {
        let answer = Written::of(|size| unsafe { imports::proxy_get_header_map_size(map, size.cast()) });
        self.put(format_args!("proxy_get_header_map_size {map}"), answer);
    }

    pub(crate) fn set_headers(&mut self, map: u32, pairs: &[u8]) {
        let status = unsafe { imports::proxy_set_header_map_pairs(map, pairs.as_ptr(), pairs.len()) };
        self.put(format_args!("proxy_set_header_map_pairs {map}"), status);
    }

    pub(crate) fn add_header(&mut self, map: u32, key: &str, value: &str) {
        let status =
            unsafe { imports::proxy_add_header_map_value(map, key.as_ptr(), key.len(), value.as_ptr(), value.len()) };
        self.put(format_args!("proxy_add_header_map_value {map} {key} {value}"), status);
    }

    pub(crate) fn replace_header(&mut self, map: u32, key: &str, value: &str) {
        let status = unsafe {
            imports::proxy_replace_header_map_value(map, key.as_ptr(), key.len(), value.as_ptr(), value.len())
        };
        self.put(format_args!("proxy_replace_header_map_value {map} {key} {value}"), status);
    }

    pub(crate) fn remove_header(&mut self, map: u32, key: &str) {
        let status = unsafe { imports::proxy_remove_header_map_value(map, key.as_ptr(), key.len()) };
        self.put(format_args!("proxy_remove_header_map_value {map} {key}"), status);
    }

    /// Reads shared data, and returns its version.
    pub(crate) fn shared_data(&mut self, key: &str) -> u32 {
        let mut bytes = None;
        let answer = Written::of(|version| {
            let answer = Returned::of(|data, length| unsafe {
                imports::proxy_get_shared_data(key.as_ptr(), key.len(), data, length, version)
            });
            bytes = answer.bytes;
            answer.status
        });
        let value = Returned { status: answer.status(), bytes };
        self.put(format_args!("proxy_get_shared_data {key}"), value);
        answer.number()
    }

    /// Sets shared data of a version, which `name` tells.
    pub(crate) fn set_shared_data(&mut self, key: &str, value: &str, name: &str, version: u32) {
        let status =
            unsafe { imports::proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), version) };
        self.put(format_args!("proxy_set_shared_data {key} {value} of {name}"), status);
    }

    pub(crate) fn register_queue(&mut self, name: &str) -> u32 {
        let answer =
            Written::of(|queue| unsafe { imports::proxy_register_shared_queue(name.as_ptr(), name.len(), queue) });
        self.put(format_args!("proxy_register_shared_queue {name}"), answer.status());
        answer.number()
    }

    pub(crate) fn resolve_queue(&mut self, vm_id: &str, name: &str) {
        let answer = Written::of(|queue| unsafe {
            imports::proxy_resolve_shared_queue(vm_id.as_ptr(), vm_id.len(), name.as_ptr(), name.len(), queue)
        });
        self.put(format_args!("proxy_resolve_shared_queue {vm_id} {name}"), answer.status());
    }

    /// Puts data into a queue, which `name` tells.
    pub(crate) fn enqueue(&mut self, name: &str, queue: u32, data: &str) {
        let status = unsafe { imports::proxy_enqueue_shared_queue(queue, data.as_ptr(), data.len()) };
        self.put(format_args!("proxy_enqueue_shared_queue {name} {data}"), status);
    }

    /// Takes data out of a queue, which `name` tells.
    pub(crate) fn dequeue(&mut self, name: &str, queue: u32) {
        let answer = Returned::of(|data, length| unsafe { imports::proxy_dequeue_shared_queue(queue, data, length) });
        self.put(format_args!("proxy_dequeue_shared_queue {name}"), answer);
    }

    pub(crate) fn define_metric(&mut self, kind: u32, name: &str) -> u32 {
        let answer =
            Written::of(|metric| unsafe { imports::proxy_define_metric(kind, name.as_ptr(), name.len(), metric) });
        self.put(format_args!("proxy_define_metric {kind} {name}"), answer.status());
        answer.number()
    }

    /// Adds to a metric, which `name` tells, and reads it.
    pub(crate) fn increment_metric(&mut self, name: &str, metric: u32, by: i64) {
        let status = unsafe { imports::proxy_increment_metric(metric, by) };
        self.put(format_args!("proxy_increment_metric {name} {by}"), status);
        self.metric(name, metric);
    }

    /// Sets a metric, which `name` tells, and reads it.
    pub(crate) fn record_metric(&mut self, name: &str, metric: u32, value: u64) {
        let status = unsafe { imports::proxy_record_metric(metric, value) };
        self.put(format_args!("proxy_record_metric {name} {value}"), status);
        self.metric(name, metric);
    }

    fn metric(&mut self, name: &str, metric: u32) {
        let mut value = 0;
        let status = unsafe { imports::proxy_get_metric(metric, &raw mut value) };
        self.put(format_args!("proxy_get_metric {name}"), format_args!("{status} {value}"));
    }

    pub(crate) fn http_call(&mut self, cluster: &str, headers: &[u8]) {
        let none: &[u8] = &[];
        let answer = Written::of(|call| unsafe {
            imports::proxy_http_call(
                cluster.as_ptr(),
                cluster.len(),
                headers.as_ptr(),
                headers.len(),
                none.as_ptr(),
                0,
                none.as_ptr(),
                0,
                1_000,
                call,
            )
        });
        self.put(format_args!("proxy_http_call {cluster}"), answer);
    }

    pub(crate) fn grpc_call(&mut self, service: &str) {
        let none: &[u8] = &[];
        let answer = Written::of(|call| unsafe {
            imports::proxy_grpc_call(
                service.as_ptr(),
                service.len(),
                none.as_ptr(),
                0,
                none.as_ptr(),
                0,
                none.as_ptr(),
                0,
                none.as_ptr(),
                0,
                1_000,
                call,
            )
        });
        self.put(format_args!("proxy_grpc_call {service}"), answer);
    }

    pub(crate) fn grpc_stream(&mut self, service: &str) {
        let none: &[u8] = &[];
        let answer = Written::of(|stream| unsafe {
            imports::proxy_grpc_stream(
                service.as_ptr(),
                service.len(),
                none.as_ptr(),
                0,
                none.as_ptr(),
                0,
                none.as_ptr(),
                0,
                stream,
            )
        });
        self.put(format_args!("proxy_grpc_stream {service}"), answer);
    }

    pub(crate) fn grpc_send(&mut self, stream: u32) {
        let status = unsafe { imports::proxy_grpc_send(stream, [].as_ptr(), 0, 1) };
        self.put(format_args!("proxy_grpc_send {stream}"), status);
    }

    pub(crate) fn grpc_close(&mut self, stream: u32) {
        let status = unsafe { imports::proxy_grpc_close(stream) };
        self.put(format_args!("proxy_grpc_close {stream}"), status);
    }

    pub(crate) fn grpc_cancel(&mut self, call: u32) {
        let status = unsafe { imports::proxy_grpc_cancel(call) };
        self.put(format_args!("proxy_grpc_cancel {call}"), status);
    }

    pub(crate) fn continue_stream(&mut self, kind: u32) {
        let status = unsafe { imports::proxy_continue_stream(kind) };
        self.put(format_args!("proxy_continue_stream {kind}"), status);
    }

    pub(crate) fn close_stream(&mut self, kind: u32) {
        let status = unsafe { imports::proxy_close_stream(kind) };
        self.put(format_args!("proxy_close_stream {kind}"), status);
    }
}

fn property(path: &[u8]) -> Returned {
    // SAFETY: as above.
    Returned::of(|data, length| unsafe { imports::proxy_get_property(path.as_ptr(), path.len(), data, length) })
}
