//! Polls a condition until it holds or a time limit passes, in place of a fixed sleep.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Pause between two checks of a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Polls `condition` until it returns a value. Fails after `timeout` with an error that names `what`, and at once where
/// `condition` fails.
pub fn until<T>(what: &str, timeout: Duration, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if start.elapsed() > timeout {
            bail!("waited {} s for {what}", timeout.as_secs());
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Retries `attempt` until it succeeds. Fails after `timeout` with an error that names `what` and the last failure.
pub fn until_ok<T>(what: &str, timeout: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let mut last = None;
    let done = until(what, timeout, || Ok(attempt().map_err(|error| last = Some(error)).ok()));
    done.map_err(|late| match last {
        Some(error) => error.context(late.to_string()),
        None => late,
    })
}

#[cfg(test)]
mod tests {
    use anyhow::ensure;

    use super::*;

    #[test]
    fn a_late_success_is_waited_for() -> Result<()> {
        let mut attempts = 0;
        let value = until_ok("the third attempt", Duration::from_secs(60), || {
            attempts += 1;
            ensure!(attempts == 3, "this is attempt {attempts}");
            Ok("seen")
        })?;
        ensure!(value == "seen" && attempts == 3, "{value} after {attempts} attempts");
        Ok(())
    }

    #[test]
    fn a_timeout_names_the_condition_and_the_last_failure() {
        let mut attempts = 0;
        let result = until_ok("nothing", Duration::from_millis(100), || -> Result<()> {
            attempts += 1;
            bail!("this is attempt {attempts}")
        });
        let message = result.err().map(|error| format!("{error:#}"));
        assert_eq!(message, Some(format!("waited 0 s for nothing: this is attempt {attempts}")));
    }
}
