//! Findings for people: the message, the source line and the fix.

use std::time::Duration;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use anstyle::{AnsiColor, Style};
use sallyport_analysis::{Answer, Coverage, Explanation, Finding, Report, Severity, Source, Span};

use crate::test_cases::Played;

/// Returns the findings with their source lines, and a last line that counts them.
pub(crate) fn report(report: &Report, sources: &[Source]) -> String {
    let renderer = Renderer::styled();
    let mut text = String::new();
    for finding in &report.findings {
        text.push_str(&renderer.render(&[group(finding, sources)]));
        text.push_str("\n\n");
    }
    let count = |severity| report.findings.iter().filter(|finding| finding.severity == severity).count();
    let counts = [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Note, "note")];
    let counted: Vec<String> = counts
        .into_iter()
        .filter_map(|(severity, word)| match count(severity) {
            0 => None,
            1 => Some(format!("1 {word}")),
            many => Some(format!("{many} {word}s")),
        })
        .collect();
    let found = if counted.is_empty() { "nothing found".to_owned() } else { counted.join(", ") };
    let files = if sources.len() == 1 { "1 file".to_owned() } else { format!("{} files", sources.len()) };
    text.push_str(&format!("{found} in {files}"));
    if !report.passed_over.is_empty() {
        let kinds: Vec<String> = report.passed_over.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        text.push_str(&format!("; passed over: {}", kinds.join(", ")));
    }
    text.push('\n');
    text
}

fn group<'f>(finding: &'f Finding, sources: &'f [Source]) -> Group<'f> {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let title = level.primary_title(finding.message.as_str()).id(finding.code.as_str());
    let source = finding.span.and_then(|span| sources.get(span.source).zip(Some(span)));
    let group = match source {
        Some((source, span)) => {
            // One line of the file: what is marked begins on it, and may go on.
            let line = finding.place(sources).1.line;
            let text = source.line(line);
            let start = line_start(source, span.start);
            let marked = (span.start - start).min(text.len())..(span.end - start).min(text.len());
            title.element(
                Snippet::source(text)
                    .line_start(line)
                    .path(source.name.as_str())
                    .annotation(AnnotationKind::Primary.span(marked)),
            )
        }
        None => Group::with_title(title),
    };
    group.element(Level::HELP.message(finding.help.as_str()))
}

/// Returns the offset of the first byte of the line.
fn line_start(source: &Source, offset: usize) -> usize {
    source.text.get(..offset).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1)
}

/// Returns an explanation: the answer, the rule with its place, the reason, the readings and the nearest rule.
pub(crate) fn explanation(explanation: &Explanation, sources: &[Source]) -> String {
    let color = match explanation.answer {
        Answer::Allowed => AnsiColor::Green,
        Answer::Denied => AnsiColor::Red,
        Answer::WouldBeDenied => AnsiColor::Yellow,
    };
    let style = Style::new().bold().fg_color(Some(color.into()));
    let mut text = format!("{style}{}{style:#}: {}\n", explanation.answer.as_str(), explanation.reason);
    let mut line = |label: &str, content: String| text.push_str(&format!("  {label:<9} {content}\n"));
    if let Some(policy) = &explanation.policy {
        line("policy", rule_at(policy, explanation.rule, explanation.span, sources));
    }
    if explanation.readings.len() > 1 {
        line("readings", explanation.readings.join(", "));
    }
    if let Some(nearest) = &explanation.nearest {
        line("nearest", rule_at(&nearest.policy, nearest.rule, nearest.span, sources));
        line("missing", nearest.missing.join("; "));
    }
    text
}

/// Returns a policy with its rule and place, as in `shop/orders rule 0 (orders.yaml:12)`.
fn rule_at(policy: &str, rule: Option<usize>, span: Option<Span>, sources: &[Source]) -> String {
    let rule = rule.map(|rule| format!(" rule {rule}")).unwrap_or_default();
    let place = span.and_then(|span| {
        let source = sources.get(span.source)?;
        Some(format!(" ({}:{})", source.name, source.position(span).line))
    });
    format!("{policy}{rule}{}", place.unwrap_or_default())
}

/// Time from which a case is slow: most take less than a millisecond.
const SLOW: Duration = Duration::from_millis(500);

/// Returns the time of a case that is slow.
fn slow(duration: Duration) -> String {
    if duration < SLOW { String::new() } else { format!(", {:.1} s", duration.as_secs_f64()) }
}

/// Returns a line for each case, what differs in those that failed, and the coverage.
pub(crate) fn test_report(played: &[Played], coverage: &Coverage) -> String {
    let good = Style::new().fg_color(Some(AnsiColor::Green.into()));
    let bad = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    let (mut text, mut passed, mut failed) = (String::new(), 0, 0);
    for one in played {
        text.push_str(&format!("{}\n", one.name));
        for outcome in &one.report.outcomes {
            let slow = slow(outcome.duration);
            if outcome.failures.is_empty() {
                passed += 1;
                text.push_str(&format!("  {good}ok{good:#}      {}{slow}\n", outcome.name));
                continue;
            }
            failed += 1;
            let source = one.project.sources().get(outcome.span.source);
            let line = source.map(|source| source.position(outcome.span).line).unwrap_or_default();
            text.push_str(&format!("  {bad}FAILED{bad:#}  {} ({}:{line}){slow}\n", outcome.name, one.file));
            outcome.failures.iter().for_each(|failure| text.push_str(&format!("          {failure}\n")));
        }
    }
    text.push_str(&format!("{passed} passed, {failed} failed\n"));
    text.push_str(&format!("coverage: {} % of {} rules\n", coverage.percent(), coverage.count()));
    for (rule, file, line) in coverage.unreached() {
        text.push_str(&format!("  not reached: {} rule {} ({file}:{line})\n", rule.policy, rule.index));
    }
    text
}
