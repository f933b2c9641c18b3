//! The configuration as it was written: a JSON tree that keeps what a map would lose.

pub(crate) mod protobuf_struct;

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::config::diagnostics::{ConfigError, ConfigErrors};

/// A JSON value. Objects keep their entries in order and keep repeated keys, so that a key that is given twice
/// is reported and not quietly decided by the last one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// Rare, and by itself larger than all others.
    Number(Box<Number>),
    Text(String),
    List(Vec<Value>),
    Object(Vec<(String, Value)>),
}

/// A number of a configuration. Nothing there takes one that is not whole, so of that no more is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    Whole(u64),
    Negative(i64),
    /// With a fraction.
    NonInteger,
    /// Whole, and beyond what a double tells apart, or infinite: which number was meant cannot be known.
    Inexact,
}

impl Value {
    /// Reads a plugin configuration as Envoy hands it over: the JSON text (RFC 8259) of a `StringValue` or
    /// `BytesValue`, or the wire form of a `google.protobuf.Struct`. Fails on anything that is neither.
    ///
    /// The two cannot be taken for each other: the wire form of an object with a key holds bytes that JSON forbids.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ConfigErrors> {
        read(bytes, &Reading::whole).map(|(document, _)| document)
    }

    /// The same, of which the list under `key` stays empty: its items are checked, and read one by one later.
    pub(crate) fn parse_streaming<'b>(
        bytes: &'b [u8],
        key: &'static str,
    ) -> Result<(Self, StreamedList<'b>), ConfigErrors> {
        let count = Cell::new(0);
        let counting = |_| count.set(count.get() + 1);
        let (document, form) = read(bytes, &|| {
            count.set(0);
            Reading { kept: true, apart: Stream::Under(key), items_kept: false, take: Some(&counting) }
        })?;
        Ok((document, StreamedList { bytes, key, form, count: count.get() }))
    }

    /// Reads a JSON text, or `None` where it is none.
    pub(crate) fn of_json(json: &[u8]) -> Option<Self> {
        read_json(json, Reading::whole()).ok()
    }

    /// JSON and protobuf have one kind of number: 403.0 is 403.
    fn from_f64(value: f64) -> Self {
        /// Up to here every whole number is a double of its own.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match value.fract() == 0.0 && value.abs() <= EXACT {
            true => {
                #[expect(clippy::cast_possible_truncation, reason = "whole, and far within the range of i64")]
                let whole = value as i64;
                Self::from_whole(whole)
            }
            false => {
                let is_fraction = value.is_finite() && value.fract() != 0.0;
                Self::Number(Box::new(if is_fraction { Number::NonInteger } else { Number::Inexact }))
            }
        }
    }

    fn from_whole(value: i64) -> Self {
        Self::Number(Box::new(u64::try_from(value).map_or(Number::Negative(value), Number::Whole)))
    }

    /// Its text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What it is, in the words of someone who writes YAML.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

/// The items of a list that [`Value::parse_streaming`] has left out. The trees of all of them at once would be most of the
/// memory that a configuration takes, and the memory of a VM never shrinks.
pub(crate) struct StreamedList<'b> {
    bytes: &'b [u8],
    key: &'static str,
    form: Form,
    count: usize,
}

impl StreamedList<'_> {
    /// How many there are: none where there is no such list.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Reads them one after the other; `take` has each before the next one is read.
    pub(crate) fn each(&self, take: &dyn Fn(Value)) {
        let reading = Reading { kept: false, apart: Stream::Under(self.key), items_kept: true, take: Some(take) };
        // It was read before, and is the same.
        let _nothing = match self.form {
            Form::Json => read_json(self.bytes, reading).ok(),
            Form::Struct => protobuf_struct::read_struct(self.bytes, reading),
        };
    }
}

/// What a configuration is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Struct,
}

fn read<'r>(bytes: &[u8], reading: &dyn Fn() -> Reading<'r>) -> Result<(Value, Form), ConfigErrors> {
    let refused = |problem: String| Err(ConfigErrors::of(ConfigError::new("", problem)));
    if bytes.is_empty() {
        return refused(
            "the filter has no configuration, give it one as a google.protobuf.Struct or StringValue".to_owned(),
        );
    }
    match read_json(bytes, reading()) {
        Ok(document) => Ok((document, Form::Json)),
        Err(error) => match protobuf_struct::read_struct(bytes, reading()) {
            Some(document) => Ok((document, Form::Struct)),
            None => refused(format!("the configuration is not valid JSON: {error}")),
        },
    }
}

fn read_json(bytes: &[u8], reading: Reading<'_>) -> serde_json::Result<Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let document = reading.deserialize(&mut deserializer)?;
    deserializer.end().map(|()| document)
}

/// How a value is read.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'r> {
    /// Whether a tree is made of it; otherwise it is checked, and comes out as null.
    kept: bool,
    apart: Stream,
    /// The same as `kept`, for the items that are apart.
    items_kept: bool,
    /// What has the items that are apart.
    take: Option<&'r dyn Fn(Value)>,
}

/// What of a value is given away, item by item.
#[derive(Clone, Copy)]
enum Stream {
    Nothing,
    /// Of an object what is under this key, the first time that it is given.
    Under(&'static str),
    /// Of a list the items.
    StreamedList,
}

impl Reading<'_> {
    fn whole() -> Self {
        Self { kept: true, apart: Stream::Nothing, items_kept: true, take: None }
    }

    /// How the value of a key of an object is read.
    fn of_key(&mut self, key: &str) -> Self {
        let apart = match self.apart {
            Stream::Under(wanted) if wanted == key => {
                self.apart = Stream::Nothing;
                Stream::StreamedList
            }
            _ => Stream::Nothing,
        };
        Self { apart, ..*self }
    }

    /// How an item of a list is read.
    fn of_item(self) -> Self {
        match self.apart {
            Stream::StreamedList => Self { kept: self.items_kept, apart: Stream::Nothing, ..self },
            _ => Self { apart: Stream::Nothing, ..self },
        }
    }

    /// Puts an item where it belongs.
    fn put_item(self, item: Value, items: &mut Vec<Value>) {
        match self.apart {
            Stream::StreamedList => {
                if let Some(take) = self.take {
                    take(item);
                }
            }
            _ if self.kept => items.push(item),
            _ => {}
        }
    }

    fn text(self, text: &str) -> Value {
        match self.kept {
            true => Value::Text(text.to_owned()),
            false => Value::Null,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
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
        let mut items = Vec::with_capacity(usize::from(self.kept));
        while let Some(item) = list.next_element_seed(self.of_item())? {
            self.put_item(item, &mut items);
        }
        // Policies are small objects by the thousand: room for more would be most of the memory.
        items.shrink_to_fit();
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<Value, A::Error> {
        let mut entries = Vec::with_capacity(usize::from(self.kept));
        // Quantifier what is not kept only a key that is looked for matters.
        let key = Self { kept: self.kept || matches!(self.apart, Stream::Under(_)), ..Reading::whole() };
        while let Some(key) = object.next_key_seed(key)? {
            let key = match key {
                Value::Text(key) => key,
                _ => String::new(),
            };
            let value = object.next_value_seed(self.of_key(&key))?;
            if self.kept {
                entries.push((key, value));
            }
        }
        entries.shrink_to_fit();
        Ok(Value::Object(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_whole_where_they_can_be() {
        let rows = [
            ("403", Number::Whole(403)),
            ("403.0", Number::Whole(403)),
            ("-1", Number::Negative(-1)),
            ("18446744073709551615", Number::Whole(u64::MAX)),
            ("1.5", Number::NonInteger),
            ("1e300", Number::Inexact),
        ];
        for (text, expected) in rows {
            let written = Value::parse(text.as_bytes()).ok();
            assert_eq!(written, Some(Value::Number(Box::new(expected))), "{text}");
        }
    }

    /// What is left of a configuration when the items under `list` are apart, and those items.
    fn apart(bytes: &[u8]) -> Result<(Value, Vec<Value>), ConfigErrors> {
        let (document, items) = Value::parse_streaming(bytes, "list")?;
        let read = std::cell::RefCell::new(Vec::new());
        items.each(&|item| read.borrow_mut().push(item));
        let read = read.into_inner();
        assert_eq!(read.len(), items.count());
        Ok((document, read))
    }

    #[test]
    fn the_items_of_one_list_can_come_one_by_one() {
        let rows: [(&str, &str, &[&str]); 7] = [
            (
                r#"{"a": [1, {"list": [2]}], "list": [{"list": [3, null]}, "x", [true, 1.5]], "z": {"list": ["y"]}}"#,
                r#"{"a": [1, {"list": [2]}], "list": [], "z": {"list": ["y"]}}"#,
                &[r#"{"list": [3, null]}"#, r#""x""#, "[true, 1.5]"],
            ),
            (r#"{"list": [1], "list": [2]}"#, r#"{"list": [], "list": [2]}"#, &["1"]),
            (r#"{"list": {"list": [1]}}"#, r#"{"list": {"list": [1]}}"#, &[]),
            (r#"{"list": "x", "list": [2]}"#, r#"{"list": "x", "list": [2]}"#, &[]),
            (r#"{"list": []}"#, r#"{"list": []}"#, &[]),
            (r#"{"lists": [1]}"#, r#"{"lists": [1]}"#, &[]),
            (r#"["list", {"list": [1]}]"#, r#"["list", {"list": [1]}]"#, &[]),
        ];
        for (json, left, items) in rows {
            let parse = |json: &str| Value::parse(json.as_bytes()).expect("JSON");
            let expected = (parse(left), items.iter().map(|item| parse(item)).collect());
            assert_eq!(apart(json.as_bytes()).as_ref(), Ok(&expected), "{json}");
            if let structure @ Value::Object(_) = parse(json) {
                assert_eq!(apart(&protobuf_struct::writing::structure(&structure)), Ok(expected), "{json} as a Struct");
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_in_the_same_words_when_items_are_apart() {
        let json = r#"{"a": [1, "\u00e4\n"], "list": [{"b": [true, -1.5e3, null]}, "\ud83d\ude00"], "c": {}}"#;
        let deep = format!(r#"{{"list": [{}]}}"#, "[".repeat(200));
        let broken = [
            deep.as_str(),
            r#"{"list": [{"b": 01}]}"#,
            r#"{"list": ["\ud83d"]}"#,
            r#"{"list": [1e999]}"#,
            r#"{"list": [1,]}"#,
            r#"{"list": [{b: 1}]}"#,
            r#"{"list": [1]} x"#,
            "{\"list\": [\"\n\"]}",
        ];
        let cut = (0..json.len()).map(|end| &json.as_bytes()[..end]);
        let strange = [&b"{\"list\": [\"\xff\"]}"[..], b"{\"list\": [{\"\xff\": 1}]}"];
        for bytes in broken.into_iter().map(str::as_bytes).chain(cut).chain(strange) {
            let whole = Value::parse(bytes).map(|_| ()).expect_err("no JSON");
            assert_eq!(apart(bytes).map(|_| ()), Err(whole), "{}", bytes.escape_ascii());
        }
        assert!(apart(json.as_bytes()).is_ok());
    }

    #[test]
    fn what_is_neither_json_nor_a_struct_is_refused_as_json() {
        for bytes in [&b"resources: []"[..], b"\n", b"\n\x03abc", b"{\"a\": }", b"\xff\xfe"] {
            let refusal = Value::parse(bytes).err().map(|refusal| refusal.to_string()).unwrap_or_default();
            assert!(refusal.starts_with("the configuration is not valid JSON: "), "{refusal}");
        }
    }
}
