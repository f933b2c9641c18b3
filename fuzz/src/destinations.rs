//! Destinations: an authority has one spelling, letter case and one final dot aside.

use sallyport_policy::{Authority, Decision, EgressAllowlist, Host, SourceMode};

use crate::request::TextRequest;

/// Checks what is read from an authority.
pub fn check(data: &[u8]) {
    let Ok(authority) = Authority::parse(data) else { return };
    let port = authority.port.map(|port| format!(":{port}")).unwrap_or_default();
    let printed = format!("{}{port}", authority.host);
    assert_eq!(Authority::parse(printed.as_bytes()).as_ref(), Ok(&authority), "{printed} is another authority");

    let host_part = data.strip_suffix(port.as_bytes()).unwrap_or(data);
    let given = str::from_utf8(host_part).map(str::to_ascii_lowercase).unwrap_or_default();
    match &authority.host {
        Host::Name(name) => {
            let given = given.strip_suffix('.').unwrap_or(&given);
            assert_eq!(given, name.as_str(), "the name is not what was sent");
            assert!(!is_number(given), "a dialler can take {given} for an address");
        }
        Host::Address(address) => {
            let inside = given.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&given);
            let read = inside.parse::<std::net::IpAddr>().map(|address| address.to_canonical());
            assert_eq!(read.as_ref(), Ok(address), "the address is not what was sent");
            assert_eq!(given.starts_with('['), inside.contains(':'), "brackets are for IPv6");
        }
    }
    check_rules(data, &authority);
}

/// Checks that a rule for the printed host is a rule for what was sent, and that one for another host is not.
fn check_rules(data: &[u8], authority: &Authority) {
    let port = authority.port.unwrap_or(80);
    let bare = authority.host.to_string();
    let bare = bare.trim_matches(['[', ']']);
    for (host, allowed) in [(bare, true), ("other.invalid", authority.host.to_string() == "other.invalid")] {
        let configuration = format!(
            r#"{{"ipAddresses": "allow", "rules": [{{"name": "r", "hosts": ["{host}"], "ports": [{port}]}}]}}"#
        );
        let compiled = EgressAllowlist::parse(configuration.as_bytes());
        let decision_is = |expected: bool| {
            let compiled = compiled.as_ref().map_err(ToString::to_string)?;
            let mut request = TextRequest::parse(&[&[b"host ", data].concat()]);
            let decision = compiled.policy().decide(SourceMode::Enforce, &mut request);
            Ok::<_, String>((decision == Decision::Allow) == expected)
        };
        assert_eq!(decision_is(allowed), Ok(true), "{host} is to be allowed: {allowed}");
    }
}

/// Reports whether `inet_aton` takes a name for an address: one to four numbers, decimal, octal or hexadecimal.
fn is_number(name: &str) -> bool {
    let is_part = |part: &str| match part.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|digit| digit.is_ascii_hexdigit()),
        None => !part.is_empty() && part.bytes().all(|digit| digit.is_ascii_digit()),
    };
    name.split('.').count() <= 4 && name.split('.').all(is_part)
}
