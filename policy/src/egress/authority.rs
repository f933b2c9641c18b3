//! Destination of a request: a host and a port, parsed more strictly than by any proxy that dials them.
//!
//! Proxies disagree about `0177.0.0.1`, `good.test:+80` or `[good.test]` (reference for the
//! cases: docs/egress.md). An authority that is not one host in canonical form is rejected, and the request denied.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The most bytes of a domain name without its final dot, and of one label (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// The most bytes of an authority that are looked at: no host and port are as long.
const MAX_AUTHORITY: usize = 1024;

/// A domain name: letters in lower case, digits, `-` and `_`, in labels of 1 to 63, without the final dot.
///
/// Invariants, checked by [`parse`](Self::parse): at most 253 bytes, no empty label, none that begins or ends with
/// `-`, and a last label that no dialler could take for a number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DomainName(Box<str>);

impl DomainName {
    fn parse(bytes: &[u8]) -> Result<Self, InvalidAuthority> {
        if bytes.is_empty() {
            return Err(InvalidAuthority::NoHost);
        }
        if bytes.len() > MAX_NAME {
            return Err(InvalidAuthority::LongName);
        }
        for label in bytes.split(|byte| *byte == b'.') {
            check_label(label)?;
        }
        let text = str::from_utf8(bytes).map_err(|_| InvalidAuthority::NotAscii)?;
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// The name, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks one label of a domain name, in any case.
pub(crate) fn check_label(label: &[u8]) -> Result<(), InvalidAuthority> {
    if label.is_empty() {
        return Err(InvalidAuthority::EmptyLabel);
    }
    if label.len() > MAX_LABEL {
        return Err(InvalidAuthority::LongLabel);
    }
    if !label.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
        return Err(InvalidAuthority::BadByte);
    }
    match label {
        [b'-', ..] | [.., b'-'] => Err(InvalidAuthority::Hyphen),
        _ => Ok(()),
    }
}

/// Reports whether a resolver could parse the name as an IPv4 address: its last label is all digits, or begins as a
/// hexadecimal number (WHATWG URL, "ends in a number").
pub(crate) fn ends_in_number(name: &[u8]) -> bool {
    let last = name.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    !last.is_empty() && last.iter().all(u8::is_ascii_digit) || matches!(last, [b'0', b'x' | b'X', ..])
}

/// A host: a name, or an address in its one spelling. An IPv4-mapped IPv6 address is the IPv4 address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A domain name.
    Name(DomainName),
    /// An IP literal.
    Address(IpAddr),
}

impl Host {
    /// Reads a host that stands alone, as in a server name (RFC 6066, section 3) or in a configuration; an IPv6
    /// address needs its brackets.
    ///
    /// Fails with what keeps the bytes from being one host in its one spelling.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidAuthority> {
        if bytes.len() > MAX_AUTHORITY {
            return Err(InvalidAuthority::LongName);
        }
        if let [b'[', inside @ .., b']'] = bytes {
            return ipv6(inside).map(|address| Self::Address(address.to_canonical()));
        }
        check_bytes(bytes)?;
        if bytes.contains(&b':') {
            return Err(match str::from_utf8(bytes).ok().and_then(|text| text.parse::<Ipv6Addr>().ok()) {
                Some(_) => InvalidAuthority::BareIpv6,
                None => InvalidAuthority::BadByte,
            });
        }
        let name = match bytes {
            [b'.'] => return Err(InvalidAuthority::NoHost),
            [.., b'.', b'.'] => return Err(InvalidAuthority::FinalDots),
            [name @ .., b'.'] => name,
            name => name,
        };
        if ends_in_number(name) {
            // The dot at the end of a name is the root's; an address has none.
            return canonical_ipv4(bytes).map(|address| Self::Address(address.into())).ok_or(InvalidAuthority::BadIpv4);
        }
        DomainName::parse(name).map(Self::Name)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Four decimal numbers without leading zeros, and nothing else.
fn canonical_ipv4(bytes: &[u8]) -> Option<Ipv4Addr> {
    let text = str::from_utf8(bytes).ok()?;
    text.parse::<Ipv4Addr>().ok().filter(|address| address.to_string() == text)
}

/// Parses the address between brackets.
fn ipv6(inside: &[u8]) -> Result<IpAddr, InvalidAuthority> {
    if inside.contains(&b'%') {
        return Err(InvalidAuthority::ZoneId);
    }
    let text = str::from_utf8(inside).map_err(|_| InvalidAuthority::Brackets)?;
    text.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| InvalidAuthority::Brackets)
}

/// Names the characters by which hosts have been smuggled, each with its own reason.
fn check_bytes(bytes: &[u8]) -> Result<(), InvalidAuthority> {
    for byte in bytes {
        match byte {
            b'@' => return Err(InvalidAuthority::UserInfo),
            b'%' => return Err(InvalidAuthority::Escape),
            b',' => return Err(InvalidAuthority::Several),
            b'[' | b']' => return Err(InvalidAuthority::Brackets),
            0x80.. => return Err(InvalidAuthority::NotAscii),
            b'.' | b'-' | b'_' | b':' => {}
            byte if byte.is_ascii_alphanumeric() => {}
            _ => return Err(InvalidAuthority::BadByte),
        }
    }
    Ok(())
}

/// A host, with its port if one is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    /// The host.
    pub host: Host,
    /// The port, 1 to 65535; none where the bytes name none.
    pub port: Option<u16>,
}

impl Authority {
    /// Parses an authority of `:authority` or CONNECT: `host` or `host:port`.
    ///
    /// Fails on everything that is not one host in its one spelling, with at most one port in its one spelling.
    ///
    /// ```
    /// use sallyport_policy::{Authority, InvalidAuthority};
    /// let stripe = Authority::parse(b"API.Stripe.com.:443")?;
    /// assert_eq!((stripe.host.to_string().as_str(), stripe.port), ("api.stripe.com", Some(443)));
    /// assert_eq!(Authority::parse(b"api.stripe.com:0443"), Err(InvalidAuthority::BadPort));
    /// assert_eq!(Authority::parse(b"api.stripe.com@evil.test"), Err(InvalidAuthority::UserInfo));
    /// # Ok::<(), InvalidAuthority>(())
    /// ```
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidAuthority> {
        if bytes.len() > MAX_AUTHORITY {
            return Err(InvalidAuthority::LongName);
        }
        let (host, port) = match bytes {
            [b'[', rest @ ..] => {
                let end = rest.iter().position(|byte| *byte == b']').ok_or(InvalidAuthority::Brackets)?;
                let (host, after) = bytes.split_at_checked(end + 2).ok_or(InvalidAuthority::Brackets)?;
                match after {
                    [] => (host, None),
                    [b':', port @ ..] => (host, Some(port)),
                    _ => return Err(InvalidAuthority::Brackets),
                }
            }
            _ => {
                // Errors of the whole take precedence over errors of a part.
                check_bytes_before_port(bytes)?;
                let mut parts = bytes.splitn(2, |byte| *byte == b':');
                (parts.next().unwrap_or_default(), parts.next())
            }
        };
        let host = Host::parse(host)?;
        let port = port.map(read_port).transpose()?;
        Ok(Self { host, port })
    }
}

fn check_bytes_before_port(bytes: &[u8]) -> Result<(), InvalidAuthority> {
    if bytes.iter().filter(|byte| **byte == b':').count() > 1 {
        check_bytes(bytes)?;
        return Err(match str::from_utf8(bytes).ok().and_then(|text| text.parse::<Ipv6Addr>().ok()) {
            Some(_) => InvalidAuthority::BareIpv6,
            None => InvalidAuthority::BadPort,
        });
    }
    bytes.iter().find(|byte| matches!(byte, b'@' | b',')).map_or(Ok(()), |byte| check_bytes(&[*byte]))
}

/// Digits without a leading zero, 1 to 65535.
fn read_port(digits: &[u8]) -> Result<u16, InvalidAuthority> {
    let plain = matches!(digits, [b'1'..=b'9', ..]) && digits.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(digits).ok().filter(|_| plain).ok_or(InvalidAuthority::BadPort)?;
    text.parse().map_err(|_| InvalidAuthority::BadPort)
}

/// Reason why an authority is not one host in canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InvalidAuthority {
    /// There is no host.
    NoHost,
    /// More than 253 bytes.
    LongName,
    /// A label of more than 63 bytes.
    LongLabel,
    /// Two dots in a row, or one at the start.
    EmptyLabel,
    /// More than one dot at the end.
    FinalDots,
    /// A label begins or ends with a hyphen.
    Hyphen,
    /// Authority with userinfo (`@`).
    UserInfo,
    /// A percent sign: nothing is ever decoded here.
    Escape,
    /// A comma: several Host headers, joined.
    Several,
    /// Brackets around or next to something other than an IPv6 address.
    Brackets,
    /// An IPv6 zone, which names an interface of this machine.
    ZoneId,
    /// An IPv6 address without brackets.
    BareIpv6,
    /// Host that ends in a number, but is not four decimal numbers without leading zeros.
    BadIpv4,
    /// A byte beyond ASCII.
    NotAscii,
    /// Another byte that no host name has.
    BadByte,
    /// A port that is not 1 to 65535 in digits without a leading zero, or several.
    BadPort,
}

impl fmt::Display for InvalidAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoHost => "it names no host",
            Self::LongName => "its name is longer than 253 bytes",
            Self::LongLabel => "a label of its name is longer than 63 bytes",
            Self::EmptyLabel => "its name has an empty label",
            Self::FinalDots => "its name ends in more than one dot",
            Self::Hyphen => "a label of its name begins or ends with a hyphen",
            Self::UserInfo => "it has an `@`, and what stands before that is not the host",
            Self::Escape => "it has a percent sign, and nothing is decoded here",
            Self::Several => "it has a comma, as several Host headers joined into one have",
            Self::Brackets => "brackets stand around an IPv6 address and nothing else",
            Self::ZoneId => "it has an IPv6 zone, which names an interface of this machine",
            Self::BareIpv6 => "it is an IPv6 address without brackets",
            Self::BadIpv4 => "it ends in a number, and is not an IPv4 address of four plain decimal numbers",
            Self::NotAscii => "it has a byte beyond ASCII; international names are sent as xn--",
            Self::BadByte => "it has a character that no host name has",
            Self::BadPort => "its port is not one number of 1 to 65535 without sign or leading zero",
        })
    }
}

#[cfg(test)]
mod tests;
