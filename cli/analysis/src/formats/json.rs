//! `--format json`.

use serde_json::{Map, Value, json};

use crate::check::Report;
use crate::explain::Explanation;
use crate::source::Source;
use crate::who::Access;

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

/// Returns an explanation as `{"answer", "policy", "rule", "file", "line", "reason", "readings", "nearest"}`.
pub fn explanation(explanation: &Explanation, sources: &[Source]) -> Value {
    let place = explanation.span.and_then(|span| {
        let source = sources.get(span.source)?;
        Some((source.name.as_str(), source.position(span).line))
    });
    let nearest = explanation
        .nearest
        .as_ref()
        .map(|nearest| json!({"policy": nearest.policy, "rule": nearest.rule, "missing": nearest.missing}));
    json!({
        "answer": explanation.answer.as_str(),
        "policy": explanation.policy,
        "rule": explanation.rule,
        "file": place.map(|(file, _)| file),
        "line": place.map(|(_, line)| line),
        "reason": explanation.reason,
        "readings": explanation.readings,
        "nearest": nearest,
    })
}

/// Returns access as `{"access": [{"from", "to", "methods", "paths", "hosts", "ports", "conditions", "policy", "rule"}]}`.
pub fn access(rows: &[Access]) -> Value {
    let rows = rows.iter().map(|row| {
        json!({
            "from": row.from,
            "to": row.to,
            "methods": row.methods,
            "paths": row.paths,
            "hosts": row.hosts,
            "ports": row.ports,
            "conditions": row.conditions,
            "policy": row.policy,
            "rule": row.rule,
        })
    });
    json!({"access": rows.collect::<Vec<_>>()})
}
