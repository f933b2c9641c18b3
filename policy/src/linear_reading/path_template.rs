//! Path templates, segment by segment.

use crate::linear_reading::matches::Matches;
use crate::matcher::path_template::{PathTemplate, Segment};

impl Matches<[u8]> for PathTemplate {
    fn matches(&self, path: &[u8]) -> bool {
        let Some(mut left) = path.strip_prefix(b"/") else { return false };
        for (position, segment) in self.segments.iter().enumerate() {
            let end = left.iter().position(|byte| *byte == b'/').unwrap_or(left.len());
            let (here, after) = left.split_at(end);
            let fits = match segment {
                Segment::Literal(literal) => here == &**literal,
                Segment::One => !here.is_empty() && here.iter().all(|byte| self.bytes.holds(*byte)),
            };
            if !fits {
                return false;
            }
            let last = position + 1 == self.segments.len() && self.rest.is_none();
            match (last, after.strip_prefix(b"/")) {
                (true, _) => return after.is_empty(),
                (false, Some(next)) => left = next,
                (false, None) => return false,
            }
        }
        match &self.rest {
            None => false,
            Some(tail) => left
                .strip_suffix(&**tail)
                .is_some_and(|middle| middle.iter().all(|byte| *byte == b'/' || self.bytes.holds(*byte))),
        }
    }
}
