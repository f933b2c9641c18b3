//! `x-forwarded-client-cert`: what a client sends, up to the first line break, and the element that the proxy in front
//! appends.

use sallyport_policy::{Peer, UnauthenticatedReason, forwarded_peer};

/// Checks that nothing before the last element makes another caller of it: it is the same one, or the header is
/// malformed, which denies whatever depends on an identity.
pub fn check(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let (prefix, last) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let alone = forwarded_peer(&[last]);
    let lines = forwarded_peer(&[prefix, last]);
    let joined = forwarded_peer(&[&[prefix, b",", last].concat()]);
    assert_eq!(lines, joined, "two lines and their join are read in two ways");
    if is_malformed(&alone) || is_malformed(&joined) {
        return;
    }
    // A comma of the last part can begin elements of its own, and the last of those counts.
    assert_eq!(joined, alone, "with what the client sent on the left");
    if let Peer::Authenticated(id) = &alone {
        let uri = id.uri().as_bytes();
        assert!(last.windows(uri.len()).any(|window| window == uri), "{id} is not in the last element");
    }
}

fn is_malformed(peer: &Peer) -> bool {
    matches!(peer, Peer::Unauthenticated(UnauthenticatedReason::MalformedForwarding(_)))
}
