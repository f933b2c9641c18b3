//! The table of outcomes that the demo prints.

use crate::outcome::Outcome;

/// Width of the column of reasons.
const REASON_WIDTH: usize = 64;

/// Prints the outcomes; true if every one is as expected from the policies in `file`.
pub(crate) fn print(file: &str, outcomes: &[Outcome]) -> bool {
    let heading = ["client", "request", "response", "policy"];
    let cells = |outcome: &Outcome| {
        [outcome.client.to_owned(), outcome.request.clone(), outcome.response.clone(), outcome.policy.clone()]
    };
    let mut widths = heading.map(str::len);
    for outcome in outcomes {
        for (width, cell) in widths.iter_mut().zip(cells(outcome)) {
            *width = cell.len().max(*width);
        }
    }
    let line = |cells: &[String; 4], reason: &str| {
        let padded: Vec<_> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        println!("{}  {reason}", padded.join("  "));
    };
    println!();
    line(&heading.map(str::to_owned), "reason");
    line(&widths.map(|width| "-".repeat(width)), &"-".repeat(REASON_WIDTH));
    for outcome in outcomes {
        let mut reasons = wrapped(&outcome.reason).into_iter();
        line(&cells(outcome), &reasons.next().unwrap_or_default());
        reasons.for_each(|rest| line(&[const { String::new() }; 4], &rest));
    }
    let unexpected: Vec<_> = outcomes.iter().filter(|outcome| !outcome.as_expected).collect();
    for outcome in &unexpected {
        println!("\nUNEXPECTED OUTCOME: {}, {}: {}", outcome.client, outcome.request, outcome.response);
    }
    if unexpected.is_empty() {
        println!("\nEvery outcome is as expected from the policies in {file}.");
    }
    unexpected.is_empty()
}

/// Wraps a text between words to the width of the column.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= REASON_WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
