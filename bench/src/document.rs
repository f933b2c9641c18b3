//! The page that the command writes.

use std::fmt::Write as _;

use anyhow::Result;

use crate::results::{Results, grouped, grouped_u64, mebibytes};
use crate::rounds::Extent;
use crate::variant::Series;

/// Where it was measured and when.
pub(crate) struct Occasion {
    pub(crate) date: String,
    pub(crate) machine: String,
    pub(crate) envoy: String,
}

/// The page in Markdown; its chart stands beside it as `chart`.
pub(crate) fn page(results: &Results, occasion: &Occasion, extent: Extent, chart: &str) -> Result<String> {
    let mut page = String::new();
    let Occasion { date, machine, envoy } = occasion;
    writeln!(
        page,
        "# What a decision costs\n\n\
         `make bench` wrote this page on {date}, in one run on {machine}, with Envoy {envoy}.\n\n\
         ![Added CPU time of a request, by the number of principals]({chart})\n\n\
         ## Promises\n\n\
         The command checks them and fails where one is not kept. Of requests it compares added CPU time.\n\n\
         | | measured | promised | |\n| --- | ---: | ---: | --- |"
    )?;
    for promise in results.promises() {
        let kept = if promise.kept { "kept" } else { "**not kept**" };
        writeln!(page, "| {} | {} | {} | {kept} |", promise.what, promise.measured, promise.limit)?;
    }
    writeln!(
        page,
        "\n## Requests\n\n\
         One Envoy with one worker has a listener for each row, each Wasm filter in a VM of its own. One client with a \
         certificate sends the same request to all of them, HTTP/2 over mTLS on loopback, {} rounds in which the rows \
         take turns in changing order; Envoy answers by itself, without an upstream. All of them let the request in, and \
         what they list has the wanted value in its middle. \
         *Added* is the CPU time of the worker (from /proc) for one request less that of a request \
         without filter in the same round: the median of the rounds, with the median distance from it. *Whole* is all of \
         it. *Waits* are the client's at a fixed rate of 500 requests a second, for half of the requests and for 99 of \
         100. Timings of two runs or two machines are not to be compared: compare the rows.\n\n\
         | filter | size | added µs | ± | whole µs | waits µs, 50% | 99% |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        extent.rounds
    )?;
    for (series, size, measured) in &results.requests {
        let size = if *size == 0 { String::new() } else { grouped(*size) };
        let (added, spread) = match series {
            Series::NoFilter => (String::new(), String::new()),
            _ => (format!("{:.2}", measured.added), format!("{:.2}", measured.spread)),
        };
        let [half, most] = measured.waits;
        writeln!(
            page,
            "| {} | {size} | {added} | {spread} | {:.2} | {half:.0} | {most:.0} |",
            series.name(),
            measured.whole
        )?;
    }
    writeln!(
        page,
        "\n## Loading\n\n\
         `identity-authz` in the wasmtime host of `host-tests/`: the time from the configuration to the answer that it is \
         taken, and the linear memory of the VM then. Envoy has one VM for each worker and one more.\n\n\
         | principals | seconds | MiB |\n| ---: | ---: | ---: |"
    )?;
    for loaded in &results.loaded {
        writeln!(page, "| {} | {:.3} | {} |", grouped(loaded.rules), loaded.time, mebibytes(loaded.memory))?;
    }
    let soaked = &results.soaked;
    let [[early_updates, updates], [early_requests, requests]] =
        [soaked.by_updates, soaked.by_requests].map(|sizes| sizes.map(mebibytes));
    writeln!(
        page,
        "\nOne VM has {early_updates} MiB after a tenth of {} updates and {updates} MiB after all of them, {early_requests} \
         MiB after a tenth of {} requests and {requests} MiB at the end.",
        grouped_u64(soaked.updates),
        grouped_u64(soaked.requests)
    )?;
    Ok(page)
}
