//! Tests whether one pattern, list or rule matches all that another matches.

use crate::lints::policy::{blocks, texts};
use crate::tree::Node;

/// Reports whether every value that `inner` matches is one that `outer` matches. False negatives are possible.
pub(crate) fn covers_pattern(outer: &str, inner: &str) -> bool {
    if outer == inner || outer == "*" {
        return true;
    }
    let plain = |text: &str| !text.contains('*');
    match (outer.strip_suffix('*'), outer.strip_prefix('*')) {
        (Some(prefix), _) if plain(prefix) && !prefix.contains('{') => {
            let start = inner.strip_suffix('*').unwrap_or(inner);
            plain(start) && !start.contains('{') && start.starts_with(prefix)
        }
        (_, Some(suffix)) if plain(suffix) => {
            let end = inner.strip_prefix('*').unwrap_or(inner);
            plain(end) && end.ends_with(suffix)
        }
        _ => false,
    }
}

/// Reports whether one of `outer` takes in each of `inner`.
pub(crate) fn covers_list(outer: &[&str], inner: &[&str]) -> bool {
    inner.iter().all(|inner| outer.iter().any(|outer| covers_pattern(outer, inner)))
}

/// Reports whether whatever a rule matches is matched by the other. False negatives are possible.
pub(crate) fn covers_rule(outer: &Node, inner: &Node) -> bool {
    covers_blocks(outer, inner, "from", "source")
        && covers_blocks(outer, inner, "to", "operation")
        && covers_conditions(outer, inner)
}

fn covers_blocks(outer: &Node, inner: &Node, list: &str, key: &'static str) -> bool {
    if outer.get(list).is_none() {
        return true;
    }
    let mut inner = blocks(inner, list, key).peekable();
    inner.peek().is_some() && inner.all(|inner| blocks(outer, list, key).any(|outer| covers_block(outer, inner)))
}

/// Reports whether a source or an operation takes in another: what it asks for, the other asks for, and no more widely.
fn covers_block(outer: &Node, inner: &Node) -> bool {
    outer.entries().iter().all(|entry| {
        let key = entry.key.as_str();
        let (outer, inner) = (texts(outer, key), texts(inner, key));
        if inner.is_empty() {
            return false;
        }
        match key.starts_with("not") {
            true => covers_list(&inner, &outer),
            false => covers_list(&outer, &inner),
        }
    })
}

fn covers_conditions(outer: &Node, inner: &Node) -> bool {
    let inner = rule_conditions(inner);
    rule_conditions(outer).iter().all(|outer| {
        inner.iter().any(|inner| {
            let (outer_values, inner_values) = (texts(outer, "values"), texts(inner, "values"));
            let (outer_nots, inner_nots) = (texts(outer, "notValues"), texts(inner, "notValues"));
            outer.text_at(&["key"]) == inner.text_at(&["key"])
                && (outer_values.is_empty() || !inner_values.is_empty() && covers_list(&outer_values, &inner_values))
                && (outer_nots.is_empty() || covers_list(&inner_nots, &outer_nots))
        })
    })
}

fn rule_conditions(rule: &Node) -> &[Node] {
    rule.get("when").map_or(&[], Node::items)
}
