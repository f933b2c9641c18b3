//! Attributes of a request, and how a policy names them.

pub(crate) mod claims;
pub(crate) mod dynamic_metadata;
pub(crate) mod jwt_claims;
pub(crate) mod names;
pub(crate) mod readings;
pub(crate) mod request;
pub(crate) mod request_memo;
pub(crate) mod steps;
pub(crate) mod wording;
