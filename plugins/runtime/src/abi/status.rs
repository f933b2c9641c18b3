//! Statuses of host functions.

/// Result of a host function (`proxy_status_t`). Unknown values are kept as they are: hosts send some that no
/// specification lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) u32);

impl Status {
    pub(crate) const OK: Self = Self(0);
    pub(crate) const NOT_FOUND: Self = Self(1);
    pub(crate) const BAD_ARGUMENT: Self = Self(2);
    pub(crate) const PARSE_FAILURE: Self = Self(4);
}
