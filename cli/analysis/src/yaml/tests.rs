//! The same values and positions as `serde-saphyr`, whose data model is another reading of the parser's events.

use std::fmt;
use std::fs;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Location, Spanned};

use super::*;
use crate::documents::read_documents;
use crate::source::Source;

/// Reads a document by `serde-saphyr`.
fn read_other(text: &str) -> Result<Node, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_events: usize::MAX,
            max_nodes: usize::MAX,
            max_recorded_anchor_events: text.len() + MAX_RECORDED,
            max_total_scalar_bytes: text.len() + MAX_REPEATED.bytes,
            max_reader_input_bytes: None,
            max_aliases: usize::MAX,
            max_anchors: usize::MAX,
            max_merge_keys: usize::MAX,
            enforce_alias_anchor_ratio: false,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        null_as_string: true,
        with_snippet: false,
        emit_comments: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())
}

/// Compares what both readers make of a text. Returns whether it can be read.
fn agree(name: &str, text: &str) -> bool {
    let (own, other) = (read_document(text), read_other(text));
    let shown = |node: &Node| format!("{node:?}");
    match (&own, &other) {
        (Ok(own), Ok(other)) => assert_eq!(shown(own), shown(other), "{name}\n{text}"),
        (Err(_), Err(_)) => {}
        // Keys of base64 are refused here.
        (Err(_), Ok(_)) if text.starts_with("!!binary") && text.ends_with(": b") => {}
        _ => panic!("{name}\n{text}\n{own:?}\n{other:?}"),
    }
    own.is_ok()
}

/// Adds the YAML files of the repository below a folder.
fn collect(folder: &Path, texts: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" && name != "dist" {
            collect(&path, texts);
        } else if [".yaml", ".yml", ".json"].iter().any(|ending| name.ends_with(ending)) {
            texts.push((path.display().to_string(), fs::read_to_string(&path).expect("a text")));
        }
    }
}

#[test]
fn documents_of_this_repository_and_broken_ones_of_them_read_alike() {
    let mut texts = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."), &mut texts);
    let documents = texts
        .iter()
        .flat_map(|(name, text)| crate::documents::parts(text).into_iter().map(move |(_, part)| (name, part)));
    let (mut whole, mut readable, mut broken) = (0, 0, 0);
    for (name, part) in documents.filter(|(_, part)| part.len() < 10_000) {
        whole += usize::from(agree(name, part));
        // The same with a character left out, here and there.
        for at in (0..part.len()).step_by(part.len() / 5 + 1).filter(|at| part.is_char_boundary(*at)) {
            let rest = part.get(at..).and_then(|rest| rest.chars().next());
            let after = at + rest.map_or(0, char::len_utf8);
            match agree(name, &format!("{}{}", &part[..at], &part[after..])) {
                true => readable += 1,
                false => broken += 1,
            }
        }
    }
    assert!(whole > 300 && readable > 500 && broken > 50, "{whole} {readable} {broken}");
}

#[test]
fn scalars_read_alike() {
    let words = "~ null Null NULL nUll true True yes y Y on ON no N off False t 0 1 -1 +1 00 010 -010 +010 0x1f 0X1f -0x1f 0o17 0b11 0b2 0x \
                 0xfffffffffffffffff 18446744073709551615 18446744073709551616 -9223372036854775808 -9223372036854775809 1_000 1__0 _1 1_ \
                 0x_1 0x1_f 1.5 -1.5 +1.5 1. .5 -.5 1e3 1E3 1e-3 1e999 -1e999 .inf -.inf +.Inf .INF .nan -.nan +.NaN inf nan infinity \
                 -infinity 1.2.3 10.0.0.0/8 1:30 12:30:45 2001-12-14 0.1 1e e1 - -- -a .a . .. ? < > = <= ! | 0x+1 0o-7 1,000 0u8 é 08 09 \
                 0o8 -0 +0 -0.0 0_1 1.0_0 .5e999 1.e2 1e+2 1e+ 00.5 -00.5e1 3.14159 2.5e-7 y1 n1 <<";
    let tags = [
        "",
        "!!str ",
        "!!int ",
        "!!float ",
        "!!bool ",
        "!!null ",
        "! ",
        "!own ",
        "!int ",
        "!!binary ",
        "!!timestamp ",
        "!!set ",
    ];
    let mut count = 0;
    for word in words.split_whitespace() {
        for tag in tags {
            for quote in ["", "'", "\""] {
                let value = format!("{tag}{quote}{word}{quote}");
                for text in [value.clone(), format!("a: {value}"), format!("- {value}"), format!("{value}: b")] {
                    count += usize::from(agree("scalar", &text));
                }
            }
        }
    }
    assert!(count > 5000, "{count}");
}

/// Documents with what plain ones do not have.
const DOCUMENTS: &[&str] = &[
    "",
    "~",
    "# only a comment",
    "a:",
    "a:\nb:",
    "- \n- a",
    "? a\n: b",
    "? [a]\n: b",
    "{a, b: c}",
    "[a: b]",
    "{a: , : b}",
    "a: |\n  x\n  y\n",
    "a: >-\n  x\n  y\n\n  z\nb: 1",
    "a: |+\n  x\n\n",
    "a: |2\n   x\n",
    "a: 'it''s'",
    "a: \"x\\ty\\u00e9\"",
    "a: &x b\nc: *x",
    "a: &x [1, 2]\nb: [*x, *x]",
    "a: &x {b: &y 1, c: *y}\nd: *x",
    "a: &x [*x]",
    "a: *x",
    "&a b: *a",
    "a: &x {b: 1}\nc:\n  <<: *x\n  d: 2",
    "c:\n  d: 2\n  <<: {b: 1, d: 3}",
    "<<: [{a: 1}, {a: 2, b: 3}]",
    "<<: 1",
    "<<: ~\na: b",
    "<<: {<<: {a: 1, b: 2}, a: 3}",
    "<<: [[{a: 1}]]",
    "'<<': {a: 1}",
    "!!merge <<: {a: 1}",
    "a: 1\na: 2",
    "a: 1\na: 2\n<<: {a: 3, b: 4, b: 5}",
    "<<: {a: 1}\n<<: {a: 2, b: 3}",
    "!!map {a: b}",
    "!!seq [a]",
    "!!seq {a: b}",
    "!!map [a]",
    "!!str [a]",
    "!!set {a, b}",
    "!own {a: !own b}",
    "%YAML 1.2\n---\na: b",
    "%TAG !e! tag:example.com,2000:\n---\na: !e!x b",
    "--- a",
    "---\na: b\n...\n",
    "--- |\n x\n",
    "\u{feff}a: b\nc: ü",
    "a: \u{feff}b",
    "a: b\r\nc: d\r\n",
    "a: 'x\n  y'",
    "a: x\n  y\n  z",
    "\ta: b",
    "a:\tb",
    "a: b # c",
    "a: b#c",
    "{a: b",
    "[a",
    "a: b: c",
    "a: @b",
    "a: `b",
    "a: %b",
    "a: \"\\x\"",
    "- a\nb: c",
    "a: [\n]\nb: {\n}",
    "{\"a\": [1, 2.5, true, null, \"x\"]}",
    "1: a\ntrue: b\n~: c\n1.5: d\n'': e",
    "a: &x 10\n*x : b",
    "a: &x b\n*x : c",
    "? |\n  a\n: b",
    "!!int 1: a",
    "a: !!binary aGk=",
    "a: !!binary |\n  aGVs\n  bG8=\n",
    "a: !!binary /w==",
    "a: &x\nb: *x",
    "a: &x !!str 1\nb: *x",
    "a: !<tag:yaml.org,2002:int> 5",
    "a: !",
    "a: !!str",
    "a: !!null x",
    "a\u{85}b: c",
    "a: b\u{2028}c",
];

#[test]
fn what_yaml_has_beside_plain_documents_reads_alike() {
    let readable = DOCUMENTS.iter().filter(|text| agree("row", text)).count();
    assert!(readable > 60, "{readable} of {}", DOCUMENTS.len());
}

#[test]
fn limits_are_said_and_hold_where_they_are() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(read_document(&nested(MAX_DEPTH)).is_ok());
    for text in
        [nested(MAX_DEPTH + 1), "- ".repeat(MAX_DEPTH + 1), format!("{}1{}", "{a: ".repeat(101), "}".repeat(101))]
    {
        let error = read_document(&text).expect_err("too deep");
        assert!(error.is_limit && error.message == "it is nested deeper than 100 levels", "{error:?}");
    }
    // An alias brings the depth of what it repeats.
    let text = format!("a: &x {}\nb: {}*x{}", nested(60), "[".repeat(50), "]".repeat(50));
    assert!(read_document(&text).expect_err("too deep").is_limit);
    let error = read_document(&format!("a: &a [{}]\nb: [{}]\n", "x, ".repeat(1000), "*a, ".repeat(1000)));
    assert_eq!(error.expect_err("too much").message, "aliases repeat too much");
    let anchors: String = (0..90).map(|index| format!("&a{index} [")).collect();
    let error = read_document(&format!("{anchors}{}{}", "x, ".repeat(20_000), "]".repeat(90)));
    assert_eq!(error.expect_err("too much").message, "anchors within anchors hold too much");
    let source = Source::new("a.yaml", "a: *b");
    let (_, findings) = read_documents(0, &source);
    let said: Vec<&str> = findings.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(said, ["this is neither YAML nor JSON: while parsing node, found unknown anchor"]);
}

fn span_of(location: &Location) -> Span {
    let span = location.span();
    let start = span.byte_offset().unwrap_or_default();
    let end = start + span.byte_len().unwrap_or_default();
    Span { source: 0, start: usize::try_from(start).unwrap_or_default(), end: usize::try_from(end).unwrap_or_default() }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, defined, .. } = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { value, span: span_of(&defined) })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Whole(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Whole(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = object.next_key::<Spanned<String>>()? {
            let value = object.next_value()?;
            entries.push(Entry { key_span: span_of(&key.defined), key: key.value, value });
        }
        Ok(Value::Object(entries))
    }
}
