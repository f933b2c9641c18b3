//! Answers of host functions, and those that the callbacks themselves need.

use std::fmt::{self, Display};
use std::ptr;

use crate::imports;

/// The value of an out parameter that the host has not written.
const UNWRITTEN: u32 = 0xfeed_0000;

pub(crate) fn set_tick_period(milliseconds: u32) -> u32 {
    // SAFETY: no memory is passed.
    unsafe { imports::proxy_set_tick_period_milliseconds(milliseconds) }
}

/// Returns the path of the request.
pub(crate) fn request_path() -> Vec<u8> {
    let key = ":path";
    let path = Returned::of(|data, length| {
        // SAFETY: the host reads the key and writes both locals during the call only.
        unsafe { imports::proxy_get_header_map_value(0, key.as_ptr(), key.len(), data, length) }
    });
    path.bytes.unwrap_or_default()
}

/// Answers a request.
pub(crate) fn send_response(body: &[u8]) -> u32 {
    // SAFETY: the host reads the body during the call only; the other pointers are to no bytes.
    unsafe { imports::proxy_send_local_response(200, ptr::null(), 0, body.as_ptr(), body.len(), ptr::null(), 0, -1) }
}

/// The encoding of a header map.
pub(crate) fn pairs(pairs: &[(&str, &str)]) -> Vec<u8> {
    let size = |length: usize| u32::try_from(length).unwrap_or_default().to_le_bytes();
    let mut bytes = size(pairs.len()).to_vec();
    for (key, value) in pairs {
        bytes.extend([size(key.len()), size(value.len())].concat());
    }
    for (key, value) in pairs {
        bytes.extend([key.as_bytes(), &[0], value.as_bytes(), &[0]].concat());
    }
    bytes
}

/// A status with the bytes that the host has returned, `None` if it has written no pointer and no length.
pub(crate) struct Returned {
    pub(crate) status: u32,
    pub(crate) bytes: Option<Vec<u8>>,
}

impl Returned {
    pub(crate) fn of(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Self {
        let unwritten = usize::try_from(UNWRITTEN).unwrap_or_default();
        let (mut data, mut length) = (ptr::null_mut(), unwritten);
        let status = call(&raw mut data, &raw mut length);
        let bytes = (length != unwritten).then(|| match length {
            0 => Vec::new(),
            // SAFETY: the host has allocated so many bytes by `proxy_on_memory_allocate`, and has written them.
            length => unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(data, length)) }.into_vec(),
        });
        Self { status, bytes }
    }
}

impl Display for Returned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.bytes {
            None => write!(f, "{}", self.status),
            Some(bytes) => write!(f, "{} \"{}\"", self.status, bytes.escape_ascii()),
        }
    }
}

/// A status with the number that the host has written.
pub(crate) struct Written(u32, u32);

impl Written {
    pub(crate) fn of(call: impl FnOnce(*mut u32) -> u32) -> Self {
        let mut number = UNWRITTEN;
        let status = call(&raw mut number);
        Self(status, number)
    }

    /// Returns the number, as it is where nothing was written.
    pub(crate) fn number(&self) -> u32 {
        self.1
    }

    /// Returns the answer without a number that is another in each run.
    pub(crate) fn status(&self) -> u32 {
        self.0
    }
}

impl Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self(status, UNWRITTEN) => write!(f, "{status}"),
            Self(status, number) => write!(f, "{status} {number}"),
        }
    }
}
