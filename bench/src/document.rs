//! The page that the command writes.

use std::fmt::Write as _;

use anyhow::Result;

use crate::loading::{REQUESTS_A_CONNECTION, Shape, UPDATED_RULES};
use crate::results::{Results, grouped, mebibytes};
use crate::threshold::Threshold;
use crate::variant::Series;

/// Where it was measured and when.
pub(crate) struct Occasion {
    pub(crate) date: String,
    pub(crate) machine: String,
    pub(crate) envoy: String,
}

/// The page in Markdown; its chart stands beside it as `chart`.
pub(crate) fn page(results: &Results, thresholds: &[Threshold], occasion: &Occasion, chart: &str) -> Result<String> {
    let mut page = String::new();
    let Occasion { date, machine, envoy } = occasion;
    writeln!(
        page,
        "# What a decision costs\n\n\
         `make bench` wrote this page on {date}, in one run on {machine}, with Envoy {envoy}.\n\n\
         ![Added CPU time of a request, by the number of principals]({chart})\n"
    )?;
    write_thresholds(&mut page, thresholds)?;
    write_requests(&mut page, results)?;
    write_loading(&mut page, results)?;
    Ok(page)
}

fn write_thresholds(page: &mut String, thresholds: &[Threshold]) -> Result<()> {
    writeln!(
        page,
        "## Thresholds\n\n\
         The command checks them and fails where one is not met. Of requests it compares added CPU time.\n\n\
         | | measured | threshold | |\n| --- | ---: | ---: | --- |"
    )?;
    for threshold in thresholds {
        let value = threshold.measured.as_ref().map_or("", |reached| &reached.value);
        let verdict = match threshold.verdict() {
            "not met" => "**not met**",
            other => other,
        };
        writeln!(page, "| {} | {value} | {} | {verdict} |", threshold.what, threshold.limit)?;
    }
    Ok(())
}

fn write_requests(page: &mut String, results: &Results) -> Result<()> {
    writeln!(
        page,
        "\n## Requests\n\n\
         One Envoy with one worker has a listener for each row, each Wasm filter in a VM of its own. One client with a \
         certificate sends the same request to all of them, HTTP/2 over mTLS on loopback, 50 at once on a connection \
         that stays, {} rounds in which the rows take turns in changing order; Envoy answers by itself, without an \
         upstream. All of them let the request in, and what they list has the wanted value in its middle, but where a row says otherwise. \
         Requests without a filter go between those of a row; the CPU time of the worker (from /proc) for \
         both tells how many times the one costs the other, which stays the same where the machine slows down. *Whole* is \
         the median of that over the rounds, times the median request without a filter; *added* is what of it is beyond \
         that request, with the median distance; the row without a filter shows how exact that is. Every row has had its requests \
         before, since V8 translates anew, and better, what runs often, and the first ones of its turn are not counted, \
         since the caches are full of other rows then. *Waits* are the client's at a fixed rate of 500 \
         requests a second, one at a time: for half of the requests and for 99 of 100. Timings of two runs or two machines are not to be compared: compare the rows.\n\n\
         The client's certificate has a SPIFFE ID and a DNS name, which is the kinder to native RBAC: of one \
         without a DNS name, as Istio and SPIRE issue them, Envoy (1.40) reads the names again for each principal that \
         does not match.\n\n\
         The two filters by hand do nothing but talk to Envoy: no filter that tells its configurations apart and knows \
         its connections can be cheaper than the first, and none that reads method and path as well can be cheaper than \
         the second. The rest of a row of `identity-authz` is its own work.\n\n\
         | filter | size | added µs | ± | whole µs | waits µs, 50% | 99% |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        results.rounds
    )?;
    for series in Series::ALL {
        for (size, measured) in results.of(series) {
            let size = if size == 0 { String::new() } else { grouped(size) };
            let [half, most] = measured.waits;
            writeln!(
                page,
                "| {} | {size} | {:.2} | {:.2} | {:.2} | {half:.0} | {most:.0} |",
                series.name(),
                measured.added,
                measured.spread,
                measured.whole
            )?;
        }
        if let Some((size, why)) = series.left_out() {
            writeln!(page, "| {} | {} | {why} | | | | |", series.name(), grouped(size))?;
        }
    }
    Ok(())
}

fn write_loading(page: &mut String, results: &Results) -> Result<()> {
    writeln!(
        page,
        "\n## Loading\n\n\
         In the wasmtime host of `host-tests/`: the time from the configuration, in JSON, to the answer that it is \
         taken, and the linear memory of the VM then, which never shrinks. Envoy has one VM for each worker and one \
         more.\n\n\
         | | | seconds | MiB |\n| ---: | --- | ---: | ---: |"
    )?;
    for shape in Shape::ALL {
        for loaded in results.loaded.iter().filter(|loaded| loaded.shape == shape) {
            let (rules, memory) = (grouped(loaded.rules), mebibytes(loaded.memory));
            writeln!(page, "| {rules} | {} | {:.3} | {memory} |", shape.name(), loaded.time)?;
        }
    }
    let soaked = &results.soaked;
    let [[early_updates, updates], [early_requests, requests]] =
        [soaked.by_updates, soaked.by_requests].map(|sizes| sizes.map(mebibytes));
    let [early, late] = soaked.times;
    writeln!(
        page,
        "\nThe soak is of one VM of `identity-authz` in the same host. It takes {} updates of {} rules, each with another \
         principal: {early_updates} MiB and {early:.3} seconds an update in the first tenth, {updates} MiB and {late:.3} \
         seconds after it. Then it takes {} requests, {REQUESTS_A_CONNECTION} on a connection: {early_requests} MiB after \
         a tenth of them, {requests} MiB at the end.",
        grouped(soaked.updates),
        grouped(UPDATED_RULES),
        grouped(soaked.requests)
    )?;
    Ok(())
}
