//! A writer of ClientHello messages, whole and broken.

/// Writes bytes after their length in `width` bytes.
pub(crate) fn prefixed(width: usize, bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len().to_be_bytes();
    [&length[length.len() - width..], bytes].concat()
}

/// Writes an extension.
pub(crate) fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &prefixed(2, data)].concat()
}

/// Writes the extension `server_name` with these names.
pub(crate) fn server_names(names: &[&str]) -> Vec<u8> {
    let entries: Vec<u8> = names.iter().flat_map(|name| [vec![0], prefixed(2, name.as_bytes())].concat()).collect();
    extension(0, &prefixed(2, &entries))
}

/// Writes a handshake message.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [vec![kind], prefixed(3, body)].concat()
}

/// Writes what precedes the extensions of a ClientHello.
pub(crate) fn fields_before_extensions() -> Vec<u8> {
    [&[3, 3][..], &[7; 32], &prefixed(1, &[9; 32]), &prefixed(2, &[0x13, 1]), &prefixed(1, &[0])].concat()
}

/// Writes a ClientHello with these extensions.
pub(crate) fn client_hello(extensions: &[Vec<u8>]) -> Vec<u8> {
    message(1, &[fields_before_extensions(), prefixed(2, &extensions.concat())].concat())
}

/// Writes a ClientHello for a server in one record, with an extension before its name and one after.
pub(crate) fn hello_for(server_name: &str) -> Vec<u8> {
    let extensions = [extension(10, &[0, 2, 0, 29]), server_names(&[server_name]), extension(43, &[2, 3, 4])];
    records(&client_hello(&extensions), usize::MAX)
}

/// Writes handshake records of at most `size` bytes each.
pub(crate) fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|fragment| record(22, fragment)).collect()
}

/// Writes a record.
pub(crate) fn record(content_type: u8, fragment: &[u8]) -> Vec<u8> {
    [vec![content_type, 3, 1], prefixed(2, fragment)].concat()
}
