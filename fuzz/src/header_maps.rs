//! Header maps in the host's encoding, against a reader that splits the whole map into pairs first.

use std::time::Duration;

use sallyport_policy::{CertificateValidation, DirectRemoteAddress, Request};
use sallyport_runtime::{Bytes, CurrentStream, Host, HostError, Level, PeerCache, StreamContext};

/// Names that are looked for: pseudo-headers, which count once, and headers, which can be repeated.
const PSEUDO: [&str; 3] = [":method", ":authority", ":path"];
const HEADERS: [&str; 5] = ["a", "x", "user-agent", "cookie", "x-forwarded-client-cert"];

/// Compares what is read from a map.
pub fn check(data: &[u8]) {
    let host = MapHost(data);
    let peers = PeerCache::new(host, CertificateValidation::default());
    let mut context = StreamContext::of_connections(&peers, DirectRemoteAddress::default());
    context.prefetch_headers = true;
    let mut request = CurrentStream::request(context);
    let pairs = pairs(data);
    let of_name = |name: &str| {
        let named = pairs.as_ref().map(|pairs| pairs.iter().filter(move |(other, _)| *other == name.as_bytes()));
        named.map(|named| named.map(|(_, value)| *value).collect::<Vec<_>>())
    };
    let is_connect = of_name(":method").is_some_and(|methods| methods.first() == Some(&&b"CONNECT"[..]));
    for name in PSEUDO {
        let read = match name {
            ":method" => request.method(),
            ":authority" => request.host(),
            _ => request.path(),
        };
        let read = read.map(|value| value.map(<[u8]>::to_vec));
        match of_name(name) {
            Some(expected) => {
                let expected = expected.first().map(|value| value.to_vec());
                match expected.is_none() && !(name == ":path" && is_connect) {
                    true => assert!(read.is_err(), "every request has {name}"),
                    false => assert_eq!(read, Ok(expected), "{name}"),
                }
            }
            // The first value stands before what is cut off, or there is none.
            None => assert!(read.is_err() || before_the_end(data, name) == read.ok().flatten(), "{name} of half a map"),
        }
    }
    for name in HEADERS {
        let read = request.header(name).map(|values| values.iter().map(|value| value.to_vec()).collect::<Vec<_>>());
        match of_name(name) {
            Some(expected) => assert_eq!(read, Ok(expected.iter().map(|value| value.to_vec()).collect()), "{name}"),
            None => assert!(read.is_err(), "{name} of half a map"),
        }
    }
}

/// Returns the pairs of a map; `None` if it has none, or if one does not lie within the bytes.
fn pairs(map: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let lengths = lengths(map)?;
    let mut rest = map.get(4 + 8 * lengths.len()..)?;
    let mut take = |length: usize| {
        let (text, after) = rest.split_at_checked(length)?;
        rest = after.get(1..)?;
        Some(text)
    };
    let pairs = lengths.into_iter().map(|(name, value)| Some((take(name)?, take(value)?)));
    pairs.collect::<Option<Vec<_>>>().filter(|pairs| !pairs.is_empty())
}

fn lengths(map: &[u8]) -> Option<Vec<(usize, usize)>> {
    let number = |at: usize| {
        let bytes: [u8; 4] = map.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let count = number(0)?;
    if count > map.len() {
        return None;
    }
    (0..count).map(|pair| Some((number(4 + 8 * pair)?, number(8 + 8 * pair)?))).collect()
}

/// Returns the first value of a name among the pairs that lie within the bytes.
fn before_the_end(map: &[u8], name: &str) -> Option<Vec<u8>> {
    let lengths = lengths(map)?;
    let mut at = 4 + 8 * lengths.len();
    for (of_name, of_value) in lengths {
        let found = map.get(at..at.checked_add(of_name)?)?;
        at += of_name + 1;
        let value = map.get(at..at.checked_add(of_value)?)?;
        at += of_value + 1;
        if found == name.as_bytes() {
            return Some(value.to_vec());
        }
    }
    None
}

/// Host that has a header map and nothing else.
#[derive(Clone, Copy)]
struct MapHost<'m>(&'m [u8]);

impl Host for MapHost<'_> {
    fn log(self, _level: Level, _message: &str) {}

    fn set_tick_period(self, _milliseconds: u32) -> Result<(), HostError> {
        Ok(())
    }

    fn current_time(self) -> Result<Duration, HostError> {
        Ok(Duration::ZERO)
    }

    fn configuration(self, _size: usize) -> Result<Bytes, HostError> {
        Ok(Vec::new().into())
    }

    fn request_body(self, _start: usize, _most: usize) -> Result<Bytes, HostError> {
        Ok(Vec::new().into())
    }

    fn single_header(self, _name: &'static str) -> Result<Option<Bytes>, HostError> {
        Ok(None)
    }

    fn request_headers(self) -> Result<Bytes, HostError> {
        Ok(self.0.to_vec().into())
    }

    fn property(self, _path: &str) -> Result<Option<Bytes>, HostError> {
        Ok(None)
    }

    fn has_property(self, _path: &[u8]) -> bool {
        false
    }

    fn set_filter_state(self, _key: &str, _value: &[u8]) -> Result<(), HostError> {
        Ok(())
    }

    fn set_envoy_filter_state(self, _key: &str, _value: &str) -> Result<(), HostError> {
        Ok(())
    }

    fn declare_for_connections(self, _key: &str) -> Result<(), HostError> {
        Ok(())
    }

    fn reply_denied(self, _status: u32, _details: &str, _body: &str) -> Result<(), HostError> {
        Ok(())
    }

    fn close_downstream(self) -> Result<(), HostError> {
        Ok(())
    }

    fn context_exists(self, _context: u32) -> bool {
        false
    }

    fn set_effective_context(self, _context: u32) {}

    fn define_counter(self, _name: &str) -> Result<u32, HostError> {
        Ok(0)
    }

    fn increment_counter(self, _id: u32, _by: i64) -> Result<(), HostError> {
        Ok(())
    }

    fn set_gauge(self, _name: &str, _value: u32) -> Result<(), HostError> {
        Ok(())
    }

    fn memory_pages(self) -> usize {
        0
    }
}
