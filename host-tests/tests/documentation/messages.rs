//! `docs/errors.md` and `docs/troubleshooting.md` quote messages: each is part of what the case beside it expects.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::page::{self, codes};
use crate::references::{all_cases, cases_in};

/// The headers of columns that quote the filters.
const QUOTES: [&str; 3] = ["message", "reason", "line at load"];

#[test]
fn every_message_is_that_of_its_case() -> Result<()> {
    let cases = all_cases()?;
    for (name, least) in [("docs/errors.md", 31), ("docs/troubleshooting.md", 20)] {
        let page = page::named(name)?;
        let is_quoting =
            |table: &&page::Table| table.header.first().is_some_and(|title| QUOTES.contains(&title.as_str()));
        let mut checked = 0;
        for row in page.tables.iter().filter(is_quoting).flat_map(|table| &table.rows) {
            let message = row.first().and_then(|cell| codes(cell).next()).context("a row without a message")?;
            let references = cases_in(row.last().context("a row without cells")?)?;
            let [reference] = references.as_slice() else {
                anyhow::bail!("{name}: `{message}` needs one case, these are {references:?}");
            };
            let texts: Vec<_> = reference
                .among(&cases)
                .into_iter()
                .flat_map(|case| {
                    case.expect.refused.iter().flatten().chain(&case.expect.loaded).chain(&case.expect.reason)
                })
                .collect();
            ensure!(
                texts.iter().any(|text| testbed::is_quoted(message, text)),
                "{name}: `{message}` is not in {texts:#?}"
            );
            checked += 1;
        }
        ensure!(checked >= least, "{name}: {checked} messages");
    }
    Ok(())
}

#[test]
fn every_alert_has_a_row_that_says_what_to_do() -> Result<()> {
    let rules = fs::read_to_string(testbed::root().join("envoy-config/stack/prometheus/alerts.yaml"))?;
    let defined: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let page = page::named("docs/troubleshooting.md")?;
    let alerts = page.tables.iter().filter(|table| table.header.first().is_some_and(|title| title == "alert"));
    let documented: Vec<_> =
        alerts.flat_map(|table| &table.rows).filter_map(|row| codes(row.first()?).next()).collect();
    ensure!(!defined.is_empty() && documented == defined, "documented: {documented:?}, defined: {defined:?}");
    Ok(())
}
