//! `identity-authz` against Envoy's own RBAC filter: random policies and requests, and the intended differences.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use fastrand::Rng;
use host_tests::filter;
use host_tests::rbac_oracle::{
    Caller, Coverage, Difference, Disagreement, EnvoyPair, Istio, PolicySet, Probe, Protocol, Sallyport, differences,
    shrink,
};
use host_tests::wasm_host::{Module, Vm};

/// The number of policy sets in one Envoy.
const SETS: usize = 200;
/// The number of connections to each set.
const CALLERS: usize = 5;
/// The number of requests on each connection.
const PROBES: usize = 6;

fn setting(name: &str, default: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text}")),
        Err(_) => Ok(default),
    }
}

fn folders() -> Result<(tempfile::TempDir, impl Fn() -> Result<PathBuf>)> {
    let folder = tempfile::tempdir()?;
    let within = folder.path().to_owned();
    Ok((folder, move || Ok(tempfile::tempdir_in(&within)?.keep())))
}

/// The environment variables `ORACLE_PAIRS` and `ORACLE_SEED` set the number of pairs and the seed. `make oracle` plays
/// 20,000 pairs.
#[test]
fn random_policies_mean_what_istios_translation_of_them_means() -> Result<()> {
    let wanted = usize::try_from(setting("ORACLE_PAIRS", 2_000)?)?;
    let coverage = play(Protocol::Http, wanted)?;
    // A short run does not cover everything.
    if wanted >= 20_000 {
        ensure!(coverage.missing().is_empty(), "never exercised: {:?}", coverage.missing());
        for answer in ["allowed", "denied by a DENY", "denied, no ALLOW matched", "audited"] {
            ensure!(
                coverage.answered(answer) * 20 >= wanted,
                "less than a twentieth of {wanted} answers are: {answer}"
            );
        }
    }
    Ok(())
}

/// Plays a tenth of the pairs as TCP connections.
#[test]
fn random_policies_mean_the_same_for_connections() -> Result<()> {
    let wanted = usize::try_from(setting("ORACLE_PAIRS", 2_000)?)? / 10;
    let coverage = play(Protocol::Tcp, wanted)?;
    if wanted >= 2_000 {
        for answer in ["allowed", "closed"] {
            ensure!(
                coverage.answered(answer) * 20 >= wanted,
                "less than a twentieth of {wanted} answers are: {answer}"
            );
        }
    }
    Ok(())
}

/// Plays `wanted` random pairs. Fails at the first disagreement, which it shrinks.
fn play(protocol: Protocol, wanted: usize) -> Result<Coverage> {
    testbed::build_filters()?;
    let seed = setting("ORACLE_SEED", fastrand::u64(..))?;
    println!("ORACLE_SEED={seed} for {protocol:?}");
    let binary = testbed::envoy_binary()?;
    let (_folder, next_folder) = folders()?;
    let mut random = Rng::with_seed(seed);
    let mut coverage = Coverage::default();
    let mut number = 0;
    while coverage.pairs() < wanted {
        let count = (wanted - coverage.pairs()).div_ceil(CALLERS * PROBES).min(SETS);
        let sets: Vec<_> =
            (number..number + count).map(|number| PolicySet::random(number, protocol, &mut random)).collect();
        number += count;
        let mut pair = EnvoyPair::start(protocol, &sets, binary.clone(), next_folder()?)?;
        if let Some(found) = play_sets(protocol, &mut pair, &sets, &mut random, &mut coverage)? {
            let smallest = shrink(found, &binary, &next_folder)?;
            bail!("the answers differ (ORACLE_SEED={seed}, ORACLE_PAIRS unchanged)\n{smallest}");
        }
    }
    println!("{protocol:?}: {coverage}");
    Ok(coverage)
}

/// Plays random requests against each set of `pair`, up to the first disagreement.
fn play_sets(
    protocol: Protocol,
    pair: &mut EnvoyPair,
    sets: &[PolicySet],
    random: &mut Rng,
    coverage: &mut Coverage,
) -> Result<Option<Disagreement>> {
    for (number, set) in sets.iter().enumerate() {
        for _ in 0..CALLERS {
            let mut caller = Caller::random(set, random);
            let mut connection = match protocol {
                Protocol::Http => Some(pair.connect(number, &caller)?),
                Protocol::Tcp => None,
            };
            for _ in 0..PROBES {
                let probe = Probe::random(&caller, set, random);
                let answers = match &mut connection {
                    Some(connection) => pair.compare(&mut **connection, &probe),
                    None => pair.compare_alone(number, &probe),
                };
                let answers = answers.with_context(|| format!("{}", serde_json::json!([&set.policies, &probe])))?;
                if !answers.agree_on(&probe) {
                    return Ok(Some(Disagreement { protocol, set: set.clone(), probe, answers }));
                }
                coverage.count(set, &answers);
                if protocol == Protocol::Tcp {
                    caller = Caller::random(set, random);
                }
            }
        }
    }
    Ok(None)
}

/// The rows of `host-tests/oracle/differences.yaml` that one Envoy can play together.
struct Rows {
    /// Rows that both filters accept.
    both: Vec<Difference>,
    /// Rows that `identity-authz` refuses.
    rbac_alone: Vec<Difference>,
}

/// Checks the rows that `identity-authz` refuses or that Envoy terminates on. Returns the others.
fn check_refusals(binary: &Path, folder: &impl Fn() -> Result<PathBuf>, failures: &mut Vec<String>) -> Result<Rows> {
    let module = filter::load("identity-authz")?;
    let mut rows = Rows { both: Vec::new(), rbac_alone: Vec::new() };
    for row in differences()? {
        let Sallyport::Refused(expected) = &row.sallyport else {
            rows.both.push(row);
            continue;
        };
        let found = refusal(&module, &row)?;
        // The line names the resource, which a row leaves out.
        if found != [format!("shop/difference: {expected}")] {
            failures.push(format!("{}: Sallyport refuses with {found:#?}", row.name));
        }
        match row.istio {
            Istio::Terminates => ensure_envoy_terminates(&row, binary, folder()?)?,
            Istio::Webhook => {}
            Istio::Allowed | Istio::Denied => rows.rbac_alone.push(row),
        }
    }
    Ok(rows)
}

#[test]
fn intended_differences_are_as_documented() -> Result<()> {
    let binary = testbed::envoy_binary()?;
    let (_folder, next_folder) = folders()?;
    let mut failures = Vec::new();
    let Rows { both, rbac_alone } = check_refusals(&binary, &next_folder, &mut failures)?;
    ensure!(both.len() > 10 && rbac_alone.len() > 3, "only {} and {} rows", both.len(), rbac_alone.len());
    let sets = |rows: &[Difference]| rows.iter().map(Difference::set).collect::<Vec<_>>();
    let mut pair = EnvoyPair::start(Protocol::Http, &sets(&both), binary.clone(), next_folder()?)?;
    for (index, row) in both.iter().enumerate() {
        let answers = pair.ask_alone(index, &row.probe()?)?;
        let expected = (row.istio == Istio::Allowed, row.sallyport == Sallyport::Allowed);
        if (answers.istio.allowed, answers.sallyport.allowed) != expected {
            failures.push(format!("{}: Istio {}, Sallyport {}", row.name, answers.istio, answers.sallyport));
        }
    }
    let mut rbac = EnvoyPair::start_rbac_alone(&sets(&rbac_alone), binary, next_folder()?)?;
    for (index, row) in rbac_alone.iter().enumerate() {
        let answers = rbac.ask_alone(index, &row.probe()?)?;
        if answers.istio.allowed != (row.istio == Istio::Allowed) {
            failures.push(format!("{}: Istio {}", row.name, answers.istio));
        }
    }
    ensure!(failures.is_empty(), "{failures:#?}");
    Ok(())
}

/// Returns the errors with which `identity-authz` refuses a row's policy.
fn refusal(module: &Module, row: &Difference) -> Result<Vec<String>> {
    let configured = Vm::start(module)?.configure(&serde_json::to_vec(&row.set().configuration())?)?;
    let Err(refused) = configured else { bail!("{}: Sallyport accepts it", row.name) };
    Ok(refused.log.into_iter().skip(1).map(|line| line.message).collect())
}

fn ensure_envoy_terminates(row: &Difference, binary: &Path, folder: PathBuf) -> Result<()> {
    match EnvoyPair::start_rbac_alone(&[row.set()], binary.to_owned(), folder) {
        Ok(_) => bail!("{}: Envoy starts", row.name),
        Err(error) => {
            ensure!(format!("{error:#}").starts_with("Envoy exited with signal"), "{}: {error:#}", row.name);
            Ok(())
        }
    }
}
