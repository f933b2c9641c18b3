//! The one spelling of a path (RFC 3986, section 6.2.2): hex digits are upper case, unreserved characters are decoded, and
//! characters that a path cannot contain are encoded.

use std::borrow::Cow;

/// Reports whether a path cannot hold a byte unencoded (RFC 3986, section 3.3).
pub(crate) fn must_be_encoded(byte: u8) -> bool {
    !matches!(byte, b'!' | b'#'..=b';' | b'=' | b'?'..=b'Z' | b'_' | b'a'..=b'z' | b'~')
}

/// A path in its one spelling, and whether a byte of it had to be encoded.
pub(crate) fn one_spelling(path: &[u8]) -> (Cow<'_, [u8]>, bool) {
    if path.iter().all(|byte| *byte != b'%' && !must_be_encoded(*byte)) {
        return (Cow::Borrowed(path), false);
    }
    let mut spelled = Vec::with_capacity(path.len() + 16);
    let mut encoded = false;
    let mut rest = path;
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte == b'%'
            && let [high, low, after @ ..] = rest
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            rest = after;
            match high << 4 | low {
                decoded if is_unreserved(decoded) => spelled.push(decoded),
                decoded => push_encoded(decoded, &mut spelled),
            }
        } else if must_be_encoded(*byte) {
            encoded = true;
            push_encoded(*byte, &mut spelled);
        } else {
            spelled.push(*byte);
        }
    }
    (Cow::Owned(spelled), encoded)
}

/// RFC 3986, section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn push_encoded(byte: u8, spelled: &mut Vec<u8>) {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'A' + value - 10 };
    spelled.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
}
