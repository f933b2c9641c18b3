//! Waiting for a condition, never for luck.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(10);

/// Waits until `condition` gives a value. Fails after `limit`, naming what was waited for.
pub fn until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if start.elapsed() > limit {
            bail!("waited {} s for {what}", limit.as_secs());
        }
        thread::sleep(STEP);
    }
}

/// Waits until `attempt` succeeds. Fails after `limit`, naming what was waited for and what was wrong at last.
pub fn until_ok<T>(what: &str, limit: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let mut last = None;
    let done = until(what, limit, || Ok(attempt().map_err(|error| last = Some(error)).ok()));
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
    fn what_comes_late_is_waited_for() -> Result<()> {
        let mut looks = 0;
        let value = until_ok("the third look", Duration::from_secs(60), || {
            looks += 1;
            ensure!(looks == 3, "this is look {looks}");
            Ok("seen")
        })?;
        ensure!(value == "seen" && looks == 3, "{value} after {looks} looks");
        Ok(())
    }

    #[test]
    fn what_never_comes_is_named_with_what_was_wrong_at_last() {
        let mut looks = 0;
        let never = until_ok("nothing", Duration::from_millis(100), || -> Result<()> {
            looks += 1;
            bail!("this is look {looks}")
        });
        let said = never.err().map(|error| format!("{error:#}"));
        assert_eq!(said, Some(format!("waited 0 s for nothing: this is look {looks}")));
    }
}
