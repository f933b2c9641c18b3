//! Matching: patterns, indexes that look a request's value up in them, and clauses of conditions. No list is searched
//! one by one, whatever a policy lists.

pub(crate) mod automaton;
pub(crate) mod bare_index;
pub(crate) mod clause;
pub(crate) mod element_index;
pub(crate) mod field_match;
pub(crate) mod leaf;
pub(crate) mod path_template;
pub(crate) mod path_template_index;
pub(crate) mod prefix_index;
pub(crate) mod readings_index;
pub(crate) mod regular_expression;
pub(crate) mod rule_tree;
pub(crate) mod sequence;
pub(crate) mod sequence_index;
pub(crate) mod sequence_scan;
pub(crate) mod sequence_tree;
pub(crate) mod string_index;
pub(crate) mod string_pattern;
pub(crate) mod value_ids;
pub(crate) mod value_set;
pub(crate) mod wild_pattern;
