//! The decision engine of all filters: rules of conditions on match fields, by action and enforcement mode.
//!
//! The engine does not know the fields. A filter's configuration brings them as [`field::AnyFieldValues`], so that a
//! filter links the fields that its policies can name and no others.

pub(crate) mod descriptions;
pub(crate) mod field;
pub(crate) mod field_set;
pub(crate) mod identity_remedy;
pub(crate) mod lookups;
pub(crate) mod rule;
pub(crate) mod rule_set;
pub(crate) mod rule_set_builder;
