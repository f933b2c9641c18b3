//! Readings of a header: each of its lines, and to deny also their join and the elements of lists.

use crate::collections::bytes::memchr2;

/// Trims the whitespace around a header value, which is not part of it (RFC 9110, section 5.5).
pub(crate) fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Reports whether a value has a comma.
pub(crate) fn is_list(value: &[u8]) -> bool {
    memchr2(value, b',', b',').is_some()
}

/// The elements of a value between commas (RFC 9110, section 5.6.1), without the blanks around them, in one text with a
/// comma before and after each.
pub(crate) fn separated(mut value: &[u8]) -> Vec<u8> {
    let mut list = Vec::with_capacity(value.len() + 2);
    list.push(b',');
    while let [first, rest @ ..] = value {
        if *first == b',' {
            value = rest;
            continue;
        }
        let end = value.iter().position(|byte| *byte == b',').unwrap_or(value.len());
        let (element, rest) = value.split_at(end);
        let element = trimmed(element);
        if !element.is_empty() {
            list.extend_from_slice(element);
            list.push(b',');
        }
        value = rest;
    }
    list
}

/// Number of elements of a list that [`separated`] returned.
pub(crate) fn elements(list: &[u8]) -> usize {
    list.iter().filter(|byte| **byte == b',').count().saturating_sub(1)
}

/// Brings a value of a policy into the form that a request's value is compared in. Fails on what no header value is.
pub(crate) fn normalized(text: &str) -> Result<&str, String> {
    let value = text.trim_matches([' ', '\t']);
    if value.is_empty() {
        return Err(
            "blank, and a header value is compared without the blanks around it; write \"*\" for any value".to_owned()
        );
    }
    match value.chars().find(|character| matches!(character, '\0' | '\r' | '\n')) {
        Some(wrong) => Err(format!(
            "bad header value `{}`: no header value contains `{}`",
            value.escape_debug(),
            wrong.escape_default()
        )),
        None => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_around_a_value_are_no_part_of_it() {
        for (value, expected) in
            [(" bad", "bad"), ("bad\t", "bad"), ("\t a b \t", "a b"), (" ", ""), ("", ""), ("\u{a0}x", "\u{a0}x")]
        {
            assert_eq!(trimmed(value.as_bytes()), expected.as_bytes(), "{value:?}");
        }
    }

    #[test]
    fn a_list_has_elements() {
        for (value, expected) in
            [("user, banned", ",user,banned,"), (" a  b ,,\tb \t,", ",a  b,b,"), (" , ", ","), ("", ",")]
        {
            assert_eq!(String::from_utf8_lossy(&separated(value.as_bytes())), expected, "{value}");
        }
        assert_eq!([is_list(b"user"), is_list(b"user,")], [false, true]);
    }

    #[test]
    fn what_no_value_is_says_why() {
        assert_eq!(normalized(" bad\t"), Ok("bad"));
        assert_eq!(normalized("a\u{0}"), Err("bad header value `a\\0`: no header value contains `\\u{0}`".to_owned()));
        assert!(normalized(" ").is_err());
    }
}
