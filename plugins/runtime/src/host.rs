//! Functions of the host, with types: bytes instead of text, a `Result` instead of a panic.

pub(crate) mod attributes;

use std::time::Duration;

use sallyport_policy::AttributeError;

use crate::abi::status::Status;
use crate::abi::{self, Bytes};

/// Severity of a log line (`proxy_log_level_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Normal operation.
    Info = 2,
    /// Something that works and may surprise.
    Warn = 3,
    /// Something that does not work.
    Error = 4,
    /// The end of the VM.
    Critical = 5,
}

/// Failure of a host function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostError(pub(crate) Status);

impl HostError {
    /// Encoding that the caller cannot read.
    pub(crate) const MALFORMED: Self = Self(Status::PARSE_FAILURE);

    /// Name of the status in the Proxy-Wasm specification.
    pub fn status(self) -> &'static str {
        match self.0.0 {
            1 => "NotFound",
            2 => "BadArgument",
            3 => "SerializationFailure",
            4 => "ParseFailure",
            6 => "InvalidMemoryAccess",
            7 => "Empty",
            8 => "CasMismatch",
            10 => "InternalFailure",
            12 => "Unimplemented",
            _ => "an unknown status",
        }
    }

    /// Converts the status into the error of reading `attribute`.
    pub(crate) fn reading(self, attribute: &'static str) -> AttributeError {
        AttributeError { attribute, status: self.status() }
    }
}

/// Host of a filter: the functions of the Proxy-Wasm ABI that the filters use.
///
/// [`ProxyHost`] is the proxy. Tests have one of their own, so that everything above this trait is tested natively. It
/// is passed by value: the proxy's is zero-sized and costs nothing.
pub trait Host: Copy {
    /// Writes a log line. A failure is ignored, since there is nowhere to report it.
    fn log(self, level: Level, message: &str);

    /// Requests a tick every `milliseconds` for the current root context.
    fn set_tick_period(self, milliseconds: u32) -> Result<(), HostError>;

    /// Time since the Unix epoch.
    fn current_time(self) -> Result<Duration, HostError>;

    /// Plugin configuration of `size` bytes; valid in `proxy_on_configure` only.
    fn configuration(self, size: usize) -> Result<Bytes, HostError>;

    /// At most `most` bytes from offset `start` of the body that is held.
    fn request_body(self, start: usize, most: usize) -> Result<Bytes, HostError>;

    /// First value of a request header, `None` if it is absent. Only for pseudo-headers and for headers that Envoy
    /// joins into one: of a repeated header it is the first value alone.
    fn single_header(self, name: &'static str) -> Result<Option<Bytes>, HostError>;

    /// Returns the request headers in order, with lower-case names, in the encoding of a header map.
    fn request_headers(self) -> Result<Bytes, HostError>;

    /// Attribute by its path, with NUL between the parts; `None` if this stream has none.
    fn property(self, path: &str) -> Result<Option<Bytes>, HostError>;

    /// Reports whether an attribute is present and readable.
    fn has_property(self, path: &[u8]) -> bool;

    /// Sets `wasm.<key>` in the filter state of the current stream.
    fn set_filter_state(self, key: &str, value: &[u8]) -> Result<(), HostError>;

    /// Sets the filter state `key` of the current stream, which has to be one that Envoy itself knows how to make from
    /// bytes.
    fn set_envoy_filter_state(self, key: &str, value: &str) -> Result<(), HostError>;

    /// Makes the filter state `wasm.<key>` of streams of the current root context last as long as their connection.
    fn declare_for_connections(self, key: &str) -> Result<(), HostError>;

    /// Answers a request with a denial. `details` is what `%RESPONSE_CODE_DETAILS%` shows; gRPC clients get
    /// `PERMISSION_DENIED`.
    fn reply_denied(self, status: u32, details: &str, body: &str) -> Result<(), HostError>;

    /// Closes the client's connection. If the callback also pauses, no byte of the client goes further.
    fn close_downstream(self) -> Result<(), HostError>;

    /// Reports whether a context still exists. This can make it the effective one until
    /// [`Self::set_effective_context`].
    fn context_exists(self, context: u32) -> bool;

    /// Makes the host calls that follow refer to `context`.
    fn set_effective_context(self, context: u32);

    /// Defines a counter, and returns its ID; the same name gives the same counter.
    fn define_counter(self, name: &str) -> Result<u32, HostError>;

    /// Adds to a counter.
    fn increment_counter(self, id: u32, by: i64) -> Result<(), HostError>;

    /// Sets a gauge, which is defined when it is first named.
    fn set_gauge(self, name: &str, value: u32) -> Result<(), HostError>;

    /// Pages of 64 KiB that the module's memory has. A memory never shrinks.
    fn memory_pages(self) -> usize;
}

/// The proxy that runs this module.
#[derive(Clone, Copy, Debug)]
pub struct ProxyHost;

/// `proxy_buffer_type_t`.
const REQUEST_BODY: u32 = 0;
const PLUGIN_CONFIGURATION: u32 = 7;

/// `proxy_map_type_t`.
const REQUEST_HEADERS: u32 = 0;

/// `proxy_stream_type_t`: the client's side of a connection.
const DOWNSTREAM: u32 = 2;

/// `proxy_metric_type_t`.
const COUNTER: u32 = 0;
const GAUGE: u32 = 1;

/// gRPC's PERMISSION_DENIED.
const GRPC_PERMISSION_DENIED: i32 = 7;

impl Host for ProxyHost {
    fn log(self, level: Level, message: &str) {
        let _lost = abi::log(level as u32, message.as_bytes());
    }

    fn set_tick_period(self, milliseconds: u32) -> Result<(), HostError> {
        abi::set_tick_period(milliseconds).map_err(HostError)
    }

    fn current_time(self) -> Result<Duration, HostError> {
        abi::current_time().map(Duration::from_nanos).map_err(HostError)
    }

    fn configuration(self, size: usize) -> Result<Bytes, HostError> {
        if size == 0 {
            return Ok(Bytes::default());
        }
        abi::buffer(PLUGIN_CONFIGURATION, 0, size).map_err(HostError)
    }

    fn request_body(self, start: usize, most: usize) -> Result<Bytes, HostError> {
        abi::buffer(REQUEST_BODY, start, most).map_err(HostError)
    }

    fn single_header(self, name: &'static str) -> Result<Option<Bytes>, HostError> {
        found(abi::header(REQUEST_HEADERS, name.as_bytes()))
    }

    fn request_headers(self) -> Result<Bytes, HostError> {
        abi::headers(REQUEST_HEADERS).map_err(HostError)
    }

    fn property(self, path: &str) -> Result<Option<Bytes>, HostError> {
        found(abi::property(path.as_bytes()))
    }

    #[inline(always)]
    fn has_property(self, path: &[u8]) -> bool {
        abi::has_property(path)
    }

    fn set_filter_state(self, key: &str, value: &[u8]) -> Result<(), HostError> {
        abi::set_property(key.as_bytes(), value).map_err(HostError)
    }

    fn set_envoy_filter_state(self, key: &str, value: &str) -> Result<(), HostError> {
        // Envoy's SetEnvoyFilterStateArguments: field 1 is the path, field 2 the value. Without a span it lasts as long as
        // the request.
        let argument = [text_field(1, key), text_field(2, value)].concat();
        abi::call_foreign_function(b"set_envoy_filter_state", &argument).map(|_| ()).map_err(HostError)
    }

    fn declare_for_connections(self, key: &str) -> Result<(), HostError> {
        // Envoy's DeclarePropertyArguments: field 1 is the name, field 5 the life span, 2 that of the connection.
        let argument = [text_field(1, key).as_slice(), &[0x28, 2]].concat();
        abi::call_foreign_function(b"declare_property", &argument).map(|_| ()).map_err(HostError)
    }

    fn reply_denied(self, status: u32, details: &str, body: &str) -> Result<(), HostError> {
        // One pair of the header map encoding: a count, the lengths, then key and value, each ended by a NUL.
        const CONTENT_TYPE: &[u8] = b"\x01\0\0\0\x0c\0\0\0\x0a\0\0\0content-type\0text/plain\0";
        abi::send_local_response(status, details.as_bytes(), body.as_bytes(), CONTENT_TYPE, GRPC_PERMISSION_DENIED)
            .map_err(HostError)
    }

    fn close_downstream(self) -> Result<(), HostError> {
        abi::close_stream(DOWNSTREAM).map_err(HostError)
    }

    fn context_exists(self, context: u32) -> bool {
        // Envoy refuses a context that it does not have.
        abi::set_effective_context(context) != Err(Status::BAD_ARGUMENT)
    }

    fn set_effective_context(self, context: u32) {
        let _kept = abi::set_effective_context(context);
    }

    fn define_counter(self, name: &str) -> Result<u32, HostError> {
        abi::define_metric(COUNTER, name.as_bytes()).map_err(HostError)
    }

    fn increment_counter(self, id: u32, by: i64) -> Result<(), HostError> {
        abi::increment_metric(id, by).map_err(HostError)
    }

    fn set_gauge(self, name: &str, value: u32) -> Result<(), HostError> {
        let id = abi::define_metric(GAUGE, name.as_bytes()).map_err(HostError)?;
        abi::record_metric(id, value.into()).map_err(HostError)
    }

    #[cfg(target_arch = "wasm32")]
    fn memory_pages(self) -> usize {
        core::arch::wasm32::memory_size::<0>()
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn memory_pages(self) -> usize {
        0
    }
}

/// Encodes a field of a protobuf message that holds text.
fn text_field(number: u8, text: &str) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut length = text.len();
    while length >= 0x80 {
        field.push(0x80 | u8::try_from(length & 0x7f).unwrap_or_default());
        length >>= 7;
    }
    field.push(u8::try_from(length).unwrap_or_default());
    field.extend_from_slice(text.as_bytes());
    field
}

fn found(result: Result<Bytes, Status>) -> Result<Option<Bytes>, HostError> {
    match result {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Status::NOT_FOUND) => Ok(None),
        Err(status) => Err(HostError(status)),
    }
}

#[cfg(test)]
mod tests;
