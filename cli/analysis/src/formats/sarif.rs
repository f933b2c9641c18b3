//! `--format sarif`: SARIF 2.1.0, which code scanning reads.

use serde_json::{Value, json};

use crate::check::Report;
use crate::codes::{Code, codes};
use crate::finding::Severity;
use crate::source::Source;

/// Returns the report as one run of SARIF. Names of files below `folder` are given from there.
pub fn report(report: &Report, sources: &[Source], version: &str, folder: Option<&str>) -> Value {
    let is_found = |code: &Code| report.findings.iter().any(|finding| finding.code == code.name);
    let rules: Vec<Code> = codes().into_iter().filter(is_found).collect();
    let index = |code: &str| rules.iter().position(|known| known.name == code);
    let results = report.findings.iter().map(|finding| {
        let (file, position) = finding.place(sources);
        json!({
            "ruleId": finding.code,
            "ruleIndex": index(&finding.code),
            "level": level(finding.severity),
            "message": {"text": format!("{}; {}", finding.message, finding.help)},
            "locations": [{"physicalLocation": {
                "artifactLocation": {"uri": relative_uri(file, folder)},
                "region": {
                    "startLine": position.line,
                    "startColumn": position.column,
                    "endColumn": position.column + position.length,
                },
            }}],
        })
    });
    let results: Vec<Value> = results.collect();
    let rule = |code: &Code| {
        json!({
            "id": code.name,
            "shortDescription": {"text": code.title},
            "fullDescription": {"text": format!("{}.", code.title)},
            "help": {"text": format!("{}. Fix: {}. docs/errors.md has an example.", code.title, code.fix)},
            "defaultConfiguration": {"level": level(code.severity)},
        })
    };
    let rules: Vec<Value> = rules.iter().map(rule).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "sallyport", "version": version, "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

/// Returns a file name as a relative URI reference (RFC 3986, 4.2).
fn relative_uri(file: &str, folder: Option<&str>) -> String {
    let within = folder.and_then(|folder| file.strip_prefix(folder)).filter(|rest| rest.starts_with('/'));
    let file = within.unwrap_or(file).trim_start_matches("./").trim_start_matches('/');
    let mut uri = String::new();
    for byte in file.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => uri.push(char::from(byte)),
            b'\\' => uri.push('/'),
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri
}
