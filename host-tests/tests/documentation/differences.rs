//! The table of `docs/istio.md` is made of `host-tests/oracle/differences.yaml`, which Envoy plays.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result, ensure};
use host_tests::rbac_oracle::{Difference, Istio, Sallyport, differences};
use serde_json::Value;

const PAGE: &str = "docs/istio.md";

const HEADER: &str = "| policy | request | Istio | here | difference |\n| --- | --- | --- | --- | --- |\n";

/// A text without quotes, unless it has blanks at its ends.
fn plain(value: &Value) -> String {
    value.as_str().filter(|text| text.trim() == *text).map_or_else(|| value.to_string(), str::to_owned)
}

/// The values of a key: one, or those of a list with commas between.
fn listed(value: &Value) -> String {
    value.as_array().map_or_else(|| plain(value), |values| values.iter().map(plain).collect::<Vec<_>>().join(", "))
}

/// Condition of a rule, as `key: values`. Every row has one value of interest, so nesting is left out.
fn compared(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(keys) => match keys.get("key").and_then(Value::as_str) {
            Some(key) => {
                let values = keys.iter().filter(|(name, _)| *name != "key");
                found.extend(values.map(|(_, values)| format!("{key}: {}", listed(values))));
            }
            None => keys.iter().for_each(|(name, value)| {
                match value.as_array().is_some_and(|list| list.iter().all(Value::is_string)) {
                    true => found.push(format!("{name}: {}", listed(value))),
                    false => compared(value, found),
                }
            }),
        },
        Value::Array(values) => values.iter().for_each(|value| compared(value, found)),
        _ => {}
    }
}

fn policy(row: &Difference) -> String {
    let mut parts = Vec::new();
    compared(row.spec.get("rules").unwrap_or(&Value::Null), &mut parts);
    let action = row.spec.get("action").map_or_else(|| "ALLOW".to_owned(), plain);
    let rules = if parts.is_empty() { "rules: [{}]".to_owned() } else { parts.join("; ") };
    let domains = if row.trust_domains.is_empty() {
        String::new()
    } else {
        format!("; mesh of {}", row.trust_domains.join(", "))
    };
    format!("`{action} {rules}`{domains}")
}

/// Values of the request, as `key: value`.
fn request(value: &Value, key: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(keys) => keys.iter().for_each(|(name, value)| request(value, name, found)),
        Value::Array(lines) => found.extend(lines.iter().filter_map(Value::as_array).map(|line| {
            let words: Vec<_> = line.iter().map(plain).collect();
            words.join(": ")
        })),
        Value::Null => {}
        Value::String(text) if key == "peer" => found.push(text.clone()),
        other => found.push(format!("{key}: {}", plain(other))),
    }
}

fn table() -> Result<String> {
    let mut table = HEADER.to_owned();
    for row in differences()? {
        let mut parts = Vec::new();
        request(&row.request, "", &mut parts);
        let request = if parts.is_empty() { "any".to_owned() } else { format!("`{}`", parts.join("; ")) };
        let istio = match row.istio {
            Istio::Allowed => "allowed",
            Istio::Denied => "denied",
            Istio::Terminates => "Envoy terminates",
            Istio::Webhook => "as its webhook says",
        };
        let here = match row.sallyport {
            Sallyport::Allowed => "allowed",
            Sallyport::Denied => "denied",
            Sallyport::Refused(_) => "refused at load",
        };
        let cells = [policy(&row), request, istio.to_owned(), here.to_owned(), format!("{}: {}", row.name, row.why)];
        writeln!(table, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))?;
    }
    Ok(table)
}

#[test]
fn the_differences_from_istio_are_those_of_the_data() -> Result<()> {
    let page = fs::read_to_string(testbed::root().join(PAGE))?;
    let (_, rest) = page.split_once(HEADER).with_context(|| format!("{PAGE} has no table of differences"))?;
    let rows = rest.lines().take_while(|line| line.starts_with('|'));
    let found = rows.fold(HEADER.to_owned(), |table, row| table + row + "\n");
    let expected = table()?;
    let is = || format!("the table of {PAGE} is not that of host-tests/oracle/differences.yaml; write:\n\n{expected}");
    ensure!(found == expected, "{}", is());
    Ok(())
}
