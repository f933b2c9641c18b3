//! Caches by connection: peers, and what a policy decided for connections with equal lookups.

pub(crate) mod decisions;
pub(crate) mod peers;
pub(crate) mod tag;
pub(crate) mod unique_key;
