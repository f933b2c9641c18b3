//! Plays every case of `host-tests/suites` against the built modules: in wasmtime, and in a real Envoy.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, LazyLock, OnceLock};

use anyhow::Result;
use host_tests::filter;
use host_tests::suite::{self, Case, envoy, native};
use libtest_mimic::{Arguments, Trial};

const FILTERS: [&str; 4] = ["identity-authz", "baseline-deny", "egress-allowlist", "auth-by-header"];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    match trials(&arguments) {
        Ok(trials) => libtest_mimic::run(&arguments, trials).exit_code(),
        Err(error) => {
            eprintln!("the suites could not be set up: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn trials(arguments: &Arguments) -> Result<Vec<Trial>> {
    let mut trials = Vec::new();
    // Listing the trials needs no modules.
    if !arguments.list {
        testbed::build_filters()?;
        testbed::build_guests()?;
    }
    for filter in FILTERS {
        let cases = suite::load(&testbed::root().join("host-tests/suites").join(filter))?;
        trials.extend(in_wasmtime(filter, &cases));
        trials.extend(in_envoy(filter, cases));
    }
    Ok(trials)
}

fn in_wasmtime(filter: &'static str, cases: &[Case]) -> Vec<Trial> {
    let module = Arc::new(LazyLock::new(move || filter::load(filter).map_err(|error| format!("{error:#}"))));
    let trial = |case: &Case| {
        let (module, case) = (Arc::clone(&module), case.clone());
        Trial::test(format!("wasmtime {filter} {}", case.name), move || {
            let module = module.as_ref().as_ref()?;
            native::play(module, &filter.replace('-', "_"), &case).map_err(|error| format!("{error:#}").into())
        })
    };
    // A request that Envoy itself rejects reaches no filter.
    cases.iter().filter(|case| case.expect.envoy.is_none()).map(trial).collect()
}

/// Returns the trials of a filter's cases in Envoy. The cases share one Envoy and its counters, so the first trial
/// plays them all, and each reports on its own case.
fn in_envoy(filter: &'static str, cases: Vec<Case>) -> Vec<Trial> {
    let names: Vec<_> = cases.iter().map(|case| case.name.clone()).chain(envoy::TOGETHER.map(str::to_owned)).collect();
    let played = Arc::new(OnceLock::new());
    let cases = Arc::new(cases);
    let trial = |name: String| {
        let (played, cases) = (Arc::clone(&played), Arc::clone(&cases));
        Trial::test(format!("envoy {filter} {name}"), move || {
            let results = played.get_or_init(|| play(filter, &cases).map_err(|error| format!("{error:#}")));
            match results.as_ref().map(|failures| failures.get(&name)) {
                Ok(None) => Ok(()),
                Ok(Some(failure)) => Err(failure.into()),
                Err(error) => Err(error.into()),
            }
        })
    };
    names.into_iter().map(trial).collect()
}

fn play(filter: &str, cases: &[Case]) -> Result<BTreeMap<String, String>> {
    envoy::play_all(filter, cases, &testbed::envoy_binary()?)
}
