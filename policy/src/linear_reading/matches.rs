//! A pattern against a value.

/// A pattern by itself, compared with one value.
pub(crate) trait Matches<Value: ?Sized> {
    /// Compares the pattern with a value.
    fn matches(&self, value: &Value) -> bool;
}
