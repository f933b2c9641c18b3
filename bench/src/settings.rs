//! Settings of a run: the defaults of a full run, or smaller ones from environment variables.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// The extent of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Number of rounds (`BENCH_ROUNDS`).
    pub(crate) rounds: usize,
    /// Target CPU time of the server per variant and round (`BENCH_ROUND_MILLISECONDS`).
    pub(crate) round_time: Duration,
    /// Time after which no new round starts (`BENCH_MINUTES`).
    pub(crate) time_limit: Duration,
    /// Requests at the fixed rate per variant, for the latency (`BENCH_LATENCY_REQUESTS`).
    pub(crate) latency_requests: u32,
    /// Largest size of a variant (`BENCH_LARGEST`).
    pub(crate) largest: usize,
    /// Configuration updates of one VM (`BENCH_UPDATES`).
    pub(crate) updates: u64,
    /// Requests to one VM (`BENCH_REQUESTS`).
    pub(crate) requests: u64,
    /// Output folder of the page and its chart (`BENCH_FOLDER`).
    pub(crate) folder: PathBuf,
}

impl Settings {
    /// Reads the settings from environment variables; absent ones keep the default of a full run. Only a full run may
    /// write to `docs/`: a smaller one fails unless `BENCH_FOLDER` names its output folder.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let mut overridden = Vec::new();
        let mut number = |name: &'static str, full: u32| match variable(name) {
            None => Ok(full),
            Some(text) => {
                overridden.push(name);
                let number = text.parse().ok().filter(|number| *number > 0);
                number.with_context(|| format!("{name} is `{text}`, expected a positive whole number such as {full}"))
            }
        };
        let [rounds, milliseconds, minutes, latency_requests] = [
            number("BENCH_ROUNDS", 150)?,
            number("BENCH_ROUND_MILLISECONDS", 12)?,
            number("BENCH_MINUTES", 12)?,
            number("BENCH_LATENCY_REQUESTS", 600)?,
        ];
        let [largest, updates, requests] =
            [number("BENCH_LARGEST", 100_000)?, number("BENCH_UPDATES", 1_000)?, number("BENCH_REQUESTS", 10_000_000)?];
        let folder = match (variable("BENCH_FOLDER"), overridden.as_slice()) {
            (Some(folder), _) => PathBuf::from(folder),
            (None, []) => testbed::root().join("docs"),
            (None, [name, ..]) => {
                bail!("{name} is set, so this is not a full run: set BENCH_FOLDER to an output folder")
            }
        };
        Ok(Self {
            rounds: usize::try_from(rounds)?,
            round_time: Duration::from_millis(milliseconds.into()),
            time_limit: Duration::from_secs(u64::from(minutes) * 60),
            latency_requests,
            largest: usize::try_from(largest)?,
            updates: updates.into(),
            requests: requests.into(),
            folder,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> Result<Settings, String> {
        let variable = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Settings::read(variable).map_err(|error| error.to_string())
    }

    #[test]
    fn a_full_run_writes_to_docs() -> Result<(), String> {
        let full = read(&[])?;
        assert_eq!((full.largest, full.updates, full.requests), (100_000, 1_000, 10_000_000));
        assert_eq!(full.folder, testbed::root().join("docs"));
        Ok(())
    }

    #[test]
    fn a_smaller_run_writes_elsewhere() {
        let small = read(&[("BENCH_ROUNDS", "3"), ("BENCH_FOLDER", "/tmp/x")]);
        assert_eq!(small.map(|small| (small.rounds, small.folder)), Ok((3, PathBuf::from("/tmp/x"))));
        assert_eq!(
            read(&[("BENCH_ROUNDS", "3")]),
            Err("BENCH_ROUNDS is set, so this is not a full run: set BENCH_FOLDER to an output folder".to_owned())
        );
    }

    #[test]
    fn an_invalid_number_is_rejected() {
        for text in ["", "0", "-1", "many", "1.5"] {
            assert_eq!(
                read(&[("BENCH_LATENCY_REQUESTS", text)]),
                Err(format!("BENCH_LATENCY_REQUESTS is `{text}`, expected a positive whole number such as 600"))
            );
        }
    }
}
