//! Envoy's attributes of streams and connections, decoded.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sallyport_policy::{AttributeError, DynamicMetadata, MARK_KEY};

use crate::abi::Bytes;
use crate::header_map::HeaderMap;
use crate::host::{Host, HostError};

/// Error of reading an attribute that every stream has, and that the host says it does not have.
pub(crate) fn missing(attribute: &'static str) -> AttributeError {
    AttributeError { attribute, status: "NotFound" }
}

/// Integer attribute: 8 bytes, little-endian.
pub(crate) fn integer(host: impl Host, path: &str) -> Result<Option<u64>, HostError> {
    let Some(bytes) = host.property(path)? else { return Ok(None) };
    match *bytes {
        [a, b, c, d, e, f, g, h] => Ok(Some(u64::from_le_bytes([a, b, c, d, e, f, g, h]))),
        _ => Err(HostError::MALFORMED),
    }
}

/// Boolean attribute: one byte.
pub(crate) fn boolean(host: impl Host, path: &str) -> Result<Option<bool>, HostError> {
    match host.property(path)?.as_deref() {
        None => Ok(None),
        Some([0]) => Ok(Some(false)),
        Some([1]) => Ok(Some(true)),
        Some(_) => Err(HostError::MALFORMED),
    }
}

/// Reads all request headers in one host call.
pub(crate) fn request_headers(host: impl Host) -> Result<HeaderMap, HostError> {
    HeaderMap::new(host.request_headers()?).ok_or(HostError::MALFORMED)
}

/// Filter state under `key`, `None` if it is not set.
pub(crate) fn filter_state(host: impl Host, key: &str) -> Result<Option<Bytes>, HostError> {
    host.property(&format!("filter_state\0{key}"))
}

/// The mark of an instance with `stage: custom`.
pub(crate) fn custom_mark(host: impl Host) -> Result<Option<Vec<u8>>, AttributeError> {
    let mark =
        filter_state(host, &format!("wasm.{MARK_KEY}")).map_err(|error| error.reading("the mark of stage: custom"))?;
    Ok(mark.map(|mark| mark.to_vec()))
}

/// `destination.port`: the port that the connection was addressed to.
pub(crate) fn destination_port(host: impl Host) -> Result<Option<u16>, AttributeError> {
    const ATTRIBUTE: &str = "destination.port";
    let Some(port) = integer(host, "destination\0port").map_err(|error| error.reading(ATTRIBUTE))? else {
        // Only a listener on a Unix socket has none.
        return destination_ip(host)?.map_or(Ok(None), |_| Err(missing(ATTRIBUTE)));
    };
    u16::try_from(port).map(Some).map_err(|_| AttributeError { attribute: ATTRIBUTE, status: "not a port" })
}

/// Port of the upstream: the one that is set for dynamic forwarding, otherwise [`destination_port`].
pub(crate) fn upstream_port(host: impl Host) -> Result<Option<u16>, AttributeError> {
    const ATTRIBUTE: &str = "filter_state.envoy.upstream.dynamic_port";
    let dynamic = filter_state(host, "envoy.upstream.dynamic_port").map_err(|error| error.reading(ATTRIBUTE))?;
    let Some(digits) = dynamic else { return destination_port(host) };
    let port = str::from_utf8(&digits).ok().and_then(|digits| digits.parse().ok());
    port.map(Some).ok_or(AttributeError { attribute: ATTRIBUTE, status: "not a port" })
}

/// `connection.requested_server_name`: the SNI of the client's TLS, `None` if there is none or Envoy's TLS inspector has
/// not read it. Envoy has the attribute then, too, and it is empty.
pub(crate) fn server_name(host: impl Host) -> Result<Option<Bytes>, AttributeError> {
    const ATTRIBUTE: &str = "connection.requested_server_name";
    let name = host.property("connection\0requested_server_name").map_err(|error| error.reading(ATTRIBUTE))?;
    Ok(Some(name.ok_or(missing(ATTRIBUTE))?).filter(|name| !name.is_empty()))
}

/// `source.address`: the address of the client, by `X-Forwarded-For` where Envoy trusts it.
pub(crate) fn remote_ip(host: impl Host) -> Result<Option<IpAddr>, AttributeError> {
    ip(host, "source\0address", "source.address")
}

/// `destination.address`: the address that the connection was addressed to.
pub(crate) fn destination_ip(host: impl Host) -> Result<Option<IpAddr>, AttributeError> {
    ip(host, "destination\0address", "destination.address")
}

/// Address of the connection's other end, from a filter state that Envoy's configuration sets. Fails if that is absent:
/// every connection has the address, so the configuration is incomplete.
pub(crate) fn direct_remote_ip(host: impl Host) -> Result<Option<IpAddr>, AttributeError> {
    const ATTRIBUTE: &str = "filter_state.sallyport.direct_remote_address";
    const NOT_SET: &str = "it is not set; set it by a filter set_filter_state before this one, as envoy-config/ingress.yaml does for requests and layer4.yaml for connections, or write directRemoteAddress: connection where no X-Forwarded-For is trusted (docs/listener-settings.md)";
    match filter_state(host, "sallyport.direct_remote_address") {
        Ok(Some(bytes)) => parse_ip(&bytes, ATTRIBUTE),
        Ok(None) => Err(AttributeError { attribute: ATTRIBUTE, status: NOT_SET }),
        Err(error) => Err(error.reading(ATTRIBUTE)),
    }
}

fn ip(host: impl Host, path: &str, attribute: &'static str) -> Result<Option<IpAddr>, AttributeError> {
    let address = host.property(path).map_err(|error| error.reading(attribute))?.ok_or(missing(attribute))?;
    parse_ip(&address, attribute)
}

/// Parses an address with or without a port.
fn parse_ip(bytes: &[u8], attribute: &'static str) -> Result<Option<IpAddr>, AttributeError> {
    let text = str::from_utf8(bytes).ok();
    let address =
        text.and_then(|text| text.parse::<SocketAddr>().ok().map(|address| address.ip()).or(text.parse().ok()));
    match address {
        Some(address) => Ok(Some(address)),
        // A client on a Unix socket has no address of this kind.
        None if bytes.first().is_none_or(|byte| matches!(byte, b'/' | b'@')) => Ok(None),
        None => Err(AttributeError { attribute, status: "not an address" }),
    }
}

/// Current time since the Unix epoch.
pub(crate) fn time(host: impl Host) -> Result<Duration, AttributeError> {
    host.current_time().map_err(|error| error.reading("the time"))
}

/// Dynamic metadata of the stream.
pub(crate) fn metadata(host: impl Host) -> Result<DynamicMetadata, AttributeError> {
    let bytes = host.property("metadata").map_err(|error| error.reading("metadata"))?;
    Ok(DynamicMetadata::new(bytes.ok_or(missing("metadata"))?.to_vec()))
}

#[cfg(test)]
mod tests;
