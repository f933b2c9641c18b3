//! `docs/errors.md` quotes messages: each is part of what the case beside it expects.

use anyhow::{Context, Result, ensure};

use crate::page::{self, codes};
use crate::references::{all_cases, cases_in};

#[test]
fn every_message_is_that_of_its_case() -> Result<()> {
    let cases = all_cases()?;
    let page = page::named("docs/errors.md")?;
    let mut checked = 0;
    for row in page.tables.iter().flat_map(|table| &table.rows) {
        let message = row.first().and_then(|cell| codes(cell).next()).context("a row without a message")?;
        let references = cases_in(row.last().context("a row without cells")?)?;
        let [reference] = references.as_slice() else {
            anyhow::bail!("`{message}` needs one case, these are {references:?}");
        };
        let texts: Vec<_> = reference
            .among(&cases)
            .into_iter()
            .flat_map(|case| case.expect.refused.iter().flatten().chain(&case.expect.reason))
            .collect();
        ensure!(texts.iter().any(|text| testbed::is_quoted(message, text)), "`{message}` is not in {texts:#?}");
        checked += 1;
    }
    ensure!(checked > 30, "{checked} messages");
    Ok(())
}
