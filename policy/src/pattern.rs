//! What a policy's strings match: text with stars, and path templates.

mod path_template;
mod text;

pub(crate) use path_template::{PathTemplate, Segment, SegmentBytes};
pub(crate) use text::{Glob, TextPattern};
