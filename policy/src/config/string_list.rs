//! Lists of strings, each parsed by a function that returns its error.

use crate::config::reader::ConfigNode;

/// The most values of a list: more than any policy needs, and fewer than would fill the memory of the VM.
const MAX_VALUES: usize = 1_000_000;

/// Reads the strings of a list, each with `parse`, whose error is reported at the string's path.
pub(crate) fn read_values<P>(node: &ConfigNode<'_>, parse: impl Fn(&str) -> Result<P, String>) -> Option<Vec<P>> {
    read_listed(node, "to mean any", parse)
}

/// Reads a required list; `meaning` is what an absent key would mean, for the error.
pub(crate) fn read_listed<P>(
    node: &ConfigNode<'_>,
    meaning: &str,
    parse: impl Fn(&str) -> Result<P, String>,
) -> Option<Vec<P>> {
    let mut values = Vec::new();
    let complete = each_text(node, meaning, &mut |text| parse(text).map(|value| values.push(value)));
    // Lists of one are the most: room for more would be most of the memory.
    values.shrink_to_fit();
    complete.then_some(values)
}

/// Gives each string of a list to `take`; whether there were some and all were taken.
fn each_text(node: &ConfigNode<'_>, meaning: &str, take: &mut dyn FnMut(&str) -> Result<(), String>) -> bool {
    let Some(items) = node.non_empty_list(MAX_VALUES, meaning) else { return false };
    let mut complete = true;
    for item in items {
        match item.non_empty_str().map(&mut *take) {
            Some(Ok(())) => {}
            Some(Err(problem)) => {
                item.error(problem);
                complete = false;
            }
            None => complete = false,
        }
    }
    complete
}

/// Reads a list of strings, each of which can yield several values.
pub(crate) fn read_expanded<P>(
    node: &ConfigNode<'_>,
    parse: &dyn Fn(&str) -> Result<Vec<P>, String>,
) -> Option<Vec<P>> {
    let mut values = Vec::new();
    let complete = each_text(node, "to mean any", &mut |text| parse(text).map(|parsed| values.extend(parsed)));
    values.shrink_to_fit();
    complete.then_some(values)
}
