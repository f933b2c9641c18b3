use super::*;
use crate::linear_reading::Matches;
use crate::linear_reading::metadata::lists_claim;
use crate::matcher::clause::Quantifier;

fn key(text: &str) -> MetadataKey {
    MetadataKey::parse(text).expect("such a key").expect(text)
}

/// Looks up a value, given as JSON.
fn look_up(index: &Index, key: &MetadataKey, json: &str) -> FieldMatch {
    let mut found = FieldMatch::default();
    match key {
        MetadataKey::Claim(names) => {
            let payload = names.iter().rev().fold(json.to_owned(), |value, name| format!(r#"{{"{name}": {value}}}"#));
            let claims = Claims::of_payload(payload.as_bytes()).expect("an object");
            index.look_up_claim(&claims, names, &mut found).expect("a claim");
        }
        MetadataKey::Filter { .. } => index.lookup(Value::of_json(json.as_bytes()).as_ref(), &mut found),
    }
    found
}

#[test]
fn the_index_agrees_with_each_pattern() {
    let claims = ClaimSource::default();
    let mut met = 0;
    for name in [
        "request.auth.claims[group]",
        "request.auth.claims[scope]",
        "request.auth.claims[realm][scope]",
        "experimental.envoy.filters.http.x[group]",
    ] {
        let key = key(name);
        let texts = ["admin", "[admin]", "ad*", "[ad*]", "*", "[*]", "*m*n", "[*m*n]", "1", "true", "1000", "user"];
        let patterns: Vec<_> = texts.iter().flat_map(|text| MetadataPattern::parse(text, &key, &claims)).collect();
        let index = Index::new(&key, &claims, patterns.iter().cloned().zip((0..).map(ValueId)));
        for value in [
            r#""admin""#,
            r#""""#,
            r#"["admin"]"#,
            r#"["user", "admin", "admin"]"#,
            r#""user admin""#,
            r#"[]"#,
            r#"[""]"#,
            r#"[1, "ad", true]"#,
            "1",
            "1e3",
            "1.5",
            "true",
            "false",
            "null",
            "9007199254740993",
            r#"["admin", 1e20]"#,
            r#"{"admin": 1}"#,
            r#"[["admin"]]"#,
            r#""[admin]""#,
        ] {
            let found = look_up(&index, &key, value);
            let value = Value::of_json(value.as_bytes()).expect("JSON");
            let lets_in = found.each.first().unwrap_or(&found.any);
            for (of, found) in [(Quantifier::Any, &found.any), (Quantifier::All, lets_in)] {
                let matches = |pattern: &MetadataPattern| match &key {
                    MetadataKey::Claim(names) => {
                        let is_words = **names == [Box::from("scope")];
                        lists_claim(std::slice::from_ref(pattern), &value, of, is_words)
                    }
                    MetadataKey::Filter { .. } => pattern.matches(&value),
                };
                let numbered = (0..).map(ValueId).zip(&patterns);
                let expected: Vec<_> = numbered.filter(|(_, one)| matches(one)).map(|(id, _)| id).collect();
                let mut found = found.to_vec();
                found.sort();
                assert_eq!(found, expected, "{name} {value:?} {of:?}");
                met += expected.len();
            }
        }
    }
    assert!(met > 200, "{met} matches only");
}

#[test]
fn a_claim_is_a_text_or_in_a_list_and_metadata_as_written() {
    let filter = key("experimental.envoy.filters.http.x[group]");
    let claim = key("request.auth.claims[group]");
    let rows = [
        (&claim, "admin", r#""admin""#, true),
        (&claim, "admin", r#"["user", "admin"]"#, true),
        (&claim, "admin", r#"["user"]"#, false),
        (&claim, "1", "1", true),
        (&claim, "1", "[2, 1.0]", true),
        (&claim, "true", "true", true),
        (&claim, "*", r#""""#, false),
        (&filter, "admin", r#""admin""#, true),
        (&filter, "admin", r#"["admin"]"#, false),
        (&filter, "[admin]", r#"["admin"]"#, true),
        (&filter, "[admin]", r#""admin""#, false),
        (&filter, "1", "1", false),
    ];
    for (key, text, json, expected) in rows {
        let pattern = MetadataPattern::parse(text, key, &ClaimSource::default()).expect(text);
        let index = Index::new(key, &ClaimSource::default(), [(pattern, ValueId(0))].into_iter());
        let found = look_up(&index, key, json);
        assert_eq!(!found.any.is_empty(), expected, "{key}: {text} on {json}");
    }
}

#[test]
fn what_no_claim_is_compared_with_is_refused() {
    let rows = [
        ("request.auth.claims[group]", " admin", "bad value ` admin`: it has blanks at an end, write `admin`"),
        ("request.auth.claims[group]", "admin\t", "bad value `admin\t`: it has blanks at an end, write `admin`"),
        ("request.auth.claims[group]", "a\0", "bad value `a\\u{0}`: no claim is compared with a NUL"),
        (
            "request.auth.claims[scope]",
            "read guest",
            "bad value `read guest`: this claim is the list of its words (identity.jwt.spaceDelimitedClaims), write each by itself",
        ),
    ];
    for (name, text, message) in rows {
        assert_eq!(MetadataPattern::parse(text, &key(name), &ClaimSource::default()).err().as_deref(), Some(message));
    }
    assert!(MetadataPattern::parse("a b", &key("request.auth.claims[group]"), &ClaimSource::default()).is_ok());
}

#[test]
fn keys() {
    assert_eq!(key("request.auth.claims[realm][roles]").to_string(), "claim realm[roles]");
    assert_eq!(
        key("experimental.envoy.filters.network.mysql_proxy[db.table]").to_string(),
        "metadata envoy.filters.network.mysql_proxy[db.table]"
    );
    assert_eq!(MetadataKey::parse("request.auth.principal"), None);
    let claims = "expected request.auth.claims[group] or request.auth.claims[realm][roles]";
    for text in ["request.auth.claims", "request.auth.claims[]", "request.auth.claims[a][]", "request.auth.claims[a"] {
        assert_eq!(MetadataKey::parse(text), Some(Err(format!("bad key `{text}`: {claims}"))));
    }
    let filters = "expected experimental.envoy.filters.network.mysql_proxy[orders.items]";
    for text in ["experimental.envoy.filters.a", "experimental.envoy.filters.a[]", "experimental.envoy.filters.[b]"] {
        assert_eq!(MetadataKey::parse(text), Some(Err(format!("bad key `{text}`: {filters}"))));
    }
}
