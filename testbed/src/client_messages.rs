//! The table of `docs/egress.md` that says what clients print where the egress gateway denies. The tests that run these
//! clients take what they expect from it.

use std::fs;

use anyhow::{Result, ensure};

use crate::repository::root;

/// A row: what some programs print for one way to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientMessage {
    /// The programs.
    pub clients: Vec<String>,
    /// The way, such as `CONNECT`.
    pub way: String,
    /// Texts of which the program prints one; `…` stands for any text.
    pub texts: Vec<String>,
}

impl ClientMessage {
    /// Searches what a program printed for one of the texts.
    pub fn is_in(&self, printed: &str) -> bool {
        self.texts.iter().any(|text| is_quoted(text, printed))
    }
}

/// The rows of the table, in their order.
pub fn client_messages() -> Result<Vec<ClientMessage>> {
    let page = fs::read_to_string(root().join("docs/egress.md"))?;
    let rows = page.lines().skip_while(|line| *line != "| client | way | prints |").skip(2);
    let rows: Vec<_> = rows.take_while(|line| line.starts_with('|')).map(row).collect();
    ensure!(!rows.is_empty(), "docs/egress.md has no table with the columns client, way and prints");
    for row in &rows {
        ensure!(!row.clients.is_empty() && !row.way.is_empty() && !row.texts.is_empty(), "a row lacks a cell: {row:?}");
    }
    Ok(rows)
}

fn row(line: &str) -> ClientMessage {
    let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
    let codes = |index: usize| -> Vec<String> {
        let cell = cells.get(index).copied().unwrap_or_default();
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    ClientMessage { clients: codes(0), way: cells.get(1).copied().unwrap_or_default().to_owned(), texts: codes(2) }
}

/// Searches `printed` for a text in which `…` stands for any text.
pub fn is_quoted(text: &str, printed: &str) -> bool {
    let mut rest = Some(printed);
    for piece in text.split('…') {
        rest = rest.and_then(|rest| rest.split_once(piece)).map(|(_, after)| after);
    }
    rest.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_programs_a_way_and_texts() {
        let found = row("| `python3`, `pypy3` | CONNECT | `<urlopen …>` or `403`, by version |");
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(found.clients, texts(&["python3", "pypy3"]));
        assert_eq!(found.way, "CONNECT");
        assert_eq!(found.texts, texts(&["<urlopen …>", "403"]));
        assert!(found.is_in("error: <urlopen tunnel>") && found.is_in("403") && !found.is_in("<urlopen tunnel"));
    }
}
