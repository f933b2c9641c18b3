//! `test`: policy tests, in the form of the suites of this repository.

mod coverage;
mod fields;
mod read;
mod run;

pub use coverage::{Coverage, Rule};
pub use read::{Case, Expectation, Suite, read_suites};
pub use run::{Outcome, SuiteReport, run_suite};
