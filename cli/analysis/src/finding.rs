//! Findings about files.

use crate::source::{Position, Source, Span};

/// Weight of a finding. Notes are none that a caller has to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A filter refuses this, or the text cannot be read.
    Error,
    /// A filter takes this, and it does not do what its author is likely to mean.
    Warning,
    /// A fact to know.
    Note,
}

/// Finding about a part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Weight.
    pub severity: Severity,
    /// Stable name of the kind of finding.
    pub code: String,
    /// Text that says the fault.
    pub message: String,
    /// Text that says the fix.
    pub help: String,
    /// Part of a file that it is about; `None` if it is about the command line.
    pub span: Option<Span>,
}

impl Severity {
    /// Returns the word for it, as in `warning`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

impl Finding {
    /// Returns the file name and the position; those of the command line if it is about no file.
    pub fn place<'s>(&self, sources: &'s [Source]) -> (&'s str, Position) {
        let source = self.span.and_then(|span| sources.get(span.source).zip(Some(span)));
        match source {
            Some((source, span)) => (source.name.as_str(), source.position(span)),
            None => ("command line", Position { line: 1, column: 1, length: 0 }),
        }
    }
}

/// Word of the comment that silences a finding of its line.
const IGNORE: &str = "sallyport:ignore";

/// Sorts findings by place, and leaves out repeated ones and those that are silenced by a comment
/// `# sallyport:ignore CODE` at the end of their line or by their code.
pub(crate) fn settle(findings: &mut Vec<Finding>, sources: &[Source], ignored: &[String]) {
    findings.retain(|finding| !(ignored.contains(&finding.code) || is_silenced(finding, sources)));
    findings.sort_by(|one, other| {
        let key = |finding: &Finding| (finding.span.is_none(), finding.span, finding.severity);
        key(one).cmp(&key(other)).then_with(|| one.message.cmp(&other.message))
    });
    findings.dedup_by(|one, other| one.span == other.span && one.code == other.code && one.message == other.message);
}

fn is_silenced(finding: &Finding, sources: &[Source]) -> bool {
    let Some(source) = finding.span.and_then(|span| sources.get(span.source)) else { return false };
    let line = source.line(finding.place(sources).1.line);
    let comment = line.rsplit_once('#').map(|(_, comment)| comment.trim());
    let codes = comment.and_then(|comment| comment.strip_prefix(IGNORE));
    codes.is_some_and(|codes| codes.split([',', ' ', '\t']).any(|code| code == finding.code))
}
