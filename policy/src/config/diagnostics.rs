//! Errors of a configuration, each with its path and the fix.

use std::cell::RefCell;
use std::fmt;

use crate::config::printable::printable_line;

/// Maximum number of errors that [`ConfigErrors`] prints; the rest are counted.
///
/// This keeps the log readable when a generated configuration repeats a mistake thousands of times.
const PRINTED: usize = 100;

/// Error in a configuration: its path and the fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    path: String,
    problem: String,
}

impl ConfigError {
    /// A fault of `path`, as in `resources[2].spec.action`; an empty path stands for the whole configuration. Texts of the
    /// configuration stand between backticks.
    pub(crate) fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::of_text(path, &problem.into(), None)
    }

    /// The same, of a value that is the text `own`, which `problem` may quote.
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
    pub(crate) fn add(&self, fault: ConfigError) {
        self.0.borrow_mut().add(fault);
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
    pub(crate) fn of(fault: ConfigError) -> Self {
        Self { diagnostics: vec![fault], hidden: 0 }
    }

    fn add(&mut self, fault: ConfigError) {
        match self.diagnostics.len() < PRINTED {
            true => self.diagnostics.push(fault),
            false => self.hidden += 1,
        }
    }

    /// The lines to log: one for each fault, with a last line that counts those beyond the first hundred.
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
