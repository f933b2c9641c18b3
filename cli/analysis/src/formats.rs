//! Findings as texts for other programs.

pub mod github;
pub mod json;
pub mod sarif;
