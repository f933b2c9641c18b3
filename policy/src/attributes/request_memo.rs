//! Facts about a request that are found once, for all of its policies and for the reason of its denial.

use std::any::Any;
use std::fmt;
use std::rc::Rc;

use crate::attributes::claims::Claims;
use crate::identity::error::EvalError;
use crate::matcher::value_ids::STEPS;

/// Facts that the policies of one configuration have found about one request. A [`Request`](crate::Request) that keeps one
/// from the decision to the reason saves looking again; it is of no use for another request or another configuration.
#[derive(Clone)]
pub struct RequestMemo {
    /// The claims of the token, or why they cannot be read.
    pub(crate) claims: Option<Result<Rc<Claims>, EvalError>>,
    /// The lookups of the decision, and the address of the rules that they are of.
    pub(crate) lookups: Option<(usize, Rc<dyn Any>)>,
    /// The steps that are left for lookups.
    pub(crate) steps: usize,
}

impl Default for RequestMemo {
    fn default() -> Self {
        Self { claims: None, lookups: None, steps: STEPS }
    }
}

impl fmt::Debug for RequestMemo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestMemo").field("claims", &self.claims.is_some()).finish_non_exhaustive()
    }
}
