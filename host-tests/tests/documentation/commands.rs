//! Each block of a page is claimed: commands by a row of `host-tests/page-commands.yaml`, which says what runs them or why
//! nothing does, what they print by standing behind them, and the rest here.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use testbed::{read_yaml, run_program};

use crate::page::{self, Page};
use crate::references::{is_test, test_sources};

/// Blocks that are no commands, no output of commands and no snippets, each by its first line.
const OTHERS: [(&str, &str, &str); 7] = [
    ("README.md", "client                 request", "the_table_of_the_readme_is_what_the_filters_say"),
    ("ARCHITECTURE.md", "plugin configuration", "a drawing"),
    ("ARCHITECTURE.md", "0  principal web", "a drawing"),
    ("ARCHITECTURE.md", "branch: principal", "a drawing"),
    ("docs/operations.md", "count by (sallyport_filter)", "every_label_that_a_query_names_is_exported_by_an_example"),
    ("docs/tcp.md", "sallyport identity_authz: deny: ", "a line of the log, cut short"),
    ("envoy-config/stack/README.md", "client ─ plaintext", "a drawing"),
];

/// A page that a command writes, and that its own tests hold: `cli/analysis/tests/errors_page.rs`.
const GENERATED: &str = "docs/errors.md";

/// A row of `host-tests/page-commands.yaml`.
struct Row {
    page: String,
    /// The first line of the block; none is the whole page.
    block: Option<String>,
    run_by: Option<String>,
    run_in: Option<String>,
    not_run: Option<String>,
}

fn rows() -> Result<Vec<Row>> {
    let rows = read_yaml(&fs::read_to_string(testbed::root().join("host-tests/page-commands.yaml"))?)?;
    let row = |row: &Value| {
        let key = |key: &str| row.get(key).and_then(Value::as_str).map(str::to_owned);
        let page = key("page").with_context(|| row.to_string())?;
        Ok(Row { page, block: key("block"), run_by: key("run_by"), run_in: key("run_in"), not_run: key("not_run") })
    };
    rows.as_array().context("no rows")?.iter().map(row).collect()
}

/// The row of a block of commands.
fn row_of<'r>(rows: &'r [Row], page: &Page, commands: &str) -> Result<&'r Row> {
    let first = commands.lines().next().unwrap_or_default();
    let is_of = |row: &&Row| row.page == page.name && row.block.as_deref().is_none_or(|block| block == first);
    rows.iter().find(is_of).with_context(|| {
        format!("{}: host-tests/page-commands.yaml does not say which test runs the block\n{commands}", page.name)
    })
}

#[test]
fn every_block_of_a_page_is_claimed() -> Result<()> {
    let rows = rows()?;
    let (mut used, mut others) = (vec![false; rows.len()], 0);
    for page in page::all()? {
        let mut follows_commands = false;
        for (language, text) in &page.blocks {
            let is_known = || {
                OTHERS.iter().any(|(name, first, _)| page.name == *name && text.trim_start().starts_with(first))
                    || page.name == GENERATED
            };
            match language.as_str() {
                "sh" => {
                    let row = row_of(&rows, &page, text)?;
                    let used = rows.iter().zip(&mut used).find(|(other, _)| std::ptr::eq(*other, row));
                    *used.context("a row of the table")?.1 = true;
                }
                "text" if follows_commands => {}
                // `snippets` holds these.
                "yaml" => {}
                _ if is_known() => others += usize::from(page.name != GENERATED),
                _ => bail!("{}: nothing holds this block of `{language}`:\n{text}", page.name),
            }
            follows_commands = language == "sh";
        }
    }
    let unused = rows.iter().zip(used).filter(|(_, used)| !used).map(|(row, _)| (&row.page, &row.block));
    let unused: Vec<_> = unused.collect();
    ensure!(unused.is_empty(), "host-tests/page-commands.yaml has rows without a block: {unused:#?}");
    ensure!(others == OTHERS.len(), "{others} blocks of {} are there", OTHERS.len());
    Ok(())
}

#[test]
fn every_test_that_is_said_to_run_commands_exists() -> Result<()> {
    let tests = test_sources()?;
    for row in rows()? {
        let at = || format!("{}: {}", row.page, row.block.as_deref().unwrap_or("all blocks"));
        let kinds = [&row.run_by, &row.run_in, &row.not_run];
        ensure!(kinds.iter().filter(|kind| kind.is_some()).count() == 1, "{}: not one of the three", at());
        if let Some(test) = &row.run_by {
            ensure!(is_test(test, &tests), "{}: there is no test `{test}`", at());
        }
        if let Some(folder) = &row.run_in {
            let folder = testbed::root().join("cli/tests/page_commands").join(folder);
            ensure!(folder.is_dir(), "{}: there is no {}", at(), folder.display());
        }
        // Of a reason every second piece between backticks is code.
        for code in row.not_run.iter().flat_map(|reason| reason.split('`').skip(1).step_by(2)) {
            let exists = match code.strip_suffix("()") {
                Some(test) => is_test(test, &tests),
                None => names_what_exists(code)?,
            };
            ensure!(exists, "{}: there is no `{code}`", at());
        }
    }
    Ok(())
}

#[test]
fn commands_that_no_test_runs_are_well_formed_and_name_what_exists() -> Result<()> {
    let rows = rows()?;
    let folder = tempfile::tempdir()?;
    let mut checked = 0;
    for page in page::all()? {
        for (_, text) in page.blocks.iter().filter(|(language, _)| language == "sh") {
            if row_of(&rows, &page, text)?.not_run.is_none() {
                continue;
            }
            let printed = run_program("bash", &["-n"], text, folder.path())?;
            ensure!(printed.succeeded && printed.all().is_empty(), "{}: {text}{}", page.name, printed.all());
            for line in text.lines() {
                ensure!(names_what_exists(line)?, "{}: `{line}` names what is not there", page.name);
                checked += 1;
            }
        }
    }
    ensure!(checked > 10, "{checked} commands");
    Ok(())
}

/// Tells whether the make target, the test or the file that a command begins with is there.
fn names_what_exists(command: &str) -> Result<bool> {
    let mut words = command.split(" #").next().unwrap_or_default().split_whitespace();
    Ok(match words.next().unwrap_or_default() {
        "make" => {
            let makefile = fs::read_to_string(testbed::root().join("Makefile"))?;
            words.next().is_some_and(|target| makefile.contains(&format!("\n{target}:")))
        }
        "cargo" => names_a_test(&words.collect::<Vec<_>>())?,
        "skopeo" | "cosign" => true,
        path => testbed::root().join(path).exists(),
    })
}

/// Tells whether the package, the test file and the names of tests in a call of `cargo test` are there.
fn names_a_test(words: &[&str]) -> Result<bool> {
    let manifests = fs::read_to_string(testbed::root().join("Cargo.lock"))?;
    let tests = test_sources()? + &policy_sources()?;
    let mut flag = "";
    for word in words.iter().skip(1) {
        let exists = match flag {
            "--package" => manifests.contains(&format!("name = \"{word}\"\n")),
            "--test" => {
                ["", ".rs"].iter().any(|end| testbed::root().join(format!("host-tests/tests/{word}{end}")).exists())
            }
            _ if word.starts_with('-') || word.starts_with('"') || !word.contains('_') => true,
            _ => tests.contains(word),
        };
        if !exists {
            return Ok(false);
        }
        flag = word;
    }
    Ok(words.first() == Some(&"test"))
}

/// The unit tests of `policy/`, where one is named.
fn policy_sources() -> Result<String> {
    let mut sources = String::new();
    crate::references::add_sources(&testbed::root().join("policy/src"), &mut sources)?;
    Ok(sources)
}
