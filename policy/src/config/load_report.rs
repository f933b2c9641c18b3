//! Lines for the log about a configuration that was loaded.

use crate::config::passed_over::PassedOver;
use crate::config::printable::printable_line;

/// Report on a loaded configuration: its contents, the resources that are passed over, and warnings.
pub struct LoadReport {
    summary: String,
    notes: Vec<String>,
    warnings: Vec<String>,
    passed_over: PassedOver,
}

impl LoadReport {
    pub(crate) fn new(summary: String, passed_over: PassedOver) -> Self {
        let notes = passed_over.describe().into_iter().collect();
        Self { summary, notes, warnings: Vec::new(), passed_over }
    }

    /// Adds a line about what is as it should be.
    pub(crate) fn note(&mut self, line: &str) {
        self.notes.push(printable_line(line, None));
    }

    /// Adds a line about what is accepted and may surprise.
    pub(crate) fn warn(&mut self, line: &str) {
        self.warnings.push(printable_line(line, None));
    }

    /// Returns one line: what was loaded, and what of it is enforced or only reported.
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// Returns lines about resources that have no effect here.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Returns lines about what is accepted and may surprise.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns the kinds of resources that the filter does not read, each with their number.
    pub fn passed_over(&self) -> impl Iterator<Item = (&str, usize)> {
        self.passed_over.counts()
    }
}
