//! The sections of the page that can be measured by themselves.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::hostile::{HostileResult, MAX_RATIO};
use crate::loading::{Shape, UPDATED_RULES};
use crate::results::grouped;
use crate::soak::{EnvoySoakResult, Memory};
use crate::updates::{LONGEST_STALL, UpdateResult, rules_of_longest_stall};
use host_tests::hostile_requests::LARGEST;

/// The heading of the hostile requests.
pub(crate) const HOSTILE: &str = "Hostile requests";
/// The heading of the updates.
pub(crate) const UPDATES: &str = "Updates";
/// The heading of the soak of Envoy.
pub(crate) const ENVOY_SOAK: &str = "Soak in Envoy";

/// Renders the hostile requests, the most expensive first.
pub(crate) fn hostile(results: &[HostileResult], about: &str) -> Result<String> {
    let mut text = format!(
        "Measured by `cargo run --package bench -- hostile` on {about}. Each row is the most expensive request of {} KiB \
         that is known for a policy of 1,000 patterns, 200 templates or 500 claims, sent to one worker of Envoy over \
         HTTP/2. `added` is the CPU time that the filter adds to it, beside the same request to the same listener without \
         the filter. The ratio is the same in requests without a filter, as in Requests, in the same run. The bound is \
         {MAX_RATIO}, which is 1 ms where such a request takes 10 µs; a row above it is out of bounds on this machine.\n\n\
         | filter | request | added µs | ratio |\n| --- | --- | ---: | ---: |\n",
        LARGEST >> 10
    );
    let mut sorted: Vec<_> = results.iter().collect();
    sorted.sort_by(|one, other| other.ratio.total_cmp(&one.ratio));
    for HostileResult { filter, name, added, ratio } in sorted {
        writeln!(text, "| {filter} | {name} | {added:.0} | {ratio:.1} |")?;
    }
    Ok(text)
}

/// Renders the updates by shape and size.
pub(crate) fn updates(results: &[UpdateResult], about: &str) -> Result<String> {
    let mut text = format!(
        "Measured by `cargo run --package bench -- updates` on {about}: the CPU time of one worker of Envoy from the moment \
         a new file is in place (`config_discovery`) until the worker answers by it. The worker serves nothing else \
         meanwhile; each worker does the same, and the main thread before them. The last column is the number of rules from \
         which on an update stalls a worker for longer than {LONGEST_STALL} s here.\n\n\
         | rules | seconds by number | {LONGEST_STALL} s from |\n| --- | --- | ---: |\n"
    );
    for shape in Shape::UPDATED {
        let by_number: Vec<_> = results
            .iter()
            .filter(|result| result.shape == shape)
            .map(|result| format!("{}: {:.3}", grouped(result.rules), result.seconds))
            .collect();
        let from = rules_of_longest_stall(results, shape).map_or_else(
            || "beyond".to_owned(),
            |rules| grouped(format!("{:.0}", (rules / 1_000.0).floor() * 1_000.0)),
        );
        writeln!(text, "| {} | {} | {from} |", shape.name(), by_number.join(", "))?;
    }
    Ok(text)
}

/// Renders the soak of Envoy.
pub(crate) fn envoy_soak(result: &EnvoySoakResult, about: &str) -> String {
    let row = |name: &str, of: fn(&Memory) -> usize| {
        let stages = result.stages().map(|memory| grouped(of(&memory) >> 10));
        format!("| {name}, KiB | {} |\n", stages.join(" | "))
    };
    format!(
        "Measured by `make soak` on {about}. One Envoy with one worker and `identity-authz` answers {} requests of 200 \
         callers over {} connections with mTLS, one of the callers is in no policy, while its {} rules are \
         replaced {} times. Each answer is checked. Linear memory is that of the VMs of the worker and of the main \
         thread: it never shrinks, and rises by a page of 64 KiB where an update finds no gap for a piece of the new \
         configuration beside the one before. In the second half it may rise by one page a VM; what stays behind after \
         each update or request would be more.\n\n\
         | quantity | after a tenth | after half | at the end |\n| --- | ---: | ---: | ---: |\n{}{}",
        grouped(result.requests),
        grouped(result.connections),
        grouped(UPDATED_RULES),
        grouped(result.updates),
        row("memory of the process", |memory| memory.process),
        row("linear memory of the VMs", |memory| memory.vms)
    )
}

/// Replaces a section of the page at `path`, or adds it at the end.
pub(crate) fn write(path: &Path, heading: &str, text: &str) -> Result<()> {
    let page = fs::read_to_string(path).unwrap_or_else(|_| "# Performance\n".to_owned());
    fs::write(path, replaced(&page, heading, text)).with_context(|| format!("writing {}", path.display()))
}

/// The page with a section replaced, or added at the end.
fn replaced(page: &str, heading: &str, text: &str) -> String {
    let title = format!("\n## {heading}\n\n");
    let (before, after) = match page.split_once(&title) {
        Some((before, old)) => (before, old.find("\n## ").map_or("", |end| &old[end..])),
        None => (page, ""),
    };
    format!("{before}{title}{text}{after}")
}

/// The text of a section of the page at `path`, if it has it.
pub(crate) fn kept(path: &Path, heading: &str) -> Option<String> {
    let page = fs::read_to_string(path).ok()?;
    let (_, text) = page.split_once(&format!("\n## {heading}\n\n"))?;
    Some(text.split("\n## ").next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_takes_the_place_of_the_one_before() {
        let page = "# Page\n\n## One\n\nfirst\n\n## Two\n\nsecond\n";
        for (heading, expected) in [
            ("One", "# Page\n\n## One\n\nnew\n\n## Two\n\nsecond\n"),
            ("Two", "# Page\n\n## One\n\nfirst\n\n## Two\n\nnew\n"),
            ("Three", "# Page\n\n## One\n\nfirst\n\n## Two\n\nsecond\n\n## Three\n\nnew\n"),
        ] {
            assert_eq!(replaced(page, heading, "new\n"), expected);
        }
    }

    #[test]
    fn a_section_is_kept_as_it_is() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("page.md");
        write(&path, "One", "first\n")?;
        write(&path, "Two", "second\n")?;
        assert_eq!(kept(&path, "One").as_deref(), Some("first\n"));
        assert_eq!(kept(&path, "Two").as_deref(), Some("second\n"));
        assert_eq!(kept(&path, "Three"), None);
        Ok(())
    }
}
