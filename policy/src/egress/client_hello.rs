//! A ClientHello of TLS (RFC 8446, section 4.1.2), read from the first bytes of a connection as they come.
//!
//! Stricter than servers, which differ: what one of them could read in another way than this is refused.

use std::fmt;

/// The most bytes of a ClientHello without its header, which is what OpenSSL takes.
const MAX_MESSAGE: usize = 16_384;

/// The most bytes of a record's fragment (RFC 8446, section 5.1).
const MAX_FRAGMENT: usize = 16_384;

/// Content type of handshake records (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// Major version of every TLS record and ClientHello.
const MAJOR_VERSION: u8 = 3;

/// Type of a ClientHello among handshake messages (RFC 8446, section 4).
const CLIENT_HELLO: u8 = 1;

/// The most bytes of a session ID (RFC 8446, section 4.1.2).
const MAX_SESSION_ID: usize = 32;

/// Extension `server_name`, and its one kind of name, `host_name` (RFC 6066, section 3).
const SERVER_NAME: [u8; 2] = [0, 0];
const HOST_NAME: [u8; 1] = [0];

/// Reason why bytes that begin as TLS are no ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientHelloError {
    /// A record of another kind, of no bytes, too long or of another version.
    Record,
    /// Another handshake message.
    Message,
    /// A message of more than 16,384 bytes.
    LongMessage,
    /// A field that does not end where its message does, or has no permitted length.
    Field,
    /// Several server names.
    SeveralNames,
}

impl fmt::Display for ClientHelloError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Record => "a record of it is none that a ClientHello comes in",
            Self::Message => "its first message is no ClientHello",
            Self::LongMessage => "its ClientHello is longer than 16,384 bytes",
            Self::Field => "its ClientHello is malformed",
            Self::SeveralNames => "its ClientHello names several servers",
        })
    }
}

/// Server name of a ClientHello, `None` if it has none.
pub(crate) type ServerName = Option<Box<[u8]>>;

/// Reader of a ClientHello whose bytes come in any pieces, in any records.
///
/// Each byte is looked at once, and at most 16 KiB are kept. What is held meanwhile is bounded too: a record holds at
/// least one byte of the message.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientHelloReader {
    /// The bytes so far of a record's header.
    header: Vec<u8>,
    /// Bytes of the record's fragment that have not come.
    missing: usize,
    /// The bytes so far of the message, its header included.
    message: Vec<u8>,
}

impl ClientHelloReader {
    /// Takes the next bytes. Returns the server name once the ClientHello is complete.
    pub(crate) fn read(&mut self, mut bytes: &[u8]) -> Result<Option<ServerName>, ClientHelloError> {
        loop {
            if self.missing == 0 {
                let wanted = size_of::<RecordHeader>() - self.header.len();
                let (header, rest) = split_up_to(bytes, wanted);
                self.header.extend_from_slice(header);
                let Ok(header) = RecordHeader::try_from(self.header.as_slice()) else { return Ok(None) };
                self.missing = fragment_length(header)?;
                self.header.clear();
                bytes = rest;
            }
            let (fragment, rest) = split_up_to(bytes, self.missing);
            self.missing -= fragment.len();
            self.message.extend_from_slice(fragment);
            if let Some(body) = complete_body(&self.message)? {
                return server_name(body).map(|name| Some(name.map(Box::from)));
            }
            if rest.is_empty() {
                return Ok(None);
            }
            bytes = rest;
        }
    }
}

/// Content type, version and length.
type RecordHeader = [u8; 5];

/// Returns the first `length` bytes and the others, or all if there are fewer.
fn split_up_to(bytes: &[u8], length: usize) -> (&[u8], &[u8]) {
    bytes.split_at_checked(length).unwrap_or((bytes, &[]))
}

/// Reads the header of a record.
fn fragment_length([content_type, major, _, length @ ..]: RecordHeader) -> Result<usize, ClientHelloError> {
    let length = usize::from(u16::from_be_bytes(length));
    let is_plain = content_type == HANDSHAKE && major == MAJOR_VERSION && (1..=MAX_FRAGMENT).contains(&length);
    is_plain.then_some(length).ok_or(ClientHelloError::Record)
}

/// Returns the body of a ClientHello, `None` until it is complete.
fn complete_body(message: &[u8]) -> Result<Option<&[u8]>, ClientHelloError> {
    match message {
        [kind, ..] if *kind != CLIENT_HELLO => Err(ClientHelloError::Message),
        [_, high, middle, low, body @ ..] => {
            let length = (usize::from(*high) << 16) | (usize::from(*middle) << 8) | usize::from(*low);
            if length > MAX_MESSAGE {
                return Err(ClientHelloError::LongMessage);
            }
            Ok(body.get(..length))
        }
        _ => Ok(None),
    }
}

/// Reads the one server name of a ClientHello.
fn server_name(body: &[u8]) -> Result<Option<&[u8]>, ClientHelloError> {
    let mut hello = Fields(body);
    if hello.take(2)?.first() != Some(&MAJOR_VERSION) {
        return Err(ClientHelloError::Field);
    }
    let _random = hello.take(32)?;
    let session_id = hello.prefixed(1)?;
    let cipher_suites = hello.prefixed(2)?;
    let compression_methods = hello.prefixed(1)?;
    let permitted = session_id.len() <= MAX_SESSION_ID
        && !cipher_suites.is_empty()
        && cipher_suites.len().is_multiple_of(2)
        && !compression_methods.is_empty();
    if !permitted {
        return Err(ClientHelloError::Field);
    }
    // Up to TLS 1.2 a ClientHello may end here.
    if hello.0.is_empty() {
        return Ok(None);
    }
    let mut extensions = Fields(hello.prefixed(2)?);
    hello.end()?;
    let mut name = None;
    while !extensions.0.is_empty() {
        let kind = extensions.take(2)?;
        let data = extensions.prefixed(2)?;
        if kind == SERVER_NAME && name.replace(host_name(data)?).is_some() {
            return Err(ClientHelloError::SeveralNames);
        }
    }
    Ok(name)
}

/// Reads the name of the extension `server_name`.
fn host_name(data: &[u8]) -> Result<&[u8], ClientHelloError> {
    let mut data = Fields(data);
    let mut names = Fields(data.prefixed(2)?);
    data.end()?;
    if names.take(1)? != HOST_NAME {
        return Err(ClientHelloError::Field);
    }
    let name = names.prefixed(2)?;
    match (name.is_empty(), names.0.is_empty()) {
        (true, _) => Err(ClientHelloError::Field),
        (false, false) => Err(ClientHelloError::SeveralNames),
        (false, true) => Ok(name),
    }
}

/// Fields of a message that have not been read.
struct Fields<'m>(&'m [u8]);

impl<'m> Fields<'m> {
    fn take(&mut self, length: usize) -> Result<&'m [u8], ClientHelloError> {
        let (field, rest) = self.0.split_at_checked(length).ok_or(ClientHelloError::Field)?;
        self.0 = rest;
        Ok(field)
    }

    /// Takes a field after its length, which is a number of `width` bytes.
    fn prefixed(&mut self, width: usize) -> Result<&'m [u8], ClientHelloError> {
        let length = self.take(width)?.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte));
        self.take(length)
    }

    /// Fails if anything is left.
    fn end(&self) -> Result<(), ClientHelloError> {
        if self.0.is_empty() { Ok(()) } else { Err(ClientHelloError::Field) }
    }
}

#[cfg(test)]
mod tests;
