//! The steps that the lookups of one request may still take.

use crate::attributes::request::Request;
use crate::matcher::value_ids::STEPS;

/// Returns the steps that are left; all of them where the request keeps no count.
pub(crate) fn steps_left(request: &mut dyn Request) -> usize {
    request.memo().map_or(STEPS, |memo| memo.steps)
}

/// Keeps what is left with the request.
pub(crate) fn keep_steps(request: &mut dyn Request, left: usize) {
    if let Some(memo) = request.memo() {
        memo.steps = left;
    }
}
