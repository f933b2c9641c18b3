//! `identity-authz` against Envoy's own RBAC filter: random policies and requests, and the differences that are meant.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use fastrand::Rng;
use host_tests::filter;
use host_tests::host::{Module, Vm};
use host_tests::oracle::{
    Caller, Coverage, Difference, Disagreement, Istio, PolicySet, Protocol, Question, Sallyport, Stage, differences,
    shrink,
};

/// Sets of policies in one Envoy.
const SETS: usize = 200;
/// Connections to each.
const CALLERS: usize = 5;
/// Requests on each connection.
const QUESTIONS: usize = 6;

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

/// `ORACLE_PAIRS` and `ORACLE_SEED` set how many and which; `make oracle` asks for 20,000.
#[test]
fn random_policies_mean_what_istios_translation_of_them_means() -> Result<()> {
    let wanted = usize::try_from(setting("ORACLE_PAIRS", 2_000)?)?;
    let coverage = play(Protocol::Http, wanted)?;
    // A short run need not meet everything.
    if wanted >= 20_000 {
        ensure!(coverage.missing().is_empty(), "never met: {:?}", coverage.missing());
        for answer in ["allowed", "denied by a DENY", "denied, no ALLOW matches", "audited"] {
            ensure!(coverage.answered(answer) * 20 >= wanted, "of {wanted} answers few are: {answer}");
        }
    }
    Ok(())
}

/// The same for connections, a tenth as many.
#[test]
fn random_policies_mean_the_same_for_connections() -> Result<()> {
    let wanted = usize::try_from(setting("ORACLE_PAIRS", 2_000)?)? / 10;
    let coverage = play(Protocol::Tcp, wanted)?;
    if wanted >= 2_000 {
        for answer in ["allowed", "closed"] {
            ensure!(coverage.answered(answer) * 20 >= wanted, "of {wanted} answers few are: {answer}");
        }
    }
    Ok(())
}

/// Makes and asks `wanted` pairs. Fails with the smallest disagreement that the first one leads to.
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
        let count = (wanted - coverage.pairs()).div_ceil(CALLERS * QUESTIONS).min(SETS);
        let sets: Vec<_> =
            (number..number + count).map(|number| PolicySet::random(number, protocol, &mut random)).collect();
        number += count;
        let mut stage = Stage::start(protocol, &sets, binary.clone(), next_folder()?)?;
        if let Some(found) = ask(protocol, &mut stage, &sets, &mut random, &mut coverage)? {
            let smallest = shrink(found, &binary, &next_folder)?;
            bail!("the answers differ (ORACLE_SEED={seed}, ORACLE_PAIRS as before)\n{smallest}");
        }
    }
    println!("{protocol:?}: {coverage}");
    Ok(coverage)
}

/// Asks about each of the sets that `stage` has, up to the first disagreement.
fn ask(
    protocol: Protocol,
    stage: &mut Stage,
    sets: &[PolicySet],
    random: &mut Rng,
    coverage: &mut Coverage,
) -> Result<Option<Disagreement>> {
    for (number, set) in sets.iter().enumerate() {
        for _ in 0..CALLERS {
            let mut caller = Caller::random(set, random);
            let mut connection = match protocol {
                Protocol::Http => Some(stage.connect(number, &caller)?),
                Protocol::Tcp => None,
            };
            for _ in 0..QUESTIONS {
                let question = Question::random(&caller, set, random);
                let answers = match &mut connection {
                    Some(connection) => stage.compare(&mut **connection, &question),
                    None => stage.compare_alone(number, &question),
                };
                let answers = answers.with_context(|| format!("{}", serde_json::json!([&set.policies, &question])))?;
                if !answers.agree_on(&question) {
                    return Ok(Some(Disagreement { protocol, set: set.clone(), question, answers }));
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

/// Every row of `host-tests/oracle/differences.yaml`.
#[test]
fn the_differences_that_are_meant_are_as_written() -> Result<()> {
    let module = filter::load("identity-authz")?;
    let binary = testbed::envoy_binary()?;
    let (_folder, next_folder) = folders()?;
    let mut failures = Vec::new();
    let (mut of_both, mut of_istio) = (Vec::new(), Vec::new());
    for row in differences()? {
        match &row.sallyport {
            Sallyport::Refused(fault) => {
                let found = refusal(&module, &row)?;
                if found != [fault.as_str()] {
                    failures.push(format!("{}: Sallyport says {found:#?}", row.name));
                }
                match row.istio {
                    Istio::Terminates => ensure_envoy_terminates(&row, &binary, next_folder()?)?,
                    Istio::Webhook => {}
                    Istio::Allowed | Istio::Denied => of_istio.push(row),
                }
            }
            Sallyport::Allowed | Sallyport::Denied => of_both.push(row),
        }
    }
    ensure!(of_both.len() > 10 && of_istio.len() > 3, "{} and {} rows only", of_both.len(), of_istio.len());
    let sets = |rows: &[Difference]| rows.iter().map(Difference::set).collect::<Vec<_>>();
    let mut both = Stage::start(Protocol::Http, &sets(&of_both), binary.clone(), next_folder()?)?;
    for (number, row) in of_both.iter().enumerate() {
        let answers = both.ask_alone(number, &row.question()?)?;
        let expected = (row.istio == Istio::Allowed, row.sallyport == Sallyport::Allowed);
        if (answers.istio.allowed, answers.sallyport.allowed) != expected {
            failures.push(format!("{}: Istio {}, Sallyport {}", row.name, answers.istio, answers.sallyport));
        }
    }
    let mut alone = Stage::start_istio_alone(&sets(&of_istio), binary, next_folder()?)?;
    for (number, row) in of_istio.iter().enumerate() {
        let answers = alone.ask_alone(number, &row.question()?)?;
        if answers.istio.allowed != (row.istio == Istio::Allowed) {
            failures.push(format!("{}: Istio {}", row.name, answers.istio));
        }
    }
    ensure!(failures.is_empty(), "{failures:#?}");
    Ok(())
}

fn refusal(module: &Module, row: &Difference) -> Result<Vec<String>> {
    let configured = Vm::start(module)?.configure(&serde_json::to_vec(&row.set().configuration())?)?;
    let Err(refused) = configured else { bail!("{}: Sallyport takes it", row.name) };
    Ok(refused.log.into_iter().skip(1).map(|line| line.message).collect())
}

fn ensure_envoy_terminates(row: &Difference, binary: &Path, folder: PathBuf) -> Result<()> {
    match Stage::start_istio_alone(&[row.set()], binary.to_owned(), folder) {
        Ok(_) => bail!("{}: Envoy starts", row.name),
        Err(error) => {
            ensure!(format!("{error:#}").starts_with("Envoy ended with signal"), "{}: {error:#}", row.name);
            Ok(())
        }
    }
}
