//! Errors of a configuration, each with its path and the fix.

use std::cell::RefCell;
use std::fmt;

use crate::config::printable::printable_line;

/// Maximum number of errors that [`ConfigErrors`] prints; the rest are counted.
///
/// This keeps the log readable when a generated configuration repeats a mistake thousands of times.
const MAX_ERRORS_LOGGED: usize = 100;

/// Error in a configuration: its path and the fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    path: String,
    problem: String,
}

impl ConfigError {
    /// Builds the error at `path`, such as `resources[2].spec.action`; an empty path is the whole configuration. Quoted
    /// configuration text is between backticks.
    pub(crate) fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::of_text(path, &problem.into(), None)
    }

    /// Builds the error of a string value `own`, which `problem` may quote.
    pub(crate) fn of_text(path: impl Into<String>, problem: &str, own: Option<&str>) -> Self {
        Self { path: printable_line(&path.into(), None), problem: printable_line(problem, own) }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.is_empty() {
            true => f.write_str(&self.problem),
            false => write!(f, "{}: {}", self.path, self.problem),
        }
    }
}

/// Collects diagnostics while a configuration is read, so that one reading reports them all.
#[derive(Debug)]
pub(crate) struct Diagnostics(RefCell<ConfigErrors>);

impl Default for Diagnostics {
    fn default() -> Self {
        Self(RefCell::new(ConfigErrors { diagnostics: Vec::new(), hidden: 0 }))
    }
}

impl Diagnostics {
    pub(crate) fn add(&self, error: ConfigError) {
        self.0.borrow_mut().add(error);
    }

    /// `value` if nothing was wrong, all the diagnostics otherwise.
    pub(crate) fn into_result<T>(self, value: Option<T>) -> Result<T, ConfigErrors> {
        let mut refusal = self.0.into_inner();
        match value {
            Some(value) if refusal.diagnostics.is_empty() => Ok(value),
            _ => {
                if refusal.diagnostics.is_empty() {
                    refusal.add(ConfigError::new("", "the configuration could not be read"));
                }
                Err(refusal)
            }
        }
    }
}

/// A configuration that was refused: at least one [`ConfigError`], in the order of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    diagnostics: Vec<ConfigError>,
    /// Number of errors beyond the printed ones. They are not kept, because a VM never returns memory.
    hidden: usize,
}

impl ConfigErrors {
    pub(crate) fn of(error: ConfigError) -> Self {
        Self { diagnostics: vec![error], hidden: 0 }
    }

    fn add(&mut self, error: ConfigError) {
        match self.diagnostics.len() < MAX_ERRORS_LOGGED {
            true => self.diagnostics.push(error),
            false => self.hidden += 1,
        }
    }

    /// Returns the lines to log: one for each error, and a last line that counts those beyond the first hundred.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let last = (self.hidden > 0).then(|| format!("and {} more", self.hidden));
        self.diagnostics.iter().map(ConfigError::to_string).chain(last)
    }

    /// Returns the number of errors, including those that are not printed.
    pub fn count(&self) -> usize {
        self.diagnostics.len() + self.hidden
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, line) in self.lines().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&line)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_faults_is_cut_and_counted() {
        let diagnostics = Diagnostics::default();
        for number in 0..130 {
            diagnostics.add(ConfigError::new(format!("resources[{number}]"), "unknown kind"));
        }
        let refusal = diagnostics.into_result(Some(())).err();
        let lines: Vec<_> = refusal.iter().flat_map(ConfigErrors::lines).collect();
        assert_eq!(lines.len(), 101);
        assert_eq!(lines.last().map(String::as_str), Some("and 30 more"));
        assert_eq!(refusal.map(|refusal| refusal.count()), Some(130));
    }

    #[test]
    fn nothing_read_is_a_refusal_even_without_a_fault() {
        assert!(Diagnostics::default().into_result(None::<()>).is_err());
    }
}
