//! Kinds of values, of which each has marks of regular expressions that an ordinary value may have.

/// Kind of a value: what an ordinary one holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// Path of a request.
    Path,
    /// Names with dots in them, as hosts and trust domains have.
    Dotted,
    /// Words without a dot at their end: claims, headers, namespaces.
    Word,
    /// Value of the header `user-agent`.
    UserAgent,
    /// Method of a request.
    Method,
}
