//! `x-forwarded-client-cert`: what a proxy before this one says of the certificate that it was shown.
//!
//! A list of elements, one a hop, the nearest last; an element is a list of pairs (Envoy's documentation of the HTTP
//! connection manager, "x-forwarded-client-cert"). Envoy writes `URI` as it stands in the certificate, neither quoted
//! nor escaped, so a certificate can hold what looks like further pairs. That is why everything unusual is refused.

use crate::identity::error::UnauthenticatedReason;
use crate::identity::peer::Peer;
use crate::identity::spiffe_id::SpiffeId;

/// A header of more bytes is refused: chains of certificates and all, Envoy's own stay below.
const LONGEST: usize = 16 * 1024;

/// So many hops and pairs are more than any way through proxies has.
const MAX_ELEMENTS: usize = 32;
const MAX_PAIRS: usize = 32;

/// Reads the identity that the last element names. Several headers are read as one, joined by commas.
///
/// There is none without a header, and without a URI in the element; whatever is malformed proves nothing and stops a
/// decision that asks for an identity: an open quote, a pair without `=`, a key that is not one of Envoy's, a key other
/// than `By` and `DNS` that comes twice, a URI that is no SPIFFE ID.
pub fn forwarded_peer(values: &[&[u8]]) -> Peer {
    if values.is_empty() {
        return Peer::Unauthenticated(UnauthenticatedReason::NoForwardedIdentity);
    }
    match uri_of_the_last(&values.join(&b',')) {
        None => Peer::Unauthenticated(UnauthenticatedReason::MalformedForwarding),
        Some(uri) if uri.is_empty() => Peer::Unauthenticated(UnauthenticatedReason::NoUri),
        Some(uri) => match SpiffeId::parse(&uri) {
            Ok(id) => Peer::Authenticated(id),
            Err(reason) => Peer::Unauthenticated(UnauthenticatedReason::InvalidSpiffeId(reason)),
        },
    }
}

/// The URI of the last element, empty where it has none, or `None` where the header is malformed.
fn uri_of_the_last(header: &[u8]) -> Option<Vec<u8>> {
    if header.len() > LONGEST {
        return None;
    }
    let mut uri = None;
    let elements = split(header, b',')?;
    if elements.len() > MAX_ELEMENTS {
        return None;
    }
    // Every element has to be whole: what is wrong in one can hide where the next begins.
    for element in elements {
        uri = Some(uri_of(element)?);
    }
    uri
}

fn uri_of(element: &[u8]) -> Option<Vec<u8>> {
    let pairs = split(element, b';')?;
    if pairs.len() > MAX_PAIRS {
        return None;
    }
    let mut seen: Vec<Vec<u8>> = Vec::new();
    let mut uri = Vec::new();
    for pair in pairs {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (key, value) = (pair.get(..equals)?.to_ascii_lowercase(), pair.get(equals + 1..)?);
        let repeats = match key.as_slice() {
            b"by" | b"dns" => true,
            b"hash" | b"cert" | b"chain" | b"subject" | b"uri" => false,
            _ => return None,
        };
        if !repeats && seen.contains(&key) {
            return None;
        }
        if key == b"uri" {
            uri = unquoted(value)?;
        }
        seen.push(key);
    }
    Some(uri)
}

/// The parts between separators that stand outside quotes; `None` where a quote is left open.
fn split(text: &[u8], separator: u8) -> Option<Vec<&[u8]>> {
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if *byte == separator && !quoted => {
                parts.push(text.get(start..at)?);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text.get(start..)?);
    (!quoted).then_some(parts)
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

    fn read(values: &[&str]) -> String {
        let values: Vec<_> = values.iter().map(|value| value.as_bytes()).collect();
        match forwarded_peer(&values) {
            Peer::Authenticated(id) => id.uri().to_owned(),
            Peer::Unauthenticated(reason) => format!("{reason:?}"),
        }
    }

    #[test]
    fn rows() {
        let long = format!("URI={WEB};Cert=\"{}\"", "x".repeat(LONGEST));
        let many = format!("{}URI={WEB}", "Hash=a,".repeat(32));
        let rows: [(&[&str], &str); 26] = [
            (&[], "NoForwardedIdentity"),
            (&[""], "MalformedForwarding"),
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
            (&["URI=spiffe://cluster.local/ns/shop/sa/web,"], "MalformedForwarding"),
            // Separators within quotes are none.
            (&["Subject=\"CN=a,URI=spiffe://td/admin;URI=x\";URI=spiffe://cluster.local/ns/shop/sa/web"], WEB),
            (&["Subject=\"CN=\\\",URI=spiffe://td/admin\";URI=spiffe://cluster.local/ns/shop/sa/web"], WEB),
            (&["Subject=\"CN=trail\\\\\";URI=spiffe://cluster.local/ns/shop/sa/web"], WEB),
            // Two URIs, whether of two SANs or of one that looks like two.
            (&["Hash=1;URI=spiffe://td/x;URI=spiffe://td/admin"], "MalformedForwarding"),
            (&["Hash=1;URI=spiffe://td/x,By=spiffe://td/gw;URI=spiffe://td/admin"], "spiffe://td/admin"),
            (&["Hash=1;Hash=2;URI=spiffe://td/x"], "MalformedForwarding"),
            (&["Subject=\"unterminated,URI=spiffe://td/x"], "MalformedForwarding"),
            (&["URI"], "MalformedForwarding"),
            (&["URI=spiffe://td/x;Role=admin"], "MalformedForwarding"),
            (&["URI=\"spiffe://td/x\"y\""], "MalformedForwarding"),
            (&["nonsense,URI=spiffe://td/x"], "MalformedForwarding"),
            (&["URI=https://td/x"], "InvalidSpiffeId(Malformed)"),
            (&["URI= spiffe://td/x"], "InvalidSpiffeId(Malformed)"),
            (&[&long], "MalformedForwarding"),
            (&[&many], "MalformedForwarding"),
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
