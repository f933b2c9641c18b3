//! Configurations as a proxy hands them over: JSON, or the wire form of a `google.protobuf.Struct`.

pub(crate) mod canonical;
pub(crate) mod position;
pub(crate) mod protobuf_struct;
mod read_mode;
pub(crate) mod struct_view;
mod yaml_text;

use std::cell::Cell;

use serde::de::DeserializeSeed;

use crate::config::diagnostics::{ConfigError, ConfigErrors};
use crate::config::document::position::Position;
use crate::config::document::read_mode::{ReadMode, Stream};
use crate::config::document::yaml_text::is_yaml;
use crate::config::error_code::ErrorCode;
use crate::config::value::Value;

impl Value {
    /// Reads a plugin configuration as Envoy hands it over: the JSON text (RFC 8259) of a `StringValue` or
    /// `BytesValue`, or the wire form of a `google.protobuf.Struct`. Fails on anything that is neither.
    ///
    /// The two cannot be taken for each other: the wire form of an object with a key holds bytes that JSON forbids.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ConfigErrors> {
        read(bytes, &ReadMode::whole).map(|(document, _)| document)
    }

    /// Reads a configuration without the items of the list under `key`, which are checked, and read one by one later.
    ///
    /// An item with a list of its own under `items`, as a Kubernetes `List` has, is opened: those of its items that have
    /// a `kind` come one by one as well, before it, and are null where they stood.
    pub(crate) fn parse_streaming<'b>(
        bytes: &'b [u8],
        key: &'static str,
    ) -> Result<(Self, StreamedList<'b>), ConfigErrors> {
        let (document, form, count) = read_apart(bytes, [Some(key), None])?;
        Ok((document, StreamedList { bytes, key, form, count }))
    }

    /// Reads a configuration without the items of two lists.
    pub(crate) fn parse_streaming_two<'b>(
        bytes: &'b [u8],
        keys: [&'static str; 2],
    ) -> Result<(Self, [StreamedList<'b>; 2]), ConfigErrors> {
        let (document, form, _) = read_apart(bytes, keys.map(Some))?;
        let lists = keys.map(|key| {
            let list = StreamedList { bytes, key, form, count: 0 };
            let count = Cell::new(0);
            list.each(&|position, _| count.set(count.get() + usize::from(position.within.is_none())));
            StreamedList { count: count.get(), ..list }
        });
        Ok((document, lists))
    }

    /// Reads a JSON text, or `None` where it is none.
    pub(crate) fn of_json(json: &[u8]) -> Option<Self> {
        read_json(json, ReadMode::whole()).ok()
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
    /// Returns the number of items, without those of opened items; 0 if there is no such list.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Reads them one after the other; `sink` gets each before the next one is read.
    pub(crate) fn each(&self, sink: &dyn Fn(&Position<'_>, Value)) {
        let reading = ReadMode {
            retain: false,
            stream: Stream::Under([Some(self.key), None]),
            sink: Some(sink),
            ..ReadMode::whole()
        };
        // It was read before, and is the same.
        let _nothing = match self.form {
            Form::Json => read_json(self.bytes, reading).ok(),
            Form::Struct => protobuf_struct::read_struct(self.bytes, reading),
        };
    }
}

/// Encoding of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Struct,
}

/// Reads a configuration without the items under `keys`, which are checked and counted.
fn read_apart(bytes: &[u8], keys: [Option<&'static str>; 2]) -> Result<(Value, Form, usize), ConfigErrors> {
    let count = Cell::new(0);
    let counting = |_: &Position<'_>, _| count.set(count.get() + 1);
    let (document, form) = read(bytes, &|| {
        count.set(0);
        ReadMode { stream: Stream::Under(keys), retain_items: false, sink: Some(&counting), ..ReadMode::whole() }
    })?;
    Ok((document, form, count.get()))
}

fn read<'r>(bytes: &[u8], reading: &dyn Fn() -> ReadMode<'r>) -> Result<(Value, Form), ConfigErrors> {
    let refused =
        |problem: String| Err(ConfigErrors::of(ConfigError::new("", problem).with_code(ErrorCode::Unreadable)));
    if bytes.is_empty() {
        return refused(
            "the filter has no configuration, give it one as a google.protobuf.Struct or StringValue".to_owned(),
        );
    }
    match read_json(bytes, reading()) {
        Ok(document) => Ok((document, Form::Json)),
        Err(error) => match protobuf_struct::read_struct(bytes, reading()) {
            Some(document) => Ok((document, Form::Struct)),
            None if is_yaml(bytes) => refused(
                "the configuration is YAML, and a google.protobuf.StringValue has to hold JSON; give it as a google.protobuf.Struct, whose value can be written as YAML, or convert it to JSON".to_owned(),
            ),
            None => refused(format!("the configuration is not valid JSON: {error}")),
        },
    }
}

fn read_json(bytes: &[u8], reading: ReadMode<'_>) -> serde_json::Result<Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let document = reading.deserialize(&mut deserializer)?;
    deserializer.end().map(|()| document)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::Number;

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

    /// Splits a configuration into the rest and the items under `list`.
    fn apart(bytes: &[u8]) -> Result<(Value, Vec<Value>), ConfigErrors> {
        let (document, items) = Value::parse_streaming(bytes, "list")?;
        let read = std::cell::RefCell::new(Vec::new());
        items.each(&|_, item| read.borrow_mut().push(item));
        Ok((document, read.into_inner()))
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
                assert_eq!(
                    apart(&crate::test_support::protobuf_writer::structure(&structure)),
                    Ok(expected),
                    "{json} as a Struct"
                );
            }
        }
    }

    #[test]
    fn the_items_of_an_item_come_before_it_with_their_places() {
        let json = r#"{"list": [
            {"items": [{"kind": "A"}, {"a": 1}, null, {"items": [{"kind": "B"}], "kind": "L"}, {"kind": null}], "kind": "L"},
            {"kind": "C", "b": {"items": [{"kind": "D"}]}}
        ]}"#;
        let expected = [
            ("[0].items[0]", r#"{"kind": "A"}"#),
            ("[0].items[3].items[0]", r#"{"kind": "B"}"#),
            ("[0].items[3]", r#"{"items": [null], "kind": "L"}"#),
            ("[0]", r#"{"items": [null, {"a": 1}, null, null, {"kind": null}], "kind": "L"}"#),
            ("[1]", r#"{"kind": "C", "b": {"items": [{"kind": "D"}]}}"#),
        ];
        let expected = expected.map(|(place, json)| (place.to_owned(), Value::parse(json.as_bytes()).expect("JSON")));
        let structure = crate::test_support::protobuf_writer::structure(&Value::parse(json.as_bytes()).expect("JSON"));
        for bytes in [json.as_bytes(), &structure] {
            let (_, items) = Value::parse_streaming(bytes, "list").expect("a configuration");
            let read = std::cell::RefCell::new(Vec::new());
            items.each(&|position, item| read.borrow_mut().push((position.to_string(), item)));
            assert_eq!(read.into_inner(), expected);
            assert_eq!(items.count(), 2);
        }
    }

    #[test]
    fn yaml_is_told_from_broken_json() {
        let refusal = Value::parse(b"resources:\n- kind: AuthorizationPolicy\n").err();
        assert_eq!(
            refusal.map(|refusal| refusal.to_string()).as_deref(),
            Some(
                "the configuration is YAML, and a google.protobuf.StringValue has to hold JSON; give it as a google.protobuf.Struct, whose value can be written as YAML, or convert it to JSON"
            )
        );
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
        for bytes in [&b"resources"[..], b"\n", b"\n\x03abc", b"{\"a\": }", b"\xff\xfe"] {
            let refusal = Value::parse(bytes).err().map(|refusal| refusal.to_string()).unwrap_or_default();
            assert!(refusal.starts_with("the configuration is not valid JSON: "), "{refusal}");
        }
    }
}
