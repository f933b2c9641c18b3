//! `--format json`.

use serde_json::{Map, Value, json};

use crate::check::Report;
use crate::source::Source;

/// Returns the report as `{"findings": [...], "passedOver": {KIND: COUNT}}`.
pub fn report(report: &Report, sources: &[Source]) -> Value {
    let findings = report.findings.iter().map(|finding| {
        let (file, position) = finding.place(sources);
        json!({
            "severity": finding.severity.as_str(),
            "code": finding.code,
            "message": finding.message,
            "help": finding.help,
            "file": file,
            "line": position.line,
            "column": position.column,
            "length": position.length,
        })
    });
    let passed_over: Map<String, Value> =
        report.passed_over.iter().map(|(kind, count)| (kind.clone(), Value::from(*count))).collect();
    json!({"findings": findings.collect::<Vec<_>>(), "passedOver": passed_over})
}
