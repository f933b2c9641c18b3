//! `docs/identity.md` names cases of the suites for what it says: each of them is there.

use std::fs;

use anyhow::{Result, ensure};
use host_tests::suite::load;

#[test]
fn every_case_that_the_page_names_is_in_a_suite() -> Result<()> {
    let cases = load(&testbed::root().join("host-tests/suites/identity-authz"))?;
    let page = fs::read_to_string(testbed::root().join("docs/identity.md"))?;
    // Stars stand around the names, and in what is no name between back quotes, bold type and settings.
    let prose: String = page.split("```").step_by(2).collect();
    let prose: String = prose.replace("**", "").split('`').step_by(2).collect();
    let names: Vec<_> = prose.split('*').skip(1).step_by(2).collect();
    ensure!(names.len() > 25, "{names:?}");
    for name in names {
        let known = cases.iter().any(|case| case.name.split_once(": ").is_some_and(|(_, own)| own.starts_with(name)));
        ensure!(known, "no case is named `{name}`");
    }
    Ok(())
}
