//! What is wrong with a configuration: every fault, each with its place and the fix.

use std::cell::RefCell;
use std::fmt;

/// How many faults [`Refusal`] prints; the rest are counted.
///
/// A generated configuration can hold the same mistake thousands of times, and a log has to stay readable.
const PRINTED: usize = 100;

/// One fault: where it stands in the configuration and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    path: String,
    problem: String,
}

impl Fault {
    /// A fault of `path`, as in `resources[2].spec.action`; an empty path stands for the whole configuration.
    pub(crate) fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { path: path.into(), problem: problem.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.is_empty() {
            true => f.write_str(&self.problem),
            false => write!(f, "{}: {}", self.path, self.problem),
        }
    }
}

/// Collects faults while a configuration is read, so that one reading reports them all.
#[derive(Debug)]
pub(crate) struct Faults(RefCell<Refusal>);

impl Default for Faults {
    fn default() -> Self {
        Self(RefCell::new(Refusal { faults: Vec::new(), hidden: 0 }))
    }
}

impl Faults {
    pub(crate) fn add(&self, fault: Fault) {
        self.0.borrow_mut().add(fault);
    }

    /// `value` if nothing was wrong, all the faults otherwise.
    pub(crate) fn unless_any<T>(self, value: Option<T>) -> Result<T, Refusal> {
        let mut refusal = self.0.into_inner();
        match value {
            Some(value) if refusal.faults.is_empty() => Ok(value),
            _ => {
                if refusal.faults.is_empty() {
                    refusal.add(Fault::new("", "the configuration could not be read"));
                }
                Err(refusal)
            }
        }
    }
}

/// A configuration that was refused: at least one [`Fault`], in the order of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    faults: Vec<Fault>,
    /// How many there are beyond those that are printed, which are not kept: a VM never gives memory back.
    hidden: usize,
}

impl Refusal {
    pub(crate) fn of(fault: Fault) -> Self {
        Self { faults: vec![fault], hidden: 0 }
    }

    fn add(&mut self, fault: Fault) {
        match self.faults.len() < PRINTED {
            true => self.faults.push(fault),
            false => self.hidden += 1,
        }
    }

    /// The lines to log: one for each fault, with a last line that counts those beyond the first hundred.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let last = (self.hidden > 0).then(|| format!("and {} more", self.hidden));
        self.faults.iter().map(Fault::to_string).chain(last)
    }

    /// How many faults there are.
    pub fn count(&self) -> usize {
        self.faults.len() + self.hidden
    }
}

impl fmt::Display for Refusal {
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

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_faults_is_cut_and_counted() {
        let faults = Faults::default();
        for number in 0..130 {
            faults.add(Fault::new(format!("resources[{number}]"), "unknown kind"));
        }
        let refusal = faults.unless_any(Some(())).err();
        let lines: Vec<_> = refusal.iter().flat_map(Refusal::lines).collect();
        assert_eq!(lines.len(), 101);
        assert_eq!(lines.last().map(String::as_str), Some("and 30 more"));
        assert_eq!(refusal.map(|refusal| refusal.count()), Some(130));
    }

    #[test]
    fn nothing_read_is_a_refusal_even_without_a_fault() {
        assert!(Faults::default().unless_any(None::<()>).is_err());
    }
}
