//! The first bytes inside a CONNECT tunnel: an authority in the first line, then what the client sends.

use sallyport_policy::{Authority, Decision, EgressAllowlist, Host, SourceMode, Tunnel, TunnelFault, TunnelStep};

use crate::request::TextRequest;

/// The most bytes that are also given one by one.
const MAX_SINGLE_BYTES: usize = 2_000;

/// Verdict about a tunnel, or what is known of it so far.
type Verdict = Result<TunnelStep, TunnelFault>;

/// Checks that the verdict does not depend on how the bytes come, and that what passes names no other host to a server,
/// however it reads the ClientHello.
pub fn check(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let (authority, bytes) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Some((tunnel, host)) = open(authority) else { return };
    let whole = verdict(tunnel.clone(), bytes.chunks(usize::MAX));
    for size in [1, 2, 5, 7, 64, 1_000] {
        if size > 1 || bytes.len() <= MAX_SINGLE_BYTES {
            assert_eq!(verdict(tunnel.clone(), bytes.chunks(size)), whole, "in pieces of {size} bytes, on the left");
        }
    }
    for at in [1, 4, 5, 6, 9, 43, bytes.len() / 2] {
        let (first, rest) = bytes.split_at(at.min(bytes.len()));
        assert_eq!(verdict(tunnel.clone(), [first, rest].into_iter()), whole, "split at {at}, on the left");
    }
    if whole == Ok(TunnelStep::Pass) && bytes.first() == Some(&HANDSHAKE) {
        let names = server_names(bytes);
        let is_the_host = |name: &Vec<u8>| Host::parse(name).as_ref() == Ok(&host);
        assert!(names.iter().all(is_the_host), "a server can read another name: {names:?}");
        assert!(!names.is_empty() || matches!(host, Host::Address(_)), "no server name is read");
    }
}

/// Opens a tunnel to an authority, whatever it is.
fn open(authority: &[u8]) -> Option<(Tunnel, Host)> {
    let mut request = TextRequest::parse(&[b"method CONNECT", &[b"host ", authority].concat()]);
    let Authority { host, port } = Authority::parse(authority).ok()?;
    let name = host.to_string();
    let configuration = format!(
        r#"{{"ipAddresses": "allow", "rules": [{{"name": "r", "hosts": ["{}"], "ports": [{}]}}]}}"#,
        name.trim_matches(['[', ']']),
        port?
    );
    let compiled = EgressAllowlist::parse(configuration.as_bytes()).ok()?;
    let tunnel = compiled.policy().tunnel(SourceMode::Enforce, &Decision::Allow, &mut request)?;
    Some((tunnel, host))
}

fn verdict<'b>(mut tunnel: Tunnel, pieces: impl Iterator<Item = &'b [u8]>) -> Verdict {
    for piece in pieces {
        match tunnel.inspect(piece) {
            Ok(TunnelStep::Hold) => {}
            decided => return decided,
        }
    }
    Ok(TunnelStep::Hold)
}

/// Content type of handshake records, and type of a ClientHello (RFC 8446, sections 5.1 and 4).
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;

/// Returns every server name that a lenient reader could find in a ClientHello: the names of all `server_name`
/// extensions.
fn server_names(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut message = Vec::new();
    let mut records = bytes;
    while let [HANDSHAKE, _, _, high, low, rest @ ..] = records {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (fragment, rest) = rest.split_at(length);
        message.extend_from_slice(fragment);
        records = rest;
    }
    let mut names = Vec::new();
    let mut reader = Reader(&message);
    let [CLIENT_HELLO] = reader.take(1) else { return names };
    let mut body = Reader(reader.prefixed(3));
    body.take(2 + 32);
    body.prefixed(1);
    body.prefixed(2);
    body.prefixed(1);
    let mut extensions = Reader(body.prefixed(2));
    while !extensions.0.is_empty() {
        let kind = extensions.take(2);
        let content = extensions.prefixed(2);
        if kind == [0, 0] {
            let mut list = Reader(Reader(content).prefixed(2));
            while !list.0.is_empty() {
                list.take(1);
                names.push(list.prefixed(2).to_vec());
            }
        }
    }
    names
}

/// Reader that takes what is there where a length promises more.
struct Reader<'m>(&'m [u8]);

impl<'m> Reader<'m> {
    fn take(&mut self, length: usize) -> &'m [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn prefixed(&mut self, width: usize) -> &'m [u8] {
        let length = self.take(width).iter().fold(0, |length, byte| (length << 8) | usize::from(*byte));
        self.take(length)
    }
}

#[cfg(all(test, feature = "suites"))]
mod tests {
    use super::*;
    use crate::seeds;

    #[test]
    fn seeds_pass_are_held_and_fail() {
        let verdicts = seeds::tunnels().into_iter().map(|seed| {
            let end = seed.iter().position(|byte| *byte == b'\n').expect("a line");
            let (tunnel, _) = open(&seed[..end]).expect("a tunnel");
            verdict(tunnel, [&seed[end + 1..]].into_iter())
        });
        let verdicts: Vec<_> = verdicts.collect();
        assert!(verdicts.contains(&Ok(TunnelStep::Pass)), "{verdicts:?}");
        assert!(verdicts.contains(&Err(TunnelFault::NoServerName)), "{verdicts:?}");
        let is_other = |verdict: &Verdict| matches!(verdict, Err(TunnelFault::OtherServerName(_)));
        assert!(verdicts.iter().any(is_other), "{verdicts:?}");
    }
}
