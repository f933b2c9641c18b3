//! `x-forwarded-client-cert`: client certificate as forwarded by the previous proxy.
//!
//! A list of elements, one a hop, the nearest last; an element is a list of pairs (Envoy's documentation of the HTTP
//! connection manager, "x-forwarded-client-cert"). Envoy writes `URI` as it stands in the certificate, neither quoted
//! nor escaped, so a certificate can hold what looks like further pairs. That is why everything unusual is refused.

use crate::identity::error::{UnauthenticatedReason, XfccElementError, XfccError};
use crate::identity::peer::Peer;
use crate::identity::spiffe_id::SpiffeId;

/// Maximum size of a header in bytes; headers that Envoy writes, including certificate chains, are smaller.
const MAX_BYTES: usize = 16 * 1024;

/// Maximum number of elements (hops) that are parsed.
const MAX_ELEMENTS: usize = 32;

/// Maximum number of pairs of an element.
const MAX_PAIRS: usize = 32;

/// Reads the identity that the last element names. Several headers are read as one, joined by commas.
///
/// Without a header, or without a URI in the element, there is no identity. A malformed header denies any request whose
/// decision refers to identity: an open quote, a quote within a value, a backslash outside quotes, a pair without `=`, a
/// key that is not one of Envoy's, a key other than `By` and `DNS` that comes twice, a URI that is no SPIFFE ID. Blanks
/// between a comma and an element are none (RFC 9110, section 5.6.1).
pub fn forwarded_peer(values: &[&[u8]]) -> Peer {
    if values.is_empty() {
        return Peer::Unauthenticated(UnauthenticatedReason::NoForwardedIdentity);
    }
    match uri_of_the_last(&values.join(&b',')) {
        Err(error) => Peer::Unauthenticated(UnauthenticatedReason::MalformedForwarding(error)),
        Ok(uri) if uri.is_empty() => Peer::Unauthenticated(UnauthenticatedReason::NoUri),
        Ok(uri) => match SpiffeId::parse(&uri) {
            Ok(id) => Peer::Authenticated(id),
            Err(reason) => Peer::Unauthenticated(UnauthenticatedReason::InvalidSpiffeId(reason)),
        },
    }
}

/// The URI of the last element, empty where it has none.
fn uri_of_the_last(header: &[u8]) -> Result<Vec<u8>, XfccError> {
    if header.len() > MAX_BYTES {
        return Err(XfccError::TooLong);
    }
    let elements = split(header, b',')?;
    if elements.len() > MAX_ELEMENTS {
        return Err(XfccError::TooManyElements);
    }
    let mut uri = Vec::new();
    // Every element has to be whole: what is wrong in one can hide where the next begins.
    for (number, element) in (1..).zip(elements) {
        let blanks = element.iter().take_while(|byte| number > 1 && matches!(byte, b' ' | b'\t')).count();
        uri = uri_of(element.get(blanks..).unwrap_or_default()).map_err(|error| XfccError::Element(number, error))?;
    }
    Ok(uri)
}

/// Keys that Envoy writes; true for those that can be repeated.
const KEYS: [(&str, bool); 7] = [
    ("By", true),
    ("Hash", false),
    ("Cert", false),
    ("Chain", false),
    ("Subject", false),
    ("URI", false),
    ("DNS", true),
];

fn uri_of(element: &[u8]) -> Result<Vec<u8>, XfccElementError> {
    if element.is_empty() {
        return Err(XfccElementError::Empty);
    }
    // Quotes are balanced: splitting the elements checked that.
    let pairs = split(element, b';').unwrap_or_default();
    if pairs.len() > MAX_PAIRS {
        return Err(XfccElementError::TooManyPairs);
    }
    let mut seen: Vec<&str> = Vec::new();
    let mut uri = Vec::new();
    for (number, pair) in (1..).zip(pairs) {
        let mut sides = pair.splitn(2, |byte| *byte == b'=');
        let (Some(key), Some(value)) = (sides.next(), sides.next()) else {
            return Err(XfccElementError::NoEquals(number));
        };
        let known = KEYS.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(key));
        let (key, repeats) = known.ok_or(XfccElementError::UnknownKey(number))?;
        if !repeats && seen.contains(key) {
            return Err(XfccElementError::Repeated(key));
        }
        if *key == "URI" {
            uri = unquoted(value).ok_or(XfccElementError::QuotedUri)?;
        }
        seen.push(key);
    }
    Ok(uri)
}

/// The parts between separators that stand outside quotes. Fails where a quote is left open.
///
/// Fails too where a quote does not begin or end a value, and where a backslash stands outside quotes: behind an open
/// quote of a client, what the proxy wrote could be read as a part of what the client sent.
fn split(text: &[u8], separator: u8) -> Result<Vec<&[u8]>, XfccError> {
    let mut parts = Vec::new();
    let (mut start, mut previous, mut quoted, mut escaped, mut closed) = (0, 0, false, false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' if quoted => (quoted, closed) = (false, true),
            _ if quoted => {}
            b',' | b';' => {
                closed = false;
                if *byte == separator {
                    parts.push(text.get(start..at).unwrap_or_default());
                    start = at + 1;
                }
            }
            b'"' if previous == b'=' => quoted = true,
            b'"' | b'\\' => return Err(XfccError::MisplacedQuote),
            _ if closed => return Err(XfccError::MisplacedQuote),
            _ => {}
        }
        previous = *byte;
    }
    parts.push(text.get(start..).unwrap_or_default());
    if quoted { Err(XfccError::OpenQuote) } else { Ok(parts) }
}

/// A value without its quotes; one with a quote inside is malformed.
fn unquoted(value: &[u8]) -> Option<Vec<u8>> {
    let inner = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value);
    (!inner.contains(&b'"') && !inner.contains(&b'\\')).then(|| inner.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";
    const MISPLACED: &str = "a quote or a backslash stands where Envoy writes none";
    const KEY_1: &str = "element 1 has a key in pair 1 that is none of By, Hash, Cert, Chain, Subject, URI and DNS";
    const KEY_2: &str = "element 1 has a key in pair 2 that is none of By, Hash, Cert, Chain, Subject, URI and DNS";

    fn read(values: &[&str]) -> String {
        let values: Vec<_> = values.iter().map(|value| value.as_bytes()).collect();
        match forwarded_peer(&values) {
            Peer::Authenticated(id) => id.uri().to_owned(),
            Peer::Unauthenticated(UnauthenticatedReason::MalformedForwarding(error)) => error.to_string(),
            Peer::Unauthenticated(reason) => format!("{reason:?}"),
        }
    }

    #[test]
    fn rows() {
        let long = format!("URI={WEB};Cert=\"{}\"", "x".repeat(MAX_BYTES));
        let many = format!("{}URI={WEB}", "Hash=a,".repeat(32));
        let pairs = format!("{}URI={WEB}", "DNS=a;".repeat(32));
        let rows: [(&[&str], &str); 40] = [
            (&[], "NoForwardedIdentity"),
            (&[""], "element 1 is empty"),
            (&["URI=spiffe://cluster.local/ns/shop/sa/web"], WEB),
            (&["uri=spiffe://cluster.local/ns/shop/sa/web"], WEB),
            (&["URI=\"spiffe://cluster.local/ns/shop/sa/web\""], WEB),
            (
                &[
                    "By=spiffe://cluster.local/gw;Hash=1;Subject=\"CN=a\";URI=spiffe://cluster.local/ns/shop/sa/web;DNS=a;DNS=b",
                ],
                WEB,
            ),
            (&["By=a;Hash=1;Subject=\"\";URI="], "NoUri"),
            (&["By=a;Hash=1"], "NoUri"),
            // The nearest hop is the last.
            (&["URI=spiffe://td/admin,URI=spiffe://cluster.local/ns/shop/sa/web"], WEB),
            (&["URI=spiffe://td/admin", "URI=spiffe://cluster.local/ns/shop/sa/web"], WEB),
            (&["URI=spiffe://cluster.local/ns/shop/sa/web,"], "element 2 is empty"),
            (&["Hash=1, By=spiffe://td/gw;URI=spiffe://cluster.local/ns/shop/sa/web"], WEB),
            (&["Hash=1 ,\t Hash=2;URI=spiffe://cluster.local/ns/shop/sa/web"], WEB),
            (&["Hash=1;, Hash=2"], "element 1 has no `=` in pair 2"),
            (&["Hash=1, , Hash=2"], "element 2 is empty"),
            (&[" URI=spiffe://td/x"], KEY_1),
            (&["Hash=1; URI=spiffe://td/x"], KEY_2),
            (&["URI=spiffe://td/x , Hash=1"], "NoUri"),
            (&["Hash=1, URI=spiffe://td/x "], "InvalidSpiffeId(Malformed)"),
            // Separators within quotes are none.
            (&["Subject=\"CN=a,URI=spiffe://td/admin;URI=x\";URI=spiffe://cluster.local/ns/shop/sa/web"], WEB),
            (&["Subject=\"CN=\\\",URI=spiffe://td/admin\";URI=spiffe://cluster.local/ns/shop/sa/web"], WEB),
            (&["Subject=\"CN=trail\\\\\";URI=spiffe://cluster.local/ns/shop/sa/web"], WEB),
            // Two URIs, whether of two SANs or of one that looks like two.
            (&["Hash=1;URI=spiffe://td/x;URI=spiffe://td/admin"], "element 1 has URI twice"),
            (&["Hash=1;URI=spiffe://td/x,By=spiffe://td/gw;URI=spiffe://td/admin"], "spiffe://td/admin"),
            (&["Hash=1;Hash=2;URI=spiffe://td/x"], "element 1 has Hash twice"),
            (&["Subject=\"unterminated,URI=spiffe://td/x"], "a quote is left open"),
            // Of a certificate with DNS names that are none. The client's quote makes one pair of all that follows.
            (&["Hash=1;Subject=\"\";URI=spiffe://td/x;DNS=\\\"b\""], MISPLACED),
            (&["URI=spiffe://td/admin;DNS=\"", "Hash=1;Subject=\"\";URI=spiffe://td/x;DNS=\\\"b\""], MISPLACED),
            (&["DNS=a\\b;URI=spiffe://td/x"], MISPLACED),
            (&["URI"], "element 1 has no `=` in pair 1"),
            (&["URI=spiffe://td/x;Role=admin"], KEY_2),
            (&["URI=\"spiffe://td/x\"y\""], MISPLACED),
            (&["URI=\"spiffe://td/x\"y"], MISPLACED),
            (&["URI=\"spiffe://td/x\\\\y\""], "element 1 has a quote or a backslash within its URI"),
            (&["nonsense,URI=spiffe://td/x"], "element 1 has no `=` in pair 1"),
            (&["URI=https://td/x"], "InvalidSpiffeId(Malformed)"),
            (&["URI= spiffe://td/x"], "InvalidSpiffeId(Malformed)"),
            (&[&long], "it is longer than 16 KiB"),
            (&[&many], "it has more than 32 elements"),
            (&[&pairs], "element 1 has more than 32 pairs"),
        ];
        for (values, expected) in rows {
            assert_eq!(
                read(values),
                expected,
                "{:?}",
                values.iter().map(|value| &value[..value.len().min(90)]).collect::<Vec<_>>()
            );
        }
    }
}
