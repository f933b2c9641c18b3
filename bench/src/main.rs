//! What each filter adds to a request in a real Envoy, beside what Envoy has itself, and what rules cost to load.
//!
//! `bench` measures for some fifteen minutes and writes `docs/performance.md` with its chart; it fails where a threshold
//! of that page is not met. Variables of the environment make it smaller ([`settings`]): `BENCH_ROUNDS=5
//! BENCH_LARGEST=1000 BENCH_REQUESTS=10000 BENCH_FOLDER=/tmp` is done in a minute or two.

mod chart;
mod document;
mod loading;
mod results;
mod rounds;
mod server;
mod settings;
mod threshold;
mod variant;

use std::env;
use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use time::OffsetDateTime;

use document::Occasion;
use results::Results;
use server::Server;
use settings::Settings;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every threshold that was measured is met.
fn run() -> Result<bool> {
    let settings = Settings::read(|name| env::var(name).ok())?;
    // Before the long time that it takes to have something to write.
    fs::create_dir_all(&settings.folder).with_context(|| format!("making {}", settings.folder.display()))?;
    let variants = variant::all(settings.largest);
    eprintln!("bench: starting one Envoy with {} listeners", variants.len());
    let server = Server::start(&variants)?;
    let envoy = server.version()?;
    let found = rounds::measure(&server, &variants, &settings)?;
    drop(server);
    eprintln!("bench: loading rules");
    let loaded = loading::load(settings.largest)?;
    eprintln!("bench: {} updates and {} requests to one VM", settings.updates, settings.requests);
    let soaked = loading::soak(settings.updates, settings.requests)?;
    let requests = variants.into_iter().zip(found.measured).collect();
    let results = Results { rounds: found.rounds, requests, loaded, soaked };
    let thresholds = threshold::thresholds(&results);

    let occasion = Occasion { date: OffsetDateTime::now_utc().date().to_string(), machine: machine()?, envoy };
    let page = document::page(&results, &thresholds, &occasion, "performance.svg")?;
    fs::write(settings.folder.join("performance.svg"), chart::draw(&results)?)?;
    let path = settings.folder.join("performance.md");
    fs::write(&path, &page).with_context(|| format!("writing {}", path.display()))?;
    println!("{page}");
    for threshold in &thresholds {
        let value = threshold.measured.as_ref().map_or("", |reached| &reached.value);
        println!("{:<12}  {}: {value}, {}", threshold.verdict(), threshold.what, threshold.limit);
    }
    Ok(thresholds.iter().filter_map(|threshold| threshold.measured.as_ref()).all(|reached| reached.met))
}

/// Processors and system, in the words of proc(5).
fn machine() -> Result<String> {
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let names: Vec<_> =
        processors.lines().filter_map(|line| line.strip_prefix("model name")?.split(": ").nth(1)).collect();
    let system = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("{} × {}, Linux {}", names.len(), names.first().unwrap_or(&"an unnamed processor"), system.trim()))
}
