//! Values of scalars.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use granit_parser::{ScalarStyle, Tag};

use crate::tree::Value;

/// Namespace of the tags that are written `!!name`.
pub(super) const NAMESPACE: &str = "tag:yaml.org,2002:";

/// Returns the value of a scalar.
pub(super) fn value(text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let name = tag.and_then(name).unwrap_or_default();
    let no = |what: &str| format!("`{text}` is no {what}, as its tag has it");
    match &*name {
        "str" => Ok(Value::Text(text.into_owned())),
        "null" => Ok(Value::Null),
        "bool" => bool_of(trim(&text)).map(Value::Bool).ok_or_else(|| no("bool")),
        "int" => whole(&trim(&text).to_ascii_lowercase()).map(Value::Whole).ok_or_else(|| no("whole number")),
        "float" => float(trim(&text))?.map(Value::Float).ok_or_else(|| no("number")),
        "binary" => {
            let digits: String = text.chars().filter(|character| !character.is_ascii_whitespace()).collect();
            let bytes = STANDARD.decode(digits).map_err(|_| no("base64"))?;
            String::from_utf8(bytes).map(Value::Text).map_err(|_| "a value of !!binary is no text".to_owned())
        }
        "seq" | "map" | "timestamp" => Err(format!("a value of !!{name} is not read here")),
        _ if style == ScalarStyle::Plain => plain(text),
        _ => Ok(Value::Text(text.into_owned())),
    }
}

/// Reports whether a key with this tag stays the text that it is written as.
pub(super) fn is_text_key(tag: Option<&Tag>) -> bool {
    let name = tag.and_then(name).unwrap_or_default();
    !matches!(&*name, "null" | "bool" | "int" | "float" | "binary" | "seq" | "map" | "timestamp")
}

/// Returns the name of a tag, without its namespace; `str` for a lone `!`.
fn name(tag: &Tag) -> Option<Cow<'_, str>> {
    if let Some(name) = tag.suffix_in_namespace(NAMESPACE) {
        return Some(name);
    }
    // Local tags with a name of the core schema are taken for these.
    let local = tag.suffix_in_namespace("!")?;
    Some(if local.is_empty() { Cow::Borrowed("str") } else { local })
}

/// Returns the value of a scalar without quotes.
fn plain(text: Cow<'_, str>) -> Result<Value, String> {
    if matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
        return Ok(Value::Null);
    }
    let trimmed = trim(&text);
    if let Some(value) = bool_of(trimmed) {
        return Ok(Value::Bool(value));
    }
    let digits = unsigned(trimmed);
    // Neither version of YAML writes a base in capitals, or a sign before `.nan`.
    let is_text = matches!(digits.as_bytes(), [b'0', b'X' | b'O' | b'B', ..])
        || digits.len() < trimmed.len() && digits.eq_ignore_ascii_case(".nan");
    let number = match is_text {
        true => None,
        false => match whole(trimmed) {
            Some(number) => Some(Value::Whole(number)),
            None => float(trimmed)?.map(Value::Float),
        },
    };
    Ok(number.unwrap_or_else(|| Value::Text(text.into_owned())))
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n'])
}

/// Returns a number without its sign.
fn unsigned(text: &str) -> &str {
    text.strip_prefix(['+', '-']).unwrap_or(text)
}

fn bool_of(text: &str) -> Option<bool> {
    let is = |words: [&str; 4]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    // Few texts are as short.
    match text.len() <= 5 {
        true if is(["true", "yes", "y", "on"]) => Some(true),
        true if is(["false", "no", "n", "off"]) => Some(false),
        _ => None,
    }
}

/// Reads a whole number of 64 bits.
fn whole(text: &str) -> Option<i128> {
    let digits = unsigned(text);
    let (radix, digits) = match digits.split_at_checked(2) {
        Some(("0x", digits)) => (16, digits),
        Some(("0o", digits)) => (8, digits),
        Some(("0b", digits)) => (2, digits),
        _ if digits.starts_with('0') && digits != "0" => return None,
        _ => (10, digits),
    };
    let is_spaced = !digits.starts_with('_') && !digits.ends_with('_') && !digits.contains("__");
    if !is_spaced || digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = match digits.contains('_') {
        true => i128::from_str_radix(&digits.replace('_', ""), radix),
        false => i128::from_str_radix(digits, radix),
    };
    let magnitude = magnitude.ok()?;
    match text.starts_with('-') {
        true => i64::try_from(-magnitude).is_ok().then_some(-magnitude),
        false => u64::try_from(magnitude).is_ok().then_some(magnitude),
    }
}

/// Reads a number; the ones that are not finite have no meaning in policies.
fn float(text: &str) -> Result<Option<f64>, String> {
    let digits = unsigned(text);
    let not_finite = || Err(format!("`{text}` is no finite number"));
    if matches!(digits, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return not_finite();
    }
    let Some(number) = json_number(text) else { return Ok(None) };
    match serde_json::from_str::<f64>(&number) {
        Ok(number) if number.is_finite() => Ok(Some(number)),
        _ if digits.starts_with('.') => Ok(None),
        _ => not_finite(),
    }
}

/// Writes a decimal number as JSON has it, whose reader is there anyway: the one of the standard library brings a table of
/// 10 KB into the playground.
fn json_number(text: &str) -> Option<String> {
    let is_digits = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    let (number, exponent) = match unsigned(text).split_once(['e', 'E']) {
        Some((number, exponent)) => (number, Some(exponent)),
        None => (unsigned(text), None),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_exponent = |exponent: &str| !unsigned(exponent).is_empty() && is_digits(unsigned(exponent));
    let has_digits = !(whole.is_empty() && fraction.is_empty()) && is_digits(whole) && is_digits(fraction);
    if !has_digits || !exponent.is_none_or(is_exponent) {
        return None;
    }
    let sign = if text.starts_with('-') { "-" } else { "" };
    let whole = Some(whole.trim_start_matches('0')).filter(|whole| !whole.is_empty()).unwrap_or("0");
    let fraction = if fraction.is_empty() { "0" } else { fraction };
    Some(format!("{sign}{whole}.{fraction}e{}", exponent.unwrap_or("0")))
}
