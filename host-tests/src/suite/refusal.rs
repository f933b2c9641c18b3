//! Lines with which a configuration is refused, as a case expects them.

use serde_json::Value;

use super::case::Case;

/// Tells whether a filter has refused the configuration of a case with the lines that it expects. A case leaves out the
/// name of the resource that a line is about: it is the one in the configuration.
pub(super) fn is_expected(case: &Case, lines: &[String]) -> bool {
    let expected = case.expect.refused.as_deref().unwrap_or_default();
    lines.len() == expected.len()
        && lines.iter().zip(expected).all(|(line, expected)| {
            let name = case.configuration.as_ref().and_then(|configuration| resource_of(configuration, expected));
            line == expected || name.is_some_and(|name| *line == format!("{name}: {expected}"))
        })
}

/// The namespace and name of the resource at the start of a path, as in `resources[2].items[0].spec`.
fn resource_of(configuration: &Value, path: &str) -> Option<String> {
    let (index, rest) = path.strip_prefix("resources[")?.split_once(']')?;
    let mut resource = configuration.get("resources")?.get(index.parse::<usize>().ok()?)?;
    if let Some((index, _)) = rest.strip_prefix(".items[").and_then(|rest| rest.split_once(']')) {
        resource = resource.get("items")?.get(index.parse::<usize>().ok()?)?;
    }
    let metadata = resource.get("metadata")?;
    let namespaces = [
        metadata.get("namespace"),
        configuration.get("defaultNamespace"),
        configuration.pointer("/workload/namespace"),
    ];
    let namespace = namespaces.into_iter().flatten().next()?.as_str()?;
    Some(format!("{namespace}/{}", metadata.get("name")?.as_str()?))
}
