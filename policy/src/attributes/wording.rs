//! Descriptions of requests and of policy values, for denial reasons.

use crate::attributes::request::{Request, without_query};
use crate::config::printable::{printable, printable_text};
use crate::identity::error::AttributeError;

/// Maximum number of values of a list that a description shows.
pub(crate) const MAX_VALUES_SHOWN: usize = 3;

/// Maximum number of ALLOW rules searched for the closest one, which bounds the cost of a denial.
pub(crate) const MAX_RULES_EXPLAINED: usize = 64;

/// A list's first values, given with how many it has.
pub(crate) fn join_values((count, shown): (usize, Vec<String>)) -> Box<str> {
    let hidden = count - shown.len();
    let shown: Vec<_> = shown.iter().map(|value| printable_text(value)).collect();
    match (hidden, shown.split_last()) {
        (0, Some((last, []))) => last.as_str().into(),
        (0, Some((last, rest))) => format!("{} or {last}", rest.join(", ")).into(),
        _ => format!("{} or one of {hidden} more", shown.join(", ")).into(),
    }
}

/// Describes a condition by the name of its field and its values.
pub(crate) fn requirement(subject: &str, negated: bool, values: &str) -> String {
    let subject = printable_text(subject);
    match negated {
        false => format!("{subject} {values}"),
        true => format!("{subject} other than {values}"),
    }
}

/// Describes method and path, or the port of a connection, as far as the proxy supplies them.
pub(crate) fn describe_operation(request: &mut dyn Request) -> String {
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

/// Describes the request and its peer. Attributes that the proxy does not supply are left out.
pub(crate) fn describe_request(request: &mut dyn Request) -> String {
    let (operation, peer) = (describe_operation(request), describe_peer(request));
    match operation.is_empty() {
        true => peer,
        false => format!("{operation} {peer}"),
    }
}

/// The peer in words.
pub(crate) fn describe_peer(request: &mut dyn Request) -> String {
    match request.peer() {
        Ok(peer) => format!("by {}", printable(peer.to_string().as_bytes())),
        Err(failure) => format!("by someone ({failure})"),
    }
}

/// The note that a value took all steps that its comparison may take.
pub(crate) const TOO_MANY_STEPS: &str = "a value takes too many steps to compare with all patterns: it counts as matched to deny, and as not matched to allow";

/// The reading of a value that decides, with the remedy in a policy or a configuration.
pub(crate) fn describe_reading(subject: &str, reading: &[u8], remedy: &str) -> String {
    format!("the {subject} can also be read as {}{remedy}", printable(reading))
}
