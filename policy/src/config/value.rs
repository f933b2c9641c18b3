//! Values of a configuration: a JSON tree that keeps what a map would lose.

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
    /// Number with a fraction.
    NonInteger,
    /// Integer beyond the precision of a double, or infinite: the intended number is unknown.
    Inexact,
}

impl Value {
    /// JSON and protobuf have one kind of number: 403.0 is 403.
    pub(crate) fn from_f64(value: f64) -> Self {
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

    pub(crate) fn from_whole(value: i64) -> Self {
        Self::Number(Box::new(u64::try_from(value).map_or(Number::Negative(value), Number::Whole)))
    }

    /// Returns the string, if the value is one.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Reports whether the value is an object that says of which kind it is.
    pub(crate) fn has_kind(&self) -> bool {
        matches!(self, Self::Object(entries) if entries.iter().any(|(key, value)| key == "kind" && *value != Self::Null))
    }

    /// Returns the name of the value's type, as YAML users know it.
    pub(crate) fn type_name(&self) -> &'static str {
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
