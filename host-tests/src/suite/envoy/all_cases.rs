//! All cases of a filter, in as few Envoys as can be.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use super::{EnvoyFixture, refusals};
use crate::suite::case::Case;
use crate::suite::refusal::is_expected;

/// The names under which [`play_all`] reports on all cases together: their counters, and what has reached the upstreams.
pub const TOGETHER: [&str; 2] = [COUNTERS, UPSTREAM];

const COUNTERS: &str = "the counters of all cases together";
const UPSTREAM: &str = "the connections to the upstream of all cases together";

/// The most refused configurations that one Envoy is given: each has a VM of its own, whose module Envoy compiles for
/// about a second before it is ready.
const REFUSALS_OF_ONE_ENVOY: usize = 24;

/// Plays cases of `filter` in the Envoy `binary`. Returns the failures by the name of the case.
pub fn play_all(filter: &str, cases: &[Case], binary: &Path) -> Result<BTreeMap<String, String>> {
    let (played, refused): (Vec<_>, Vec<_>) = cases.iter().cloned().partition(|case| case.expect.refused.is_none());
    let mut failures = BTreeMap::new();

    let folder = tempfile::tempdir()?;
    let fixture = EnvoyFixture::start(filter, &played, binary.to_owned(), folder.path().to_owned())?;
    for case in &played {
        if let Err(error) = fixture.play(case) {
            failures.insert(case.name.clone(), format!("{error:#}"));
        }
    }
    if let Err(error) = fixture.check_counters(&played) {
        failures.insert(COUNTERS.to_owned(), format!("{error:#}"));
    }
    if let Err(error) = fixture.check_upstream(&played) {
        failures.insert(UPSTREAM.to_owned(), format!("{error:#}"));
    }
    drop(fixture);

    let mut found = BTreeMap::new();
    for cases in refused.chunks(REFUSALS_OF_ONE_ENVOY) {
        let folder = tempfile::tempdir()?;
        found.extend(refusals(filter, cases, binary.to_owned(), folder.path().to_owned())?);
    }
    for case in &refused {
        let lines = found.remove(&case.name).unwrap_or_default();
        if !is_expected(case, &lines) {
            failures.insert(case.name.clone(), format!("refused with {lines:#?}, expected {:#?}", case.expect.refused));
        }
    }
    Ok(failures)
}
