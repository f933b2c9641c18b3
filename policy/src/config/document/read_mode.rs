//! Modes of reading a configuration: as a whole, or with the items of one list streamed.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::config::document::position::Position;
use crate::config::value::{Number, Value};

/// The key under which a Kubernetes `List` has its items.
const ITEMS: &str = "items";

/// The consumer of streamed items, each with its position.
pub(crate) type Sink<'r> = dyn Fn(&Position<'_>, Value) + 'r;

/// Mode in which a value is read.
#[derive(Clone, Copy)]
pub(crate) struct ReadMode<'r> {
    /// True if the value is kept; otherwise it is only checked, and read as null.
    pub(crate) retain: bool,
    pub(crate) stream: Stream,
    /// Same as `retain`, for the streamed items.
    pub(crate) retain_items: bool,
    pub(crate) sink: Option<&'r Sink<'r>>,
    /// The place of the streamed item that this value is.
    pub(crate) position: Option<&'r Position<'r>>,
}

/// The part of a value that is streamed, item by item.
#[derive(Clone, Copy)]
pub(crate) enum Stream {
    Nothing,
    /// The lists under these keys of an object, the first time that each key is given.
    Under([Option<&'static str>; 2]),
    /// The items of this list.
    Items,
    /// Contents of `items` of this streamed item.
    Opened,
    /// The items of this list that have a kind.
    OpenedItems,
}

impl<'r> ReadMode<'r> {
    pub(crate) fn whole() -> Self {
        Self { retain: true, stream: Stream::Nothing, retain_items: true, sink: None, position: None }
    }

    /// Returns the mode for the value of an object's key.
    pub(crate) fn of_key(&mut self, key: &str) -> Self {
        let stream = match self.stream {
            Stream::Under(mut wanted) => match wanted.iter_mut().find(|wanted| **wanted == Some(key)) {
                Some(found) => {
                    *found = None;
                    self.stream = Stream::Under(wanted);
                    Stream::Items
                }
                None => Stream::Nothing,
            },
            Stream::Opened if key == ITEMS => {
                self.stream = Stream::Nothing;
                Stream::OpenedItems
            }
            _ => Stream::Nothing,
        };
        Self { stream, ..*self }
    }

    /// Returns the position of item `index` of a list.
    pub(crate) fn position_of(self, index: usize) -> Position<'r> {
        Position { within: self.position, index }
    }

    /// Returns the mode for an item of a list, at this position.
    pub(crate) fn of_item<'p>(self, position: &'p Position<'p>) -> ReadMode<'p>
    where
        'r: 'p,
    {
        let (stream, retain) = match self.stream {
            Stream::Items => (Stream::Opened, self.retain_items),
            Stream::OpenedItems => (Stream::Opened, self.retain),
            _ => (Stream::Nothing, self.retain),
        };
        ReadMode { retain, stream, position: Some(position), ..self }
    }

    /// Adds an item to the list, or passes it to the consumer.
    pub(crate) fn put_item(self, position: &Position<'_>, item: Value, items: &mut Vec<Value>) {
        let is_streamed = match self.stream {
            Stream::Items => true,
            Stream::OpenedItems => item.has_kind(),
            _ => false,
        };
        if let Some(sink) = self.sink.filter(|_| is_streamed) {
            sink(position, item);
            // The place of an opened item is kept, so that the others keep theirs.
            if matches!(self.stream, Stream::OpenedItems) {
                items.push(Value::Null);
            }
        } else if self.retain {
            items.push(item);
        }
    }

    pub(crate) fn text(self, text: &str) -> Value {
        match self.retain {
            true => Value::Text(text.to_owned()),
            false => Value::Null,
        }
    }
}

impl<'de> DeserializeSeed<'de> for ReadMode<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ReadMode<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from_whole(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(Box::new(Number::Whole(value))))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from_f64(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(self.text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        // For the most there is one.
        let mut items = Vec::with_capacity(usize::from(self.retain));
        for index in 0.. {
            let position = self.position_of(index);
            let Some(item) = list.next_element_seed(self.of_item(&position))? else { break };
            self.put_item(&position, item, &mut items);
        }
        // Policies are small objects by the thousand: room for more would be most of the memory.
        items.shrink_to_fit();
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<Value, A::Error> {
        let mut entries = Vec::with_capacity(usize::from(self.retain));
        // Of what is not kept only a key that is looked for matters.
        let key = Self { retain: self.retain || matches!(self.stream, Stream::Under(_)), ..ReadMode::whole() };
        while let Some(key) = object.next_key_seed(key)? {
            let key = match key {
                Value::Text(key) => key,
                _ => String::new(),
            };
            let value = object.next_value_seed(self.of_key(&key))?;
            if self.retain {
                entries.push((key, value));
            }
        }
        entries.shrink_to_fit();
        Ok(Value::Object(entries))
    }
}
