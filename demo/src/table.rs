//! The table that the demo prints.

use crate::shop::Visit;

/// How wide the reasons are: the whole table fits a terminal of 160 columns.
const REASON: usize = 64;

/// Prints it, and says whether every answer was as the policies of `file` say.
pub(crate) fn print(file: &str, visits: &[Visit]) -> bool {
    let heading = ["who", "asked for", "answer", "policy"];
    let cells =
        |visit: &Visit| [visit.who.to_owned(), visit.request.clone(), visit.answer.clone(), visit.policy.clone()];
    let mut widths = heading.map(str::len);
    for visit in visits {
        for (width, cell) in widths.iter_mut().zip(cells(visit)) {
            *width = cell.len().max(*width);
        }
    }
    let line = |cells: &[String; 4], reason: &str| {
        let padded: Vec<_> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        println!("{}  {reason}", padded.join("  "));
    };
    println!();
    line(&heading.map(str::to_owned), "why");
    line(&widths.map(|width| "-".repeat(width)), &"-".repeat(REASON));
    for visit in visits {
        let mut reasons = wrapped(&visit.why).into_iter();
        line(&cells(visit), &reasons.next().unwrap_or_default());
        reasons.for_each(|rest| line(&[const { String::new() }; 4], &rest));
    }
    let wrong: Vec<_> = visits.iter().filter(|visit| !visit.as_expected).collect();
    for visit in &wrong {
        println!("\nNOT AS THE POLICIES SAY: {} asked for {} and got {}", visit.who, visit.request, visit.answer);
    }
    if wrong.is_empty() {
        println!("\nEvery answer is as the policies in {file} say.");
    }
    wrong.is_empty()
}

/// Breaks a text between words.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= REASON => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
