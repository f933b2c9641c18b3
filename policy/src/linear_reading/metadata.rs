//! Patterns for dynamic metadata and for claims of a token.

use crate::authz::fields::metadata::MetadataPattern;
use crate::authz::fields::request_principal::RequestPrincipalPattern;
use crate::config::value::{Number, Value};
use crate::linear_reading::matches::Matches;
use crate::matcher::clause::Quantifier;
use crate::matcher::string_pattern::StringPattern;

/// A value of a filter's metadata: a pattern in brackets is for an element of a list, another for a text.
impl Matches<Value> for MetadataPattern {
    fn matches(&self, value: &Value) -> bool {
        let pattern = self.to_string();
        match (value, pattern.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'))) {
            (Value::Text(text), None) => matches_text(&pattern, text),
            (Value::List(items), Some(element)) => {
                items.iter().filter_map(Value::as_str).any(|text| matches_text(element, text))
            }
            _ => false,
        }
    }
}

fn matches_text(pattern: &str, text: &str) -> bool {
    !text.is_empty() && StringPattern::new(pattern).matches(text.as_bytes())
}

/// Reports whether one of the patterns matches one of a claim's elements. A number that has no exact value equals every pattern
/// of a rule that denies, and none of a rule that allows.
pub(crate) fn lists_claim(patterns: &[MetadataPattern], value: &Value, of: Quantifier, is_words: bool) -> bool {
    let elements: Vec<Value> = match value {
        Value::List(items) => items.clone(),
        Value::Text(text) if is_words => text.split(' ').map(|word| Value::Text(word.to_owned())).collect(),
        one => vec![one.clone()],
    };
    elements.iter().any(|element| {
        let digits = match element {
            Value::Text(text) => text.clone(),
            Value::Bool(true) => "true".to_owned(),
            Value::Bool(false) => "false".to_owned(),
            Value::Number(number) => match **number {
                Number::Whole(number @ ..=9_007_199_254_740_991) => number.to_string(),
                Number::Negative(number @ -9_007_199_254_740_991..) => number.to_string(),
                Number::NonInteger => return false,
                _ => return of == Quantifier::Any,
            },
            _ => return false,
        };
        patterns.iter().any(|pattern| matches_text(&pattern.to_string(), &digits))
    })
}

/// A token's issuer and subject, of which the last slash of a pattern separates the two. A pattern with further stars is
/// compared with both as one text.
impl Matches<(&str, &str)> for RequestPrincipalPattern {
    fn matches(&self, (issuer, subject): &(&str, &str)) -> bool {
        let pattern = self.to_string();
        if let StringPattern::Glob(_) = StringPattern::new(&pattern) {
            return StringPattern::new(&pattern).matches(format!("{issuer}/{subject}").as_bytes());
        }
        let separated = match pattern.rsplit_once('/') {
            Some((issuer, subject)) => format!("{issuer}\0{subject}"),
            None => pattern,
        };
        StringPattern::new(&separated).matches(format!("{issuer}\0{subject}").as_bytes())
    }
}
