//! Plays the suites in each version of Envoy that `host-tests/envoy-versions.yaml` lists: the essential cases, or all with
//! `ENVOY_VERSIONS=all`.

use std::env;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use host_tests::envoy_version::{EnvoyVersion, EnvoyVersions};
use host_tests::suite::{self, Case, envoy};
use libtest_mimic::{Arguments, Trial};

const FILTERS: [&str; 3] = ["identity-authz", "baseline-deny", "egress-allowlist"];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    match trials(&arguments) {
        Ok(trials) => libtest_mimic::run(&arguments, trials).exit_code(),
        Err(error) => {
            eprintln!("the versions could not be set up: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn trials(arguments: &Arguments) -> Result<Vec<Trial>> {
    if !arguments.list {
        testbed::build_filters()?;
    }
    let table = EnvoyVersions::load()?;
    let all = env::var_os("ENVOY_VERSIONS").is_some_and(|which| which == "all");
    let mut trials = Vec::new();
    for filter in FILTERS {
        let cases = suite::load(&testbed::root().join("host-tests/suites").join(filter))?;
        table.check_names(filter, &cases)?;
        let cases = if all { cases } else { table.essential(filter, &cases)? };
        for version in table.versions.iter().copied() {
            let (played, left_out) = table.adapt(version, filter, &cases);
            trials.push(Trial::test(format!("{filter} in Envoy {version}"), move || {
                play(filter, version, &played, &left_out).map_err(|error| format!("{error:#}").into())
            }));
        }
    }
    Ok(trials)
}

fn play(filter: &str, version: EnvoyVersion, cases: &[Case], left_out: &[String]) -> Result<()> {
    let binary = testbed::envoy_binary_of(&version.to_string())?;
    let found = EnvoyVersion::of(&binary)?;
    if found != version {
        bail!("{} is version {found}", binary.display());
    }
    let failures = envoy::play_all(filter, cases, &binary).context("no case was played")?;
    println!("{filter} in Envoy {version}: {} cases, {} left out", cases.len(), left_out.len());
    if failures.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = failures.iter().map(|(name, failure)| format!("{name}: {failure}")).collect();
    bail!("{} of {} cases fail:\n{}", lines.len(), cases.len(), lines.join("\n"))
}
