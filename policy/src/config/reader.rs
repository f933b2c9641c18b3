//! Reading of a [`Value`] key by key, with an error for everything that is invalid.
//!
//! Methods return `None` after they report an error. Reading continues with other values, so that all errors are
//! reported together.

use std::cell::{Cell, RefCell};
use std::fmt;

use crate::collections::map::OrderedMap;
use crate::config::diagnostics::{ConfigError, Diagnostics};
use crate::config::document::StreamedList;
use crate::config::document::position::Position;
use crate::config::error_code::ErrorCode;
use crate::config::printable::printable_text;
use crate::config::value::{Number, Value};

/// Minimum Jaro-Winkler similarity at which a known key is suggested for an unknown one.
const MIN_SIMILARITY: f64 = 0.8;

/// Path from the root of the configuration to a value.
#[derive(Clone, Copy)]
struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Item(usize),
    Streamed(&'a Position<'a>),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Item(index) => write!(f, "[{index}]"),
            Step::Streamed(position) => position.fmt(f),
            Step::Key(key) => {
                let below_root = self.parent.is_none_or(|parent| matches!(parent.step, Step::Root));
                let plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
                match (below_root, plain) {
                    (true, true) => f.write_str(&printable_text(key)),
                    (false, true) => write!(f, ".{}", printable_text(key)),
                    (_, false) => write!(f, "[\"{}\"]", printable_text(key)),
                }
            }
        }
    }
}

/// Value of the configuration, with its path.
pub(crate) struct ConfigNode<'a> {
    document: &'a Value,
    path: Path<'a>,
    diagnostics: &'a Diagnostics,
}

impl<'a> ConfigNode<'a> {
    pub(crate) fn root(document: &'a Value, diagnostics: &'a Diagnostics) -> Self {
        Self { document, path: Path { parent: None, step: Step::Root }, diagnostics }
    }

    /// Reports an error at this value.
    pub(crate) fn error(&self, problem: impl Into<String>) {
        self.error_as(ErrorCode::InvalidValue, problem);
    }

    /// Reports an error of another kind than [`ErrorCode::InvalidValue`] at this value.
    pub(crate) fn error_as(&self, code: ErrorCode, problem: impl Into<String>) {
        if self.diagnostics.is_full() {
            return self.diagnostics.hide();
        }
        let own = match self.document {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        };
        self.diagnostics.add(ConfigError::of_text(self.path.to_string(), &problem.into(), own).with_code(code));
    }

    /// The number of errors that are kept so far, of the whole configuration.
    pub(crate) fn errors_so_far(&self) -> usize {
        self.diagnostics.kept()
    }

    /// Says of the errors from the `first` on which resource they are in.
    pub(crate) fn name_resource(&self, first: usize, name: &dyn fmt::Display) {
        self.diagnostics.name_resource(first, name);
    }

    fn wrong_type(&self, wanted: &str) {
        match self.document {
            Value::Null => self.error_as(
                ErrorCode::WrongType,
                format!("is null, expected {wanted}; remove the item if it is not wanted"),
            ),
            other => self.error_as(ErrorCode::WrongType, format!("expected {wanted}, this is {}", other.type_name())),
        }
    }

    /// The value itself, for those that may be of several types.
    pub(crate) fn value(&self) -> &Value {
        self.document
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.document, Value::Null)
    }

    pub(crate) fn object(&self) -> Option<Object<'_>> {
        let Value::Object(entries) = self.document else {
            self.wrong_type("an object");
            return None;
        };
        let mut seen: OrderedMap<&str, ()> = OrderedMap::default();
        for (key, value) in entries {
            if seen.insert(key, ()).is_some() {
                self.child(Step::Key(key), value).error_as(ErrorCode::RepeatedKey, "given twice, keep one");
            }
        }
        Some(Object { node: self, entries, known: RefCell::new(Vec::new()) })
    }

    /// The items of a list that may be empty.
    pub(crate) fn items(&self) -> Option<impl Iterator<Item = ConfigNode<'_>>> {
        let Value::List(items) = self.document else {
            self.wrong_type("a list");
            return None;
        };
        Some(items.iter().enumerate().map(|(index, item)| self.child(Step::Item(index), item)))
    }

    /// The items of a list that may be empty and must have no more than `most`.
    pub(crate) fn items_up_to(&self, most: usize) -> Option<impl Iterator<Item = ConfigNode<'_>>> {
        let items = self.items()?;
        match self.document {
            Value::List(list) if list.len() > most => {
                self.error_as(ErrorCode::LimitExceeded, format!("has {} items, the limit is {most}", list.len()));
                None
            }
            _ => Some(items),
        }
    }

    /// Calls `read` with each item of a streamed list and its position, one item in memory at a time. Returns false if
    /// items are missing.
    pub(crate) fn for_each_item(
        &self,
        items: &StreamedList<'_>,
        read: &dyn Fn(&Position<'_>, &ConfigNode<'_>),
    ) -> bool {
        let came = Cell::new(0);
        items.each(&|position, item| {
            if position.within.is_none() {
                came.set(came.get() + 1);
            }
            read(position, &self.child(Step::Streamed(position), &item));
        });
        came.get() == items.count()
    }

    /// Returns the items of a list of one to `most`; `meaning` is what an absent key would mean, for the error.
    pub(crate) fn non_empty_list(&self, most: usize, meaning: &str) -> Option<impl Iterator<Item = ConfigNode<'_>>> {
        if matches!(self.document, Value::List(list) if list.is_empty()) {
            self.error_as(ErrorCode::EmptyValue, format!("empty list, add a value, or remove the key {meaning}"));
            return None;
        }
        self.items_up_to(most)
    }

    /// The string, if the value is one. Reports nothing.
    pub(crate) fn as_str(&self) -> Option<&str> {
        self.document.as_str()
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self.document {
            Value::Text(text) => Some(text),
            Value::Number(number) => {
                let fix = match **number {
                    Number::Whole(number) => format!("write \"{number}\""),
                    Number::Negative(number) => format!("write \"{number}\""),
                    Number::NonInteger | Number::Inexact => "put it in quotes".to_owned(),
                };
                self.error_as(ErrorCode::WrongType, format!("expected a string, this is a number; {fix}"));
                None
            }
            Value::Bool(value) => {
                self.error_as(
                    ErrorCode::WrongType,
                    format!("expected a string, this is true or false; write \"{value}\""),
                );
                None
            }
            _ => {
                self.wrong_type("a string");
                None
            }
        }
    }

    /// A string that is not empty.
    pub(crate) fn non_empty_str(&self) -> Option<&str> {
        let text = self.text()?;
        if text.is_empty() {
            self.error_as(ErrorCode::EmptyValue, "empty string");
            return None;
        }
        Some(text)
    }

    pub(crate) fn bool(&self) -> Option<bool> {
        match self.document {
            Value::Bool(value) => Some(*value),
            _ => {
                self.wrong_type("true or false");
                None
            }
        }
    }

    /// A whole number of `least` to `most`, written as a number.
    pub(crate) fn whole_number(&self, least: u64, most: u64) -> Option<u64> {
        let number = match self.document {
            Value::Number(number) => **number,
            _ => {
                self.wrong_type(&format!("a number of {least} to {most}"));
                return None;
            }
        };
        let whole = match number {
            Number::Whole(whole) => Some(whole).filter(|whole| (least..=most).contains(whole)),
            Number::Negative(_) | Number::NonInteger | Number::Inexact => None,
        };
        if whole.is_none() {
            let found = match number {
                Number::Whole(number) => format!("`{number}`"),
                Number::Negative(number) => format!("`{number}`"),
                Number::NonInteger | Number::Inexact => "none".to_owned(),
            };
            self.error(format!("expected a whole number of {least} to {most}, this is {found}"));
        }
        whole
    }

    /// Reads one of `words`, each with its value.
    pub(crate) fn enum_value<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let Some(text) = self.as_str() else {
            self.wrong_type(&one_of(words.iter().map(|(word, _)| *word)));
            return None;
        };
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let listed = words.iter().map(|(word, _)| *word);
            let hint = match closest_match(text, listed.clone()) {
                Some(word) => format!("did you mean \"{word}\"?"),
                None => format!("expected {}", one_of(listed)),
            };
            self.error_as(ErrorCode::UnknownValue, format!("unknown value `{text}`, {hint}"));
        }
        found
    }

    /// Returns the path of this value, as error texts show it.
    pub(crate) fn path(&self) -> String {
        self.path.to_string()
    }

    fn child<'c>(&'c self, step: Step<'c>, document: &'c Value) -> ConfigNode<'c> {
        ConfigNode { document, path: Path { parent: Some(&self.path), step }, diagnostics: self.diagnostics }
    }
}

/// Object whose keys are read one by one; [`finish`](Self::finish) reports the unknown ones.
pub(crate) struct Object<'a> {
    node: &'a ConfigNode<'a>,
    entries: &'a [(String, Value)],
    known: RefCell<Vec<&'static str>>,
}

impl Object<'_> {
    /// The value of a key that may be absent. Null counts as absent, as in Kubernetes.
    pub(crate) fn optional(&self, key: &'static str) -> Option<ConfigNode<'_>> {
        self.known.borrow_mut().push(key);
        let (key, value) = self.given().find(|(name, _)| name == key)?;
        Some(self.node.child(Step::Key(key), value))
    }

    /// The entries whose value is not null.
    fn given(&self) -> impl Iterator<Item = &(String, Value)> {
        self.entries.iter().filter(|(_, value)| *value != Value::Null)
    }

    /// Reports whether the key is written, with a value or null.
    pub(crate) fn names(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, _)| name == key)
    }

    /// Returns the value of a required key; `fix` says what to write.
    pub(crate) fn required(&self, key: &'static str, fix: &str) -> Option<ConfigNode<'_>> {
        let found = self.optional(key);
        if found.is_none() {
            self.missing(key, fix);
        }
        found
    }

    /// Reports that a key is missing; `fix` says what to write.
    pub(crate) fn missing(&self, key: &str, fix: &str) {
        let path = Path { parent: Some(&self.node.path), step: Step::Key(key) };
        self.node
            .diagnostics
            .add(ConfigError::new(path.to_string(), format!("missing, {fix}")).with_code(ErrorCode::MissingField));
    }

    /// Reports a key that means something in Istio and that this filter cannot carry out, where it is given.
    pub(crate) fn unsupported(&self, key: &'static str, why: &str) {
        if let Some(node) = self.optional(key) {
            node.error_as(ErrorCode::Unsupported, why);
        }
    }

    /// Returns all entries, for objects with arbitrary keys, such as labels. Null is a value here: a label without one
    /// would make a selector wider.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, ConfigNode<'_>)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), self.node.child(Step::Key(key), value)))
    }

    /// Reports the object itself.
    pub(crate) fn error_as(&self, code: ErrorCode, problem: impl Into<String>) {
        self.node.error_as(code, problem);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.given().next().is_none()
    }

    /// Reports every key that was not read.
    pub(crate) fn finish(&self) {
        let known = self.known.borrow();
        for (key, value) in self.given() {
            if known.iter().any(|name| name == key) {
                continue;
            }
            if self.node.diagnostics.is_full() {
                self.node.diagnostics.hide();
                continue;
            }
            let hint = match closest_match(key, known.iter().copied()) {
                Some(name) => format!("did you mean \"{name}\"?"),
                None => format!("expected {}", one_of(known.iter().copied())),
            };
            self.node.child(Step::Key(key), value).error_as(ErrorCode::UnknownField, format!("unknown field, {hint}"));
        }
    }
}

/// Bytes of the longest word that is compared with others: no name has more, and the cost grows with their square.
const MAX_WORD: usize = 256;

/// The candidate that is most like `word`, without regard to case, if one is like enough.
pub fn closest_match<'w>(word: &str, mut candidates: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    closest(word, &mut candidates)
}

/// The same for any iterator, compiled once.
fn closest<'w>(word: &str, candidates: &mut dyn Iterator<Item = &'w str>) -> Option<&'w str> {
    let word = Some(word).filter(|word| word.len() <= MAX_WORD)?.to_ascii_lowercase();
    let mut found = (MIN_SIMILARITY, None);
    for candidate in candidates {
        let alike = strsim::jaro_winkler(&word, &candidate.to_ascii_lowercase());
        if alike >= found.0 {
            found = (alike, Some(candidate));
        }
    }
    found.1
}

/// `a`, `a or b`, `a, b or c`.
pub(crate) fn one_of<'w>(mut words: impl Iterator<Item = &'w str>) -> String {
    listed(&mut words)
}

/// The same for any iterator, compiled once.
fn listed(words: &mut dyn Iterator<Item = &str>) -> String {
    let words: Vec<_> = words.collect();
    match words.split_last() {
        None => "no key".to_owned(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests;
