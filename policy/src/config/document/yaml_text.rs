//! The look of YAML, for a configuration that is not the JSON that it has to be.

/// Reports whether the first line that is neither blank, a comment nor a document's start is a key of YAML or a list
/// item.
pub(super) fn is_yaml(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let content = |line: &&str| !(line.is_empty() || line.starts_with('#') || line.starts_with("---"));
    text.lines().map(str::trim).find(content).is_some_and(|line| {
        let key = line.split_once(':').map(|(key, rest)| (key.trim_matches(['"', '\'']), rest));
        let is_key = |(key, rest): (&str, &str)| {
            !key.is_empty()
                && key.bytes().all(|byte| byte.is_ascii_alphanumeric())
                && matches!(rest.bytes().next(), None | Some(b' '))
        };
        line.starts_with("- ") || key.is_some_and(is_key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_with_a_key_is_yaml() {
        let rows = [
            ("resources: []", true),
            ("# policies\n---\nworkload:\n  namespace: shop\n", true),
            ("'mode': report", true),
            ("- kind: AuthorizationPolicy", true),
            ("{\"resources\": [", false),
            ("\n", false),
            ("http://x", false),
            ("two words: here", false),
        ];
        for (text, expected) in rows {
            assert_eq!(is_yaml(text.as_bytes()), expected, "{text}");
        }
    }
}
