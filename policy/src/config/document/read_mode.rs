//! Modes of reading a configuration: as a whole, or with the items of one list streamed.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::config::value::{Number, Value};

/// Mode in which a value is read.
#[derive(Clone, Copy)]
pub(crate) struct ReadMode<'r> {
    /// True if the value is kept; otherwise it is only checked, and read as null.
    pub(crate) retain: bool,
    pub(crate) stream: Stream,
    /// Same as `retain`, for the streamed items.
    pub(crate) retain_items: bool,
    /// The consumer of the streamed items.
    pub(crate) sink: Option<&'r dyn Fn(Value)>,
}

/// The part of a value that is streamed, item by item.
#[derive(Clone, Copy)]
pub(crate) enum Stream {
    Nothing,
    /// The list under this key of an object, the first time that the key is given.
    Under(&'static str),
    /// The items of this list.
    Items,
}

impl ReadMode<'_> {
    pub(crate) fn whole() -> Self {
        Self { retain: true, stream: Stream::Nothing, retain_items: true, sink: None }
    }

    /// Returns the mode for the value of an object's key.
    pub(crate) fn of_key(&mut self, key: &str) -> Self {
        let stream = match self.stream {
            Stream::Under(wanted) if wanted == key => {
                self.stream = Stream::Nothing;
                Stream::Items
            }
            _ => Stream::Nothing,
        };
        Self { stream, ..*self }
    }

    /// Returns the mode for an item of a list.
    pub(crate) fn of_item(self) -> Self {
        match self.stream {
            Stream::Items => Self { retain: self.retain_items, stream: Stream::Nothing, ..self },
            _ => Self { stream: Stream::Nothing, ..self },
        }
    }

    /// Adds an item to the list, or passes it to the consumer.
    pub(crate) fn put_item(self, item: Value, items: &mut Vec<Value>) {
        match self.stream {
            Stream::Items => {
                if let Some(sink) = self.sink {
                    sink(item);
                }
            }
            _ if self.retain => items.push(item),
            _ => {}
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
        while let Some(item) = list.next_element_seed(self.of_item())? {
            self.put_item(item, &mut items);
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
