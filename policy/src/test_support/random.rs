//! Random choices from a seeded generator, so that every run sees the same configurations and requests.

use fastrand::Rng;

/// One of `values`, which must not be empty.
pub(crate) fn pick<'a>(rng: &mut Rng, values: &[&'a str]) -> &'a str {
    rng.choice(values).expect("at least one value")
}
