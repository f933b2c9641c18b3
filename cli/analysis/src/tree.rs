//! Values of YAML and JSON with the position of each key and value.

use crate::source::Span;

/// Value with its position.
#[derive(Clone, Debug)]
pub struct Node {
    /// Content.
    pub value: Value,
    /// Position: of a scalar all of it, of a list or an object its begin. An alias has the position of its anchor.
    pub span: Span,
}

/// Content of a [`Node`].
#[derive(Clone, Debug)]
pub enum Value {
    /// Absent value.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Whole number of 64 bits.
    Whole(i128),
    /// Other number.
    Float(f64),
    /// String.
    Text(String),
    /// List.
    List(Vec<Node>),
    /// Object, with repeated keys, in the order of the text.
    Object(Vec<Entry>),
}

/// Key of an object, with its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Key.
    pub key: String,
    /// Position of the key.
    pub key_span: Span,
    /// Value.
    pub value: Node,
}

impl Node {
    /// Returns the value of a key of an object; null counts as absent.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// Returns the first entry of an object with this key; null counts as absent.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key && !matches!(entry.value.value, Value::Null))
    }

    /// Returns the value below these keys.
    pub fn at(&self, keys: &[&str]) -> Option<&Node> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    /// Returns the string, if the value is one.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the string below these keys.
    pub fn text_at(&self, keys: &[&str]) -> Option<&str> {
        self.at(keys).and_then(Node::as_str)
    }

    /// Returns the entries of an object; empty for other values.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Object(entries) => entries,
            _ => &[],
        }
    }

    /// Returns the items of a list; empty for other values.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// Returns the position to report: of an object its first key, of a list its first item, otherwise all of the value.
    pub fn first_span(&self) -> Span {
        let mut node = self;
        loop {
            match &node.value {
                Value::Object(entries) => {
                    return entries.first().map_or(node.span, |entry| entry.key_span);
                }
                Value::List(items) => match items.first() {
                    Some(first) => node = first,
                    None => return node.span,
                },
                _ => return node.span,
            }
        }
    }

    /// Changes all positions.
    pub(crate) fn map_spans(&mut self, change: &dyn Fn(&mut Span)) {
        change(&mut self.span);
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.map_spans(change)),
            Value::Object(entries) => {
                for entry in entries {
                    change(&mut entry.key_span);
                    entry.value.map_spans(change);
                }
            }
            Value::Null | Value::Bool(_) | Value::Whole(_) | Value::Float(_) | Value::Text(_) => {}
        }
    }
}
