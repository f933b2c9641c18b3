//! What a filter can ask of its proxy, in types: bytes, never text, and a `Result`, never a panic.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sallyport_policy::{DynamicMetadata, HostFailure};

use crate::abi::{self, Bytes, Status};
use crate::header_map::HeaderMap;

/// `proxy_buffer_type_t`: the configuration that `proxy_on_configure` is called for.
const PLUGIN_CONFIGURATION: u32 = 7;

/// `proxy_map_type_t`.
const REQUEST_HEADERS: u32 = 0;

/// `proxy_stream_type_t`: the client's side of a connection.
const DOWNSTREAM: u32 = 2;

/// `proxy_metric_type_t`.
const COUNTER: u32 = 0;

/// gRPC's PERMISSION_DENIED.
const GRPC_PERMISSION_DENIED: i32 = 7;

/// How urgent a log line is (`proxy_log_level_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// What happened in the normal course of things.
    Info = 2,
    /// What works and may surprise.
    Warn = 3,
    /// What does not work.
    Error = 4,
    /// What ends the VM.
    Critical = 5,
}

/// A host function that did not do its work, with the name of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed(Status);

impl Failed {
    /// The answer's name in the Proxy-Wasm specification.
    pub fn answer(self) -> &'static str {
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

    /// This failure, of the attribute that was asked for.
    pub(crate) fn of(self, attribute: &'static str) -> HostFailure {
        HostFailure { attribute, answer: self.answer() }
    }
}

/// Writes a log line. A line that cannot be written is lost: there is nowhere to say so.
pub fn log(level: Level, message: &str) {
    let _lost = abi::log(level as u32, message.as_bytes());
}

/// Asks to be called every so many milliseconds.
pub fn set_tick_period(milliseconds: u32) -> Result<(), Failed> {
    abi::set_tick_period(milliseconds).map_err(Failed)
}

/// The plugin's configuration; to be asked for in `proxy_on_configure` only.
pub fn configuration(size: usize) -> Result<Bytes, Failed> {
    if size == 0 {
        return Ok(Bytes::default());
    }
    abi::buffer(PLUGIN_CONFIGURATION, size).map_err(Failed)
}

/// The first value of a request header, or `None` where there is none. Only for pseudo-headers and for headers that
/// Envoy joins into one: of another header that is repeated this would be the first value alone.
pub fn only_header(name: &'static str) -> Result<Option<Bytes>, Failed> {
    found(abi::header(REQUEST_HEADERS, name.as_bytes()))
}

/// All request headers in their order, names in lower case.
pub(crate) fn request_headers() -> Result<HeaderMap, Failed> {
    HeaderMap::new(abi::headers(REQUEST_HEADERS).map_err(Failed)?).ok_or(Failed(PARSE_FAILURE))
}

/// An attribute by its path, with NUL between the parts, or `None` where this request or connection has none.
pub fn property(path: &str) -> Result<Option<Bytes>, Failed> {
    found(abi::property(path.as_bytes()))
}

/// Whether there is an attribute, and the proxy tells it.
pub(crate) fn has_property(path: &[u8]) -> bool {
    abi::has_property(path)
}

fn found(answer: Result<Bytes, Status>) -> Result<Option<Bytes>, Failed> {
    match answer {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Status::NOT_FOUND) => Ok(None),
        Err(status) => Err(Failed(status)),
    }
}

/// An attribute that Envoy encodes as an integer: 8 bytes, little-endian.
pub fn integer_property(path: &str) -> Result<Option<u64>, Failed> {
    let Some(bytes) = property(path)? else { return Ok(None) };
    match *bytes {
        [a, b, c, d, e, f, g, h] => Ok(Some(u64::from_le_bytes([a, b, c, d, e, f, g, h]))),
        _ => Err(Failed(PARSE_FAILURE)),
    }
}

/// The filter state under `key`, as text or bytes, or `None` where it is not set.
pub(crate) fn filter_state(key: &str) -> Result<Option<Bytes>, Failed> {
    found(abi::property(format!("filter_state\0{key}").as_bytes()))
}

/// The port that the connection was addressed to.
pub(crate) fn destination_port() -> Result<Option<u16>, HostFailure> {
    port_property("destination\0port", "destination.port")
}

/// An attribute that is a port.
pub(crate) fn port_property(path: &'static str, attribute: &'static str) -> Result<Option<u16>, HostFailure> {
    let port = integer_property(path).map_err(|failed| failed.of(attribute))?;
    port.map(u16::try_from).transpose().map_err(|_| HostFailure { attribute, answer: "not a port" })
}

/// The server name of the client's TLS, where there is one and Envoy's TLS inspector has read it.
pub(crate) fn server_name() -> Result<Option<Bytes>, HostFailure> {
    let name = property("connection\0requested_server_name");
    let name = name.map_err(|failed| failed.of("connection.requested_server_name"))?;
    Ok(name.filter(|name| !name.is_empty()))
}

/// The address of the client, by `X-Forwarded-For` where Envoy trusts it.
pub(crate) fn client_ip() -> Result<Option<IpAddr>, HostFailure> {
    address("source\0address", "source.address")
}

/// The address that the connection was addressed to.
pub(crate) fn destination_ip() -> Result<Option<IpAddr>, HostFailure> {
    address("destination\0address", "destination.address")
}

/// The address of the connection's other end, which Envoy tells by a filter state that its configuration sets. Fails
/// where it is absent: Envoy knows the address, and so it is the configuration that is incomplete.
pub(crate) fn direct_remote_ip() -> Result<Option<IpAddr>, HostFailure> {
    const ATTRIBUTE: &str = "filter_state.sallyport.direct_remote_address";
    match property("filter_state\0sallyport.direct_remote_address") {
        Ok(Some(bytes)) => parse_address(&bytes, ATTRIBUTE),
        Ok(None) => Err(HostFailure { attribute: ATTRIBUTE, answer: "it is not set" }),
        Err(failed) => Err(failed.of(ATTRIBUTE)),
    }
}

fn address(path: &'static str, attribute: &'static str) -> Result<Option<IpAddr>, HostFailure> {
    match property(path).map_err(|failed| failed.of(attribute))? {
        Some(bytes) => parse_address(&bytes, attribute),
        None => Ok(None),
    }
}

/// Reads an address, with or without a port.
fn parse_address(bytes: &[u8], attribute: &'static str) -> Result<Option<IpAddr>, HostFailure> {
    let text = str::from_utf8(bytes).ok();
    let address =
        text.and_then(|text| text.parse::<SocketAddr>().ok().map(|address| address.ip()).or(text.parse().ok()));
    match address {
        Some(address) => Ok(Some(address)),
        // A client on a Unix socket has no address of this kind.
        None if bytes.first().is_none_or(|byte| matches!(byte, b'/' | b'@')) => Ok(None),
        None => Err(HostFailure { attribute, answer: "not an address" }),
    }
}

/// The time, since the Unix epoch.
pub(crate) fn time() -> Result<Duration, HostFailure> {
    let time = abi::current_time().map_err(|status| Failed(status).of("the time"))?;
    Ok(Duration::from_nanos(time))
}

/// The dynamic metadata of this request or connection.
pub(crate) fn metadata() -> Result<DynamicMetadata, HostFailure> {
    let bytes = property("metadata").map_err(|failed| failed.of("metadata"))?;
    Ok(DynamicMetadata::new(bytes.map_or_else(Vec::new, |bytes| bytes.to_vec())))
}

/// An attribute that Envoy encodes as a boolean: one byte.
pub fn boolean_property(path: &'static str) -> Result<Option<bool>, Failed> {
    match property(path)?.as_deref() {
        None => Ok(None),
        Some([0]) => Ok(Some(false)),
        Some([1]) => Ok(Some(true)),
        Some(_) => Err(Failed(PARSE_FAILURE)),
    }
}

const PARSE_FAILURE: Status = Status(4);

/// Sets `wasm.<key>` in the filter state of this request or connection.
pub fn set_filter_state(key: &str, value: &[u8]) -> Result<(), Failed> {
    abi::set_property(key.as_bytes(), value).map_err(Failed)
}

/// Has the proxy keep `wasm.<key>`, where it is set in the filter state of a request, for as long as the connection lasts.
pub(crate) fn declare_for_connections(key: &str) -> Result<(), Failed> {
    // Envoy's DeclarePropertyArguments: field 1 is the name, field 5 the life span, 2 that of the connection.
    let length = u8::try_from(key.len()).ok().filter(|length| *length < 0x80).ok_or(Failed(Status::BAD_ARGUMENT))?;
    let argument = [&[0x0a, length], key.as_bytes(), &[0x28, 2]].concat();
    abi::call_foreign_function(b"declare_property", &argument).map(|_| ()).map_err(Failed)
}

/// Answers a request with a denial. `details` is what `%RESPONSE_CODE_DETAILS%` shows.
pub fn reply_denied(status: u32, details: &str, body: &str) -> Result<(), Failed> {
    // One pair of the header map encoding: a count, the lengths, then key and value, each ended by a NUL.
    const CONTENT_TYPE: &[u8] = b"\x01\0\0\0\x0c\0\0\0\x0a\0\0\0content-type\0text/plain\0";
    abi::send_local_response(status, details.as_bytes(), body.as_bytes(), CONTENT_TYPE, GRPC_PERMISSION_DENIED)
        .map_err(Failed)
}

/// Closes the client's connection. What the client has sent so far reaches nobody if the callback also pauses.
pub fn close_downstream() -> Result<(), Failed> {
    abi::close_stream(DOWNSTREAM).map_err(Failed)
}

/// Whether a context is still there. What follows may be about that one, until [`return_to`].
pub(crate) fn is_alive(context: u32) -> bool {
    // Envoy refuses a context that it does not have.
    abi::set_effective_context(context) != Err(Status::BAD_ARGUMENT)
}

/// Makes what follows be about a context.
pub(crate) fn return_to(context: u32) {
    let _kept = abi::set_effective_context(context);
}

/// Makes a counter known to the proxy; the same name gives the same counter.
pub(crate) fn define_counter(name: &str) -> Result<u32, Failed> {
    abi::define_metric(COUNTER, name.as_bytes()).map_err(Failed)
}

/// Adds to a counter.
pub(crate) fn increment_counter(id: u32, by: i64) -> Result<(), Failed> {
    abi::increment_metric(id, by).map_err(Failed)
}

#[cfg(test)]
mod tests;
