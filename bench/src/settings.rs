//! How much is measured: all of it, or less for a try, by variables of the environment.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// What one run does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Rounds in which the variants take turns (`BENCH_ROUNDS`).
    pub(crate) rounds: usize,
    /// The CPU time of the server that one turn aims at (`BENCH_TURN_MILLISECONDS`).
    pub(crate) turn: Duration,
    /// After so long no new round begins (`BENCH_MINUTES`).
    pub(crate) longest: Duration,
    /// Requests at a fixed rate for each variant (`BENCH_TIMED`).
    pub(crate) timed: u32,
    /// No variant lists more (`BENCH_LARGEST`).
    pub(crate) largest: usize,
    /// Configuration updates of one VM (`BENCH_UPDATES`).
    pub(crate) updates: u64,
    /// Requests to one VM (`BENCH_REQUESTS`).
    pub(crate) requests: u64,
    /// Where the page and its chart go (`BENCH_FOLDER`).
    pub(crate) folder: PathBuf,
}

impl Settings {
    /// What `variable` says, and the full measure of all that it does not name. The page in `docs/` is only written by a
    /// full run: a smaller one has to say where its page goes.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let mut smaller = Vec::new();
        let mut number = |name: &'static str, full: u32| match variable(name) {
            None => Ok(full),
            Some(text) => {
                smaller.push(name);
                let number = text.parse().ok().filter(|number| *number > 0);
                number.with_context(|| format!("{name} is `{text}`, expected a whole number from 1, as in {full}"))
            }
        };
        let [rounds, turn, minutes, timed] = [
            number("BENCH_ROUNDS", 150)?,
            number("BENCH_TURN_MILLISECONDS", 12)?,
            number("BENCH_MINUTES", 12)?,
            number("BENCH_TIMED", 600)?,
        ];
        let [largest, updates, requests] =
            [number("BENCH_LARGEST", 100_000)?, number("BENCH_UPDATES", 1_000)?, number("BENCH_REQUESTS", 10_000_000)?];
        let folder = match (variable("BENCH_FOLDER"), smaller.as_slice()) {
            (Some(folder), _) => PathBuf::from(folder),
            (None, []) => testbed::root().join("docs"),
            (None, [name, ..]) => {
                bail!("{name} is set, so this is no full run: set BENCH_FOLDER too, a folder for its page")
            }
        };
        Ok(Self {
            rounds: usize::try_from(rounds)?,
            turn: Duration::from_millis(turn.into()),
            longest: Duration::from_secs(u64::from(minutes) * 60),
            timed,
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
    fn a_full_run_writes_the_documentation() -> Result<(), String> {
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
            Err("BENCH_ROUNDS is set, so this is no full run: set BENCH_FOLDER too, a folder for its page".to_owned())
        );
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "0", "-1", "many", "1.5"] {
            assert_eq!(
                read(&[("BENCH_TIMED", text)]),
                Err(format!("BENCH_TIMED is `{text}`, expected a whole number from 1, as in 600"))
            );
        }
    }
}
