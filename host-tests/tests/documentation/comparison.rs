//! Costs that `docs/compare.md` compares, held to `docs/performance.md`, whose numbers change with each run of
//! `make bench`.

use anyhow::{Context, Result, ensure};

use crate::page::{self, Page, text_of};

/// The CPU time that a row of `docs/performance.md` adds to a request.
fn added(performance: &Page, filter: &str, size: &str) -> Result<f64> {
    let tables = performance.tables.iter().filter(|table| table.header.iter().any(|title| title == "added µs"));
    let mut rows =
        tables.flat_map(|table| &table.rows).map(|row| row.iter().map(|cell| text_of(cell)).collect::<Vec<_>>());
    let row = rows.find(|row| row.first().is_some_and(|name| name == filter) && row.get(1).is_some_and(|n| n == size));
    let row = row.with_context(|| format!("docs/performance.md has no row `{filter}` of size {size}"))?;
    row.get(2).context("no time")?.parse().with_context(|| format!("{row:?}"))
}

#[test]
fn what_is_said_to_cost_less_does() -> Result<()> {
    let performance = page::named("docs/performance.md")?;
    let page = page::named("docs/compare.md")?;
    let tables = page.tables.iter().filter(|table| table.header == ["size", "costs less", "costs more"]);
    let mut checked = 0;
    for row in tables.flat_map(|table| &table.rows) {
        let cells: Vec<_> = row.iter().map(|cell| text_of(cell)).collect();
        let [size, less, more] = cells.as_slice() else { anyhow::bail!("{cells:?}") };
        let times = [added(&performance, less, size)?, added(&performance, more, size)?];
        ensure!(times[0] < times[1], "of size {size}, `{less}` adds {} µs and `{more}` {} µs", times[0], times[1]);
        checked += 1;
    }
    ensure!(checked > 3, "{checked} rows");
    Ok(())
}
