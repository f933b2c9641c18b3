//! The calls of each callback.

use crate::host::{pairs, send_response};
use crate::recorder::Recorder;

/// One more than the types of each kind.
const BUFFERS: u32 = 9;
const HEADER_MAPS: u32 = 8;
const STREAMS: u32 = 4;

/// IDs that no proxy hands out. Envoy tells the kind of a metric from the last two bits of its ID.
const UNKNOWN: u32 = 0x4000_0000;
const UNKNOWN_METRICS: [(&str, u32); 4] = [
    ("an unknown counter", UNKNOWN),
    ("an unknown gauge", UNKNOWN + 1),
    ("an unknown histogram", UNKNOWN + 2),
    ("an unknown kind", UNKNOWN + 3),
];

/// Attributes with the same value in both hosts.
const PROPERTIES: [&[u8]; 26] = [
    b"connection\0mtls",
    b"connection\0tls_version",
    b"connection\0peer_certificate_valid",
    b"connection\0peer_certificate",
    b"connection\0uri_san_peer_certificate",
    b"connection\0requested_server_name",
    b"connection\0unknown",
    b"request\0method",
    b"request\0host",
    b"request\0path",
    b"request\0scheme",
    b"request\0headers\0x-a",
    b"request\0unknown",
    b"metadata",
    b"metadata\0unknown",
    b"source\0unknown",
    b"destination\0unknown",
    b"plugin_name",
    b"plugin_vm_id",
    b"plugin_root_id",
    b"unknown",
    b"unknown\0unknown",
    b"set",
    b"\0",
    b"\xff",
    b"request\0\0method",
];

/// Attributes whose values are others in each run.
const PROPERTIES_OF_A_RUN: [&[u8]; 5] =
    [b"connection\0id", b"source\0address", b"source\0port", b"destination\0address", b"destination\0port"];

/// Makes the calls that change nothing, and those that are refused.
pub(crate) fn everywhere(recorder: &mut Recorder) {
    recorder.log(2);
    recorder.log(6);
    recorder.log_level();
    recorder.status();
    recorder.time();
    recorder.effective_context("an unknown context", UNKNOWN);
    recorder.done();
    recorder.foreign_function("unknown", b"");
    recorder.foreign_function("uncompress", b"x");
    recorder.foreign_function("declare_property", b"\xff");
    recorder.foreign_function("set_envoy_filter_state", b"\xff");
    PROPERTIES.iter().for_each(|path| recorder.property(path));
    PROPERTIES_OF_A_RUN.iter().for_each(|path| recorder.property_length(path));
    for kind in 0..=BUFFERS {
        recorder.buffer(kind, 0, 100);
        recorder.buffer_status(kind);
    }
    for map in 0..=HEADER_MAPS {
        recorder.header(map, ":path");
        recorder.header(map, "x-absent");
        recorder.headers(map);
        recorder.headers_size(map);
    }
    recorder.shared_data("absent");
    recorder.resolve_queue("vm", "absent");
    recorder.enqueue("an unknown queue", UNKNOWN, "a");
    recorder.dequeue("an unknown queue", UNKNOWN);
    for (name, metric) in UNKNOWN_METRICS {
        recorder.increment_metric(name, metric, 1);
        recorder.record_metric(name, metric, 1);
    }
    recorder.http_call("unknown", &pairs(&[(":method", "GET"), (":path", "/"), (":authority", "a")]));
    recorder.grpc_call("unknown");
    recorder.grpc_stream("unknown");
    for call in UNKNOWN..UNKNOWN + 4 {
        recorder.grpc_send(call);
        recorder.grpc_close(call);
        recorder.grpc_cancel(call);
    }
    recorder.continue_stream(STREAMS);
    recorder.close_stream(STREAMS);
}

pub(crate) fn on_configure(recorder: &mut Recorder) {
    everywhere(recorder);
    // Each number of bytes from each place of the configuration, which is `http`.
    for start in 0..=4 {
        recorder.buffer(7, start, 2);
    }
    recorder.buffer(7, 0, 0);
    without_stream(recorder);
}

pub(crate) fn on_tick(recorder: &mut Recorder) {
    everywhere(recorder);
    without_stream(recorder);
}

/// Makes the calls that would change a stream where there is none.
fn without_stream(recorder: &mut Recorder) {
    recorder.set_property(b"set", "a");
    change_headers(recorder);
    for kind in 0..STREAMS {
        recorder.continue_stream(kind);
    }
}

pub(crate) fn on_data(recorder: &mut Recorder) {
    everywhere(recorder);
    set_properties(recorder);
    change_headers(recorder);
}

fn set_properties(recorder: &mut Recorder) {
    for path in [b"set".as_slice(), b"set", b"a\0b", b"", b"request\0path"] {
        recorder.set_property(path, "a");
        recorder.property(path);
    }
}

/// Changes each header map.
fn change_headers(recorder: &mut Recorder) {
    for map in 0..=HEADER_MAPS {
        recorder.add_header(map, "X-A", "1");
        recorder.add_header(map, "x-a", "2");
        recorder.header(map, "x-a");
        recorder.headers(map);
        recorder.headers_size(map);
        recorder.replace_header(map, "X-A", "3");
        recorder.replace_header(map, "x-b", "4");
        recorder.headers(map);
        recorder.remove_header(map, "x-B");
        recorder.remove_header(map, "x-absent");
        recorder.headers(map);
    }
}

pub(crate) fn on_request_headers(recorder: &mut Recorder) {
    everywhere(recorder);
    set_properties(recorder);
    change_headers(recorder);
    // Envoy finds no route without `x-forwarded-proto`.
    let request =
        [(":method", "GET"), (":path", "/"), (":authority", "a"), ("x-forwarded-proto", "http"), ("X-C", "5")];
    for map in 0..=HEADER_MAPS {
        recorder.set_headers(map, &pairs(&request));
        recorder.headers(map);
    }
    share(recorder);
    measure(recorder);
}

/// Shares data and a queue with other VMs.
fn share(recorder: &mut Recorder) {
    recorder.set_shared_data("key", "a", "any version", 0);
    let version = recorder.shared_data("key");
    recorder.set_shared_data("key", "b", "another version", version + 1);
    recorder.set_shared_data("key", "c", "its version", version);
    recorder.set_shared_data("key", "d", "an old version", version);
    recorder.shared_data("key");
    recorder.set_shared_data("new key", "a", "another version", UNKNOWN);
    recorder.shared_data("new key");
    let queue = recorder.register_queue("queue");
    recorder.register_queue("queue");
    recorder.resolve_queue("vm", "queue");
    recorder.resolve_queue("another vm", "queue");
    recorder.dequeue("the queue", queue);
    recorder.enqueue("the queue", queue, "a");
    recorder.enqueue("the queue", queue, "");
    recorder.dequeue("the queue", queue);
    recorder.dequeue("the queue", queue);
    recorder.dequeue("the queue", queue);
}

fn measure(recorder: &mut Recorder) {
    let counter = recorder.define_metric(0, "every_host_call.counter");
    let gauge = recorder.define_metric(1, "every_host_call.gauge");
    let histogram = recorder.define_metric(2, "every_host_call.histogram");
    recorder.define_metric(3, "every_host_call.unknown");
    for (name, metric) in [("the counter", counter), ("the gauge", gauge), ("the histogram", histogram)] {
        for by in [3, 0, -1] {
            recorder.increment_metric(name, metric, by);
        }
        recorder.record_metric(name, metric, 5);
        recorder.record_metric(name, metric, 1);
    }
    // The same name is the same metric.
    let again = recorder.define_metric(0, "every_host_call.counter");
    recorder.increment_metric("the counter again", again, 1);
}

pub(crate) fn on_request_body(recorder: &mut Recorder) {
    everywhere(recorder);
    // The body is `hello`, and ends as long as it was.
    for (start, most) in [(0, 0), (0, 5), (1, 2), (1, 100), (5, 1)] {
        recorder.buffer(0, start, most);
    }
    for (start, replaced, data) in [(0, 0, "<"), (100, 0, ">"), (1, 1, "x"), (0, 1, "x"), (0, 100, "howdy")] {
        recorder.set_buffer(0, start, replaced, data);
        recorder.buffer(0, 0, 100);
    }
    for kind in 1..=BUFFERS {
        recorder.set_buffer(kind, 0, 0, "x");
    }
}

pub(crate) fn on_response_headers(recorder: &mut Recorder) {
    everywhere(recorder);
    change_headers(recorder);
}

/// Answers a request twice.
pub(crate) fn on_answer(recorder: &mut Recorder) {
    recorder.put(format_args!("proxy_send_local_response"), send_response(b"first"));
    recorder.put(format_args!("proxy_send_local_response"), send_response(b"second"));
    everywhere(recorder);
}
