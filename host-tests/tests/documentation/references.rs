//! References of pages: files, headings, cases of suites, tests and commands.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use host_tests::suite::{Case, load};

use crate::FILTERS;
use crate::page::{self, Inline, Page};

#[test]
fn every_link_leads_to_a_file_or_heading() -> Result<()> {
    let mut checked = 0;
    for page in page::all()? {
        let folder = testbed::root().join(&page.name);
        let folder = folder.parent().context("a folder")?;
        for link in &page.links {
            if link.starts_with("https://") || link.starts_with("http://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() { testbed::root().join(&page.name) } else { folder.join(file) };
            ensure!(file.exists(), "{} links to {link}, which does not exist", page.name);
            ensure!(
                heading.is_empty() || has_heading(&file, heading)?,
                "{} links to {link}, no such heading",
                page.name
            );
            checked += 1;
        }
    }
    ensure!(checked > 60, "{checked} links");
    Ok(())
}

/// Searches a page for the heading of an anchor, as GitHub makes them.
fn has_heading(file: &Path, anchor: &str) -> Result<bool> {
    let page = page::named(&file.canonicalize()?.strip_prefix(testbed::root().canonicalize()?)?.display().to_string())?;
    let slug = |heading: &String| -> String {
        let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
        kept.flat_map(char::to_lowercase).map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    };
    Ok(page.headings.iter().any(|heading| slug(heading) == anchor))
}

/// A reference to a case, as `identity: *plaintext has no identity*`: the file of a suite, and how the name starts.
#[derive(Debug)]
pub(crate) struct CaseReference {
    pub(crate) file: String,
    pub(crate) name: String,
}

impl CaseReference {
    /// The cases that it names.
    pub(crate) fn among<'c>(&self, cases: &'c [Case]) -> Vec<&'c Case> {
        let start = format!("{}: {}", self.file, self.name);
        cases.iter().filter(|case| case.name.starts_with(&start)).collect()
    }
}

/// The cases that inlines refer to. Fails where the file is not said.
pub(crate) fn cases_in(inlines: &[Inline]) -> Result<Vec<CaseReference>> {
    let mut references = Vec::new();
    let mut file: Option<String> = None;
    for inline in inlines {
        match inline {
            Inline::Text(text) if text == ", " => {}
            Inline::Text(text) => {
                let word = text.strip_suffix(": ").and_then(|before| before.split([' ', '(']).next_back());
                file = word.map(str::to_owned);
            }
            Inline::Emphasis(name) => {
                let file = file.clone().with_context(|| format!("*{name}* does not say which suite it is in"))?;
                references.push(CaseReference { file, name: name.clone() });
            }
            Inline::Code(_) | Inline::Break => file = None,
        }
    }
    Ok(references)
}

/// The cases of all suites.
pub(crate) fn all_cases() -> Result<Vec<Case>> {
    let suites = FILTERS.map(|filter| load(&testbed::root().join("host-tests/suites").join(filter)));
    Ok(suites.into_iter().collect::<Result<Vec<_>>>()?.concat())
}

#[test]
fn every_case_that_a_page_names_is_in_a_suite() -> Result<()> {
    let cases = all_cases()?;
    let mut checked = 0;
    for page in page::documentation()? {
        for reference in cases_in(&page.inlines).with_context(|| page.name.clone())? {
            let CaseReference { file, name } = &reference;
            ensure!(!reference.among(&cases).is_empty(), "{}: no case of {file}.yaml starts with `{name}`", page.name);
            checked += 1;
        }
    }
    ensure!(checked > 120, "{checked} references");
    Ok(())
}

/// Folders of tests that pages may name.
const TESTS: [&str; 6] =
    ["host-tests/tests", "cli/tests", "stack/tests", "images/tests", "release/tests", "egress-zone/tests"];

/// Adds the sources below a folder.
pub(crate) fn add_sources(folder: &Path, sources: &mut String) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            add_sources(&path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// The sources of the tests that pages may name.
pub(crate) fn test_sources() -> Result<String> {
    let mut tests = String::new();
    for folder in TESTS {
        add_sources(&testbed::root().join(folder), &mut tests)?;
    }
    Ok(tests)
}

/// Tells whether there is a test of this name: a function, or a table of tests in `rows!`.
pub(crate) fn is_test(name: &str, tests: &str) -> bool {
    [format!("fn {name}() -> "), format!("rows! {{\n    {name}: ")].iter().any(|text| tests.contains(text))
}

#[test]
fn every_test_that_a_page_names_exists() -> Result<()> {
    let tests = test_sources()?;
    let mut checked = 0;
    for page in page::documentation()? {
        for name in page::codes(&page.inlines).filter_map(|code| code.strip_suffix("()")) {
            ensure!(is_test(name, &tests), "{}: there is no test `{name}`", page.name);
            checked += 1;
        }
    }
    ensure!(checked > 5, "{checked} tests");
    Ok(())
}

#[test]
fn every_command_and_file_that_a_page_names_exists() -> Result<()> {
    let makefile = fs::read_to_string(testbed::root().join("Makefile"))?;
    let mut checked = 0;
    for page in page::all()? {
        for code in page::codes(&page.inlines) {
            if let Some(target) = code.strip_prefix("make ") {
                let target = target.split(' ').next().unwrap_or_default();
                ensure!(makefile.contains(&format!("\n{target}:")), "{}: there is no `make {target}`", page.name);
                checked += 1;
            } else if is_path(&page, code) {
                ensure!(testbed::root().join(code).exists(), "{}: there is no {code}", page.name);
                checked += 1;
            }
        }
    }
    ensure!(checked > 30, "{checked} commands and files");
    Ok(())
}

/// Tells a path from the root of the repository from other code. ARCHITECTURE.md shortens paths in a row.
fn is_path(page: &Page, code: &str) -> bool {
    let folders =
        ["host-tests/", "envoy-config/", "docs/", "policy/", "plugins/", "tools/", "stack/", "bench/", "demo/"];
    page.name != "ARCHITECTURE.md"
        && folders.iter().any(|folder| code.starts_with(folder))
        && !code.contains(['*', '<', '{', ' '])
}

/// A newcomer reads the whole of it in five minutes.
#[test]
fn the_readme_stays_under_a_thousand_words() -> Result<()> {
    let words = fs::read_to_string(testbed::root().join("README.md"))?.split_whitespace().count();
    ensure!(words < 1_000, "README.md has {words} words");
    Ok(())
}
