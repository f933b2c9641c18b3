//! What a policy's strings match: text with stars, path templates, and hosts by their labels.

mod destination;
mod path_template;
mod text;

pub(crate) use destination::{DestinationPattern, Stars};
pub(crate) use path_template::{PathTemplate, Segment, SegmentBytes};
pub(crate) use text::{Glob, TextPattern};
