//! The first message of TLS, with any bytes for a server name.

use anyhow::Result;

/// A ClientHello of TLS 1.2 (RFC 5246, section 7.4.1.2) in one record, with this server name (RFC 6066, section 3) or
/// none.
pub fn client_hello(server_name: Option<&[u8]>) -> Result<Vec<u8>> {
    let short = |bytes: &[u8]| -> Result<Vec<u8>> { Ok([&u16::try_from(bytes.len())?.to_be_bytes(), bytes].concat()) };
    let mut extensions = Vec::new();
    if let Some(name) = server_name {
        // The one kind of name that there is: host_name.
        let names = short(&[&[0][..], &short(name)?].concat())?;
        extensions.extend([&[0, 0][..], &short(&names)?].concat());
    }
    // Groups and signature algorithms, so that no server takes the message for a broken one.
    extensions.extend([&[0, 10][..], &short(&short(&[0, 29, 0, 23])?)?].concat());
    extensions.extend([&[0, 13][..], &short(&short(&[4, 3, 8, 4])?)?].concat());
    let suites = short(&[0xc0, 0x2b, 0xc0, 0x2f])?;
    let body = [&[3, 3][..], &[7; 32], &[0], &suites, &[1, 0], &short(&extensions)?].concat();
    let [_, length @ ..] = u32::try_from(body.len())?.to_be_bytes();
    let handshake = [&[1][..], &length, &body].concat();
    Ok([&[22, 3, 1][..], &short(&handshake)?].concat())
}
