//! Wording of reasons: what a request asked for, and values from the network made printable.

use crate::attributes::request::{Request, without_query};
use crate::identity::error::AttributeError;

/// How many values of a list are kept in words.
pub(crate) const MAX_VALUES_SHOWN: usize = 3;

/// How many ALLOW rules are looked at for the one that came closest: a denial's cost has a bound, too.
pub(crate) const MAX_RULES_EXPLAINED: usize = 64;

/// How many bytes of a request's value are printed.
const PRINTED: usize = 120;

/// A list's first values, given with how many it has.
pub(crate) fn join_values((count, shown): (usize, Vec<String>)) -> Box<str> {
    let hidden = count - shown.len();
    match (hidden, shown.split_last()) {
        (0, Some((last, []))) => last.as_str().into(),
        (0, Some((last, rest))) => format!("{} or {last}", rest.join(", ")).into(),
        _ => format!("{} or one of {hidden} more", shown.join(", ")).into(),
    }
}

/// What a condition asks for, from the name of its field and its values in words.
pub(crate) fn wanted(subject: &str, negated: bool, values: &str) -> String {
    match negated {
        false => format!("{subject} {values}"),
        true => format!("{subject} other than {values}"),
    }
}

/// Method and path, or the port of a connection, as far as the proxy tells them.
pub(crate) fn describe_operation<R: Request + ?Sized>(request: &mut R) -> String {
    if request.is_connection() {
        return match request.destination_port() {
            Ok(Some(port)) => format!("a connection to port {port}"),
            _ => "a connection".to_owned(),
        };
    }
    let text = |value: Result<Option<&[u8]>, AttributeError>| value.ok().flatten().map(printable);
    let method = text(request.method());
    let path = text(request.path().map(|path| path.map(without_query)));
    [method, path].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// What a value can be read as, where that decides; `remedy` says what a policy or a configuration can do about it.
pub(crate) fn describe_reading(subject: &str, reading: &[u8], remedy: &str) -> String {
    format!("the {subject} can also be read as {}{remedy}", printable(reading))
}

/// A value from the network as one short line: no control characters, no terminal codes.
pub(crate) fn printable(value: &[u8]) -> String {
    let shown = value.get(..PRINTED).unwrap_or(value);
    let cut = if shown.len() < value.len() { "..." } else { "" };
    format!("{}{cut}", shown.escape_ascii())
}
