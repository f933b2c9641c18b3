//! Merge keys: `<<: *base` stands for the entries of `base` that the object does not have itself.

use std::collections::HashSet;

use granit_parser::{Event, ScalarStyle};

use crate::tree::{Entry, Node, Value};

/// Reports whether a key is a merge key.
pub(super) fn is_merge_key(key: &Event<'_>) -> bool {
    let Event::Scalar(text, style, _, tag) = key else { return false };
    text == "<<"
        && match tag {
            None => *style == ScalarStyle::Plain,
            Some(tag) => tag.suffix_in_namespace(super::scalar::NAMESPACE).is_some_and(|name| name == "merge"),
        }
}

/// Objects to merge into another.
#[derive(Default)]
pub(super) struct Merges(Vec<Entry>);

impl Merges {
    /// Takes the value of a merge key: an object, or a list of objects, of which the first counts.
    pub(super) fn add(&mut self, value: Node) -> Result<(), String> {
        match value.value {
            Value::Null => {}
            Value::Object(entries) => self.0.extend(entries),
            Value::List(items) => items.into_iter().try_for_each(|item| self.add(item))?,
            _ => return Err("a merge key has neither an object nor a list of objects".to_owned()),
        }
        Ok(())
    }

    /// Appends what is merged and not there. Repeated keys of the object itself stay.
    pub(super) fn apply(self, mut entries: Vec<Entry>) -> Vec<Entry> {
        if self.0.is_empty() {
            return entries;
        }
        let mut known: HashSet<String> = entries.iter().map(|entry| entry.key.clone()).collect();
        entries.extend(self.0.into_iter().filter(|entry| known.insert(entry.key.clone())));
        entries
    }
}
