//! Readings of a host: unchanged, without its port, without its final dot, and without both. A server name (SNI) has no
//! port.

use crate::collections::bytes::any_eight;

/// Number of the reading without the port.
const WITHOUT_PORT: u8 = 0;
/// Number of the reading without one final dot.
const WITHOUT_DOT: u8 = 1;
/// Number of the reading without either.
const WITHOUT_BOTH: u8 = 2;

/// Numbers of the readings of a host.
pub(crate) const HOST_READINGS: [u8; 3] = [WITHOUT_PORT, WITHOUT_DOT, WITHOUT_BOTH];

/// Numbers of the readings of a server name.
pub(crate) const SERVER_NAME_READINGS: [u8; 1] = [WITHOUT_DOT];

/// Reports whether a host has one reading and is in lower case.
pub(crate) fn is_plain(host: &[u8]) -> bool {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const COLONS: u64 = ONES * 0x3a;
    !host.ends_with(b".")
        && !any_eight(host, |eight| {
            let colons = eight ^ COLONS;
            // A byte of A to Z is of 0x41 or more and below 0x5b.
            // Where a byte of 0x80 or more carries over into the next one, it is itself found.
            let capitals = eight.wrapping_add(ONES * (0x80 - 0x41)) & !eight.wrapping_add(ONES * (0x80 - 0x5b));
            (colons.wrapping_sub(ONES) & !colons) | capitals | eight
        })
}

/// Returns the distinct readings of a lower-case host, except the original one.
pub(crate) fn readings(host: &[u8]) -> Vec<(u8, Vec<u8>)> {
    distinct(host, &HOST_READINGS)
}

/// Returns the readings of a lower-case server name, except the original one.
pub(crate) fn server_name_readings(name: &[u8]) -> Vec<(u8, Vec<u8>)> {
    distinct(name, &SERVER_NAME_READINGS)
}

fn distinct(host: &[u8], numbers: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut readings: Vec<(u8, Vec<u8>)> = Vec::new();
    for number in numbers {
        let read = read(*number, host);
        if read != host && readings.iter().all(|(_, known)| known != read) {
            readings.push((*number, read.to_vec()));
        }
    }
    readings
}

/// A host, or a pattern for hosts, in the reading of this number.
pub(crate) fn read(number: u8, host: &[u8]) -> &[u8] {
    let host = if number == WITHOUT_DOT { host } else { without_port(host) };
    if number == WITHOUT_PORT { host } else { host.strip_suffix(b".").unwrap_or(host) }
}

/// A host without what follows its last colon outside brackets (RFC 3986, section 3.2.3: the port may be empty).
fn without_port(host: &[u8]) -> &[u8] {
    let last = |wanted: u8| host.iter().rposition(|byte| *byte == wanted);
    match (last(b':'), last(b']'), last(b'[')) {
        (Some(colon), Some(bracket), _) if colon < bracket => host,
        (Some(_), None, Some(_)) => host,
        (Some(colon), ..) => host.get(..colon).unwrap_or(host),
        (None, ..) => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(host: &str) -> Vec<String> {
        readings(host.as_bytes()).into_iter().map(|(_, read)| String::from_utf8_lossy(&read).into_owned()).collect()
    }

    #[test]
    fn rows() {
        let rows: [(&str, &[&str]); 10] = [
            ("evil.test", &[]),
            ("evil.test:8080", &["evil.test"]),
            ("evil.test.", &["evil.test"]),
            ("evil.test:", &["evil.test"]),
            ("evil.test.:80", &["evil.test.", "evil.test"]),
            ("evil.test..", &["evil.test."]),
            ("[::1]", &[]),
            ("[::1]:80", &["[::1]"]),
            ("[::1", &[]),
            ("", &[]),
        ];
        for (host, expected) in rows {
            assert_eq!(texts(host), expected, "{host}");
        }
        assert_eq!(server_name_readings(b"shop.test."), [(WITHOUT_DOT, b"shop.test".to_vec())]);
        assert_eq!(server_name_readings(b"shop.test:80"), []);
    }

    #[test]
    fn a_plain_host_has_one_reading() {
        let hosts = [
            "",
            "a",
            "orders.shop",
            "orders:80",
            "Orders",
            "orders.",
            "a.very.long.name.example.com",
            "x:y",
            "long.orders.shop:8443",
            "long.orders.shop.examplE",
            "[::1]",
            "orders.shop.Z",
            "orders.shop.A",
            "@[`{",
        ];
        for host in hosts {
            let expected = !host.contains(':') && !host.ends_with('.') && host.to_ascii_lowercase() == host;
            assert_eq!(is_plain(host.as_bytes()), expected, "{host}");
        }
        for foreign in [&b"caf\xe9"[..], &b"e\xff\xff\xff\xff\xff\xff\xff\xffvil.test"[..]] {
            assert!(!is_plain(foreign), "{}", foreign.escape_ascii());
        }
    }
}
