//! Rendering on each change of the files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use notify::{RecursiveMode, Watcher};

use super::{Outcome, metrics::Metrics, once, output::Printed};
use crate::WRONG_USE;
use crate::arguments::RenderArguments;

/// Time without a change after which files are read: editors and Git write several in a row.
const QUIET: Duration = Duration::from_millis(100);

/// The longest time for which changes in a row put reading off.
const MAX_DELAY: Duration = Duration::from_millis(700);

/// Time after which the file of `--metrics` is written again, though nothing changed.
const HEARTBEAT: Duration = Duration::from_mins(1);

/// Renders the files, and again on each change, until the process is stopped. What is refused later leaves the last good
/// files where they are.
///
/// # Errors
///
/// Wrong use, and folders that cannot be watched. Files that cannot be read are an error at the start alone.
pub(super) fn run(arguments: &RenderArguments) -> Result<u8> {
    let (sender, changes) = channel();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.map_or(true, |event| !event.kind.is_access()) {
            // The receiver lives as long as the process.
            let _sent = sender.send(());
        }
    })?;
    // Watched before they are read, so that no change in between is lost.
    for (folder, mode) in folders(arguments)? {
        watcher.watch(&folder, mode).with_context(|| format!("watching {}", folder.display()))?;
    }
    let mut printed = Printed::default();
    let mut outcome = once(arguments, &mut printed)?;
    if matches!(outcome, Outcome::WrongUse) {
        return Ok(WRONG_USE);
    }
    let mut metrics = Metrics::new(arguments);
    report(&outcome, false);
    metrics.count(&outcome)?;
    loop {
        let event = wait(&changes);
        if event == Event::End {
            bail!("the folders are no longer watched");
        }
        if event == Event::Change {
            let was_refused = !matches!(outcome, Outcome::Rendered(_));
            outcome = once(arguments, &mut printed).unwrap_or_else(|error| {
                anstream::eprintln!("sallyport: {error:#}");
                Outcome::Refused
            });
            report(&outcome, was_refused);
        }
        let written = if event == Event::Change { metrics.count(&outcome) } else { metrics.write() };
        if let Err(error) = written {
            anstream::eprintln!("sallyport: {error:#}");
        }
    }
}

fn report(outcome: &Outcome, was_refused: bool) {
    match outcome {
        Outcome::Rendered(_) if was_refused => anstream::eprintln!("the files are accepted again"),
        Outcome::Rendered(_) => {}
        Outcome::Refused | Outcome::WrongUse => {
            anstream::eprintln!("nothing was written: the files of the last good state stay");
        }
    }
}

/// Reason for which a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Change,
    /// The time came to show that the command still runs.
    Heartbeat,
    /// No change can come any more.
    End,
}

/// Waits for a change and the end of those that follow it, or for the next heartbeat.
fn wait(changes: &Receiver<()>) -> Event {
    match changes.recv_timeout(HEARTBEAT) {
        Ok(()) => {}
        Err(RecvTimeoutError::Timeout) => return Event::Heartbeat,
        Err(RecvTimeoutError::Disconnected) => return Event::End,
    }
    let first = Instant::now();
    while first.elapsed() < MAX_DELAY {
        match changes.recv_timeout(QUIET) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => return Event::End,
        }
    }
    Event::Change
}

/// Returns what to watch: the folders that are given, and those of the files that are given, since files are replaced.
fn folders(arguments: &RenderArguments) -> Result<BTreeMap<PathBuf, RecursiveMode>> {
    let mut folders = BTreeMap::new();
    for path in arguments.common.files.iter().chain(&arguments.common.config) {
        if path.as_os_str() == "-" {
            bail!("--watch cannot follow standard input, name a file or a folder");
        }
        if path.is_dir() {
            folders.insert(path.clone(), RecursiveMode::Recursive);
        } else {
            let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
            folders.entry(folder.to_owned()).or_insert(RecursiveMode::NonRecursive);
        }
    }
    Ok(folders)
}
