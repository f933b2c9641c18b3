//! Errors of a configuration, each with its path and the fix.

use std::cell::RefCell;
use std::fmt;

use crate::config::error_code::ErrorCode;
use crate::config::printable::printable_line;

/// Maximum number of errors that a filter keeps and logs; the rest are counted.
///
/// This keeps the log readable when a generated configuration repeats a mistake thousands of times.
pub(crate) const MAX_ERRORS_KEPT: usize = 100;

/// Error in a configuration: its path and the fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    path: String,
    /// Name of the resource that the path is in, where it has one.
    resource: Option<String>,
    code: ErrorCode,
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
        let code = ErrorCode::InvalidValue;
        Self { path: printable_line(&path.into(), None), resource: None, code, problem: printable_line(problem, own) }
    }

    /// Sets the code, which is [`ErrorCode::InvalidValue`] otherwise.
    pub(crate) fn with_code(self, code: ErrorCode) -> Self {
        Self { code, ..self }
    }

    /// Returns the path of the value in the configuration, as in `resources[2].spec.action`; empty for all of it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the name of the resource that the value is in, as in `shop/frontend-reads`.
    pub fn resource(&self) -> Option<&str> {
        self.resource.as_deref()
    }

    /// Returns the kind of the error.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// Returns what is wrong, without the fix.
    pub fn message(&self) -> &str {
        split_fix(&self.problem).0
    }

    /// Returns the fix, where the error names one.
    pub fn fix(&self) -> Option<&str> {
        split_fix(&self.problem).1
    }
}

/// Splits an error text where its fix begins: after a semicolon, or before a clause that says what to do. What is between
/// backticks is the configuration's and no such place.
fn split_fix(problem: &str) -> (&str, Option<&str>) {
    const FIXES: [&str; 15] = [
        "add ",
        "did you mean ",
        "expected ",
        "give ",
        "keep ",
        "leave ",
        "list ",
        "name ",
        "remove ",
        "split ",
        "start ",
        "use ",
        "write ",
        "put ",
        "see ",
    ];
    let (mut at, mut is_quoted) = (0, false);
    for part in problem.split_inclusive('`') {
        let text = part.trim_end_matches('`');
        if !is_quoted {
            let places = text.match_indices([';', ',']).map(|(offset, mark)| (at + offset, mark));
            for (place, mark) in places {
                let before = problem.get(..place).unwrap_or(problem);
                let after = problem.get(place + 1..).unwrap_or_default();
                let is_fix = mark == ";" || FIXES.iter().any(|fix| after.trim_start().starts_with(fix));
                if is_fix && after.starts_with(' ') {
                    return (before, Some(after.trim_start()));
                }
            }
        }
        at += part.len();
        is_quoted = !is_quoted;
    }
    (problem, None)
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
        Self::keeping(MAX_ERRORS_KEPT)
    }
}

impl Diagnostics {
    /// Collects at most `limit` errors and counts the others.
    pub(crate) fn keeping(limit: usize) -> Self {
        Self(RefCell::new(ConfigErrors { diagnostics: Vec::new(), hidden: 0, limit }))
    }

    pub(crate) fn add(&self, error: ConfigError) {
        self.0.borrow_mut().add(error);
    }

    /// Reports whether as many errors are kept as may be: what is more is counted, and need not be described.
    pub(crate) fn is_full(&self) -> bool {
        let errors = self.0.borrow();
        errors.diagnostics.len() >= errors.limit
    }

    /// Counts an error that is not kept.
    pub(crate) fn hide(&self) {
        self.0.borrow_mut().hidden += 1;
    }

    /// The number of errors that are kept so far.
    pub(crate) fn kept(&self) -> usize {
        self.0.borrow().diagnostics.len()
    }

    /// Says of the errors from the `first` on which resource they are in.
    pub(crate) fn name_resource(&self, first: usize, name: &dyn fmt::Display) {
        for error in self.0.borrow_mut().diagnostics.iter_mut().skip(first) {
            error.resource = Some(name.to_string());
        }
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
    /// Number of errors beyond those that are kept.
    hidden: usize,
    /// The most errors that are kept. In a filter they are few, because a VM never returns memory.
    limit: usize,
}

impl ConfigErrors {
    pub(crate) fn of(error: ConfigError) -> Self {
        Self { diagnostics: vec![error], hidden: 0, limit: MAX_ERRORS_KEPT }
    }

    fn add(&mut self, error: ConfigError) {
        match self.diagnostics.len() < self.limit {
            true => self.diagnostics.push(error),
            false => self.hidden += 1,
        }
    }

    /// Returns one line for each error, and a last line that counts those beyond the first hundred.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.diagnostics.iter().map(ConfigError::to_string).chain(self.last_line())
    }

    /// Returns the same lines with the name of the resource before each that is in one.
    pub fn named_lines(&self) -> impl Iterator<Item = String> + '_ {
        let named = self.diagnostics.iter().map(|error| match error.resource() {
            Some(name) => format!("{name}: {error}"),
            None => error.to_string(),
        });
        named.chain(self.last_line())
    }

    fn last_line(&self) -> Option<String> {
        (self.hidden > 0).then(|| format!("and {} more", self.hidden))
    }

    /// Returns the errors that were kept, in the order of the configuration.
    pub fn errors(&self) -> &[ConfigError] {
        &self.diagnostics
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
    fn a_tool_keeps_all_faults() {
        let diagnostics = Diagnostics::keeping(usize::MAX);
        for number in 0..130 {
            diagnostics.add(ConfigError::new(format!("resources[{number}]"), "unknown kind"));
        }
        let refusal = diagnostics.into_result(Some(())).err();
        assert_eq!(refusal.map(|refusal| refusal.errors().len()), Some(130));
    }

    #[test]
    fn the_fix_is_told_from_the_fault() {
        let rows = [
            ("given twice, keep one", "given twice", Some("keep one")),
            (
                "unknown value `a, write b`, did you mean \"c\"?",
                "unknown value `a, write b`",
                Some("did you mean \"c\"?"),
            ),
            ("a DENY; write rules: [{}] to deny, or not", "a DENY", Some("write rules: [{}] to deny, or not")),
            ("has 3 items, the limit is 2", "has 3 items, the limit is 2", None),
            ("bad name `x;y`: use, as a,write", "bad name `x;y`: use, as a,write", None),
            ("bad host `x`: a host, write `y` and use z", "bad host `x`: a host", Some("write `y` and use z")),
        ];
        for (problem, message, fix) in rows {
            let error = ConfigError::new("mode", problem);
            assert_eq!((error.message(), error.fix()), (message, fix));
        }
    }

    #[test]
    fn nothing_read_is_a_refusal_even_without_a_fault() {
        assert!(Diagnostics::default().into_result(None::<()>).is_err());
    }
}
