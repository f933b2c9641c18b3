//! A raw ClientHello, for server names that a TLS library refuses to send.

use anyhow::Result;

/// Encodes a TLS 1.2 ClientHello (RFC 5246, section 7.4.1.2) in one record, with this server name (RFC 6066, section 3)
/// as is, or without the extension. Fails if the name does not fit its 16-bit length.
pub fn client_hello(server_name: Option<&[u8]>) -> Result<Vec<u8>> {
    let with_length =
        |bytes: &[u8]| -> Result<Vec<u8>> { Ok([&u16::try_from(bytes.len())?.to_be_bytes(), bytes].concat()) };
    let mut extensions = Vec::new();
    if let Some(name) = server_name {
        // The only defined name type: host_name.
        let names = with_length(&[&[0][..], &with_length(name)?].concat())?;
        extensions.extend([&[0, 0][..], &with_length(&names)?].concat());
    }
    // Groups and signature algorithms, without which servers reject the message.
    extensions.extend([&[0, 10][..], &with_length(&with_length(&[0, 29, 0, 23])?)?].concat());
    extensions.extend([&[0, 13][..], &with_length(&with_length(&[4, 3, 8, 4])?)?].concat());
    let suites = with_length(&[0xc0, 0x2b, 0xc0, 0x2f])?;
    let body = [&[3, 3][..], &[7; 32], &[0], &suites, &[1, 0], &with_length(&extensions)?].concat();
    let [_, length @ ..] = u32::try_from(body.len())?.to_be_bytes();
    let handshake = [&[1][..], &length, &body].concat();
    Ok([&[22, 3, 1][..], &with_length(&handshake)?].concat())
}
