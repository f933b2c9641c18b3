//! Diagnostics of the reader, with their places.

use super::*;

fn diagnostics(json: &str, read: impl Fn(&ConfigNode<'_>) -> Option<()>) -> String {
    let diagnostics = Diagnostics::default();
    let document = Value::parse(json.as_bytes());
    let value = document.as_ref().ok().and_then(|document| read(&ConfigNode::root(document, &diagnostics)));
    diagnostics.into_result(value).err().map(|refusal| refusal.to_string()).unwrap_or_default()
}

#[test]
fn every_fault_names_its_place_and_its_fix() {
    let rows: [(&str, &str); 8] = [
        (r#"{"mode": "Report"}"#, "mode: unknown value `Report`, did you mean \"report\"?"),
        (r#"{"mode": "off"}"#, "mode: unknown value `off`, expected enforce or report"),
        (r#"{"mode": 7}"#, "mode: expected enforce or report, this is a number"),
        (r#"{"mode": null}"#, "mode: missing, write enforce"),
        (r#"{"mode": true}"#, "mode: expected enforce or report, this is true or false"),
        (r#"{"mode": "enforce", "mod": 1}"#, "mod: unknown field, did you mean \"mode\"?"),
        (r#"{"mode": "enforce", "a b": 1}"#, "[\"a b\"]: unknown field, expected mode"),
        (r#"{"mode": "enforce", "mode": "report"}"#, "mode: given twice, keep one"),
    ];
    for (json, expected) in rows {
        let found = diagnostics(json, |node| {
            let object = node.object()?;
            let mode = object
                .required("mode", "write enforce")
                .and_then(|node| node.enum_value(&[("enforce", 1), ("report", 2)]));
            object.finish();
            mode.map(|_| ())
        });
        assert_eq!(found, expected, "{json}");
    }
}

#[test]
fn a_place_is_written_as_people_write_it() {
    let found = diagnostics(r#"{"a": [{"b-c": [0, ""]}]}"#, |node| {
        let object = node.object()?;
        for item in object.optional("a")?.items()? {
            let item = item.object()?;
            for item in item.optional("b-c")?.items()? {
                item.non_empty_str();
            }
        }
        Some(())
    });
    assert_eq!(found, "a[0].b-c[0]: expected a string, this is a number; write \"0\"\na[0].b-c[1]: empty string");
}

#[test]
fn a_long_word_is_like_no_other() {
    let near = |length: usize| closest_match(&format!("mode{}", "e".repeat(length)), ["mode"].into_iter());
    assert_eq!([near(1), near(MAX_WORD)], [Some("mode"), None]);
    let long = "mode".repeat(MAX_WORD);
    assert_eq!(closest_match(&long, [long.as_str()].into_iter()), None);
}

#[test]
fn faults_beyond_a_number_are_counted_only() {
    let keys: Vec<_> = (0..150).map(|number| format!(r#""k{number}": 1"#)).collect();
    let found = diagnostics(&format!("{{{}}}", keys.join(", ")), |node| {
        node.object()?.finish();
        Some(())
    });
    assert_eq!(found.lines().count(), 101);
    assert_eq!(found.lines().last(), Some("and 50 more"));
}
