//! `--format github`: workflow commands of GitHub Actions, which show findings beside the lines that they are about.

use crate::check::Report;
use crate::finding::Severity;
use crate::source::Source;

/// Returns a workflow command for each finding, as in `::error file=a.yaml,line=1,col=1::...`.
pub fn report(report: &Report, sources: &[Source]) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let (file, position) = finding.place(sources);
        let command = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "notice",
        };
        let message = format!("{}; {} [{}]", finding.message, finding.help, finding.code);
        let properties = format!("file={},line={},col={}", property(file), position.line, position.column);
        text.push_str(&format!("::{command} {properties}::{}\n", data(&message)));
    }
    text
}

/// Escapes a message (actions/toolkit `packages/core/src/command.ts`).
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes the value of a property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
