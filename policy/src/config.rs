//! Configuration: JSON or protobuf in, values with paths and errors out. Nothing here knows a policy.

pub(crate) mod deny_response;
pub(crate) mod diagnostics;
pub(crate) mod document;
pub(crate) mod enforcement_mode;
pub(crate) mod error_code;
pub(crate) mod load_report;
pub(crate) mod passed_over;
pub(crate) mod printable;
pub(crate) mod reader;
pub(crate) mod string_list;
pub(crate) mod value;
