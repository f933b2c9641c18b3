//! Files of `tests/lints`: a comment `# finds CODE` stands at each line that a lint reports, and at no other.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sallyport_analysis::{LINTS, Project, Settings, check};
use sallyport_policy::ErrorCode;

const MARK: &str = "# finds ";

#[test]
fn each_lint_fires_where_it_says_and_nowhere_else() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lints");
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("the files") {
        let path = entry.expect("a file").path();
        let text = fs::read_to_string(&path).expect("a file");
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let mut project = Project::new(Settings::default());
        project.add(&name, &text);
        let report = check(&project, &[]);
        let found: BTreeSet<(usize, String)> = report
            .findings
            .iter()
            .map(|finding| (finding.place(project.sources()).1.line, finding.code.clone()))
            .collect();
        let marks = text.lines().enumerate().filter_map(|(index, line)| Some((index + 1, line.split_once(MARK)?.1)));
        let expected: BTreeSet<(usize, String)> = marks.map(|(line, code)| (line, code.trim().to_owned())).collect();
        assert_eq!(found, expected, "{name}: {:#?}", report.findings);
        seen.extend(expected.into_iter().map(|(_, code)| code));
    }
    for lint in LINTS {
        assert!(seen.contains(lint.code), "no file of tests/lints has a case for {}", lint.code);
    }
}

#[test]
fn the_documentation_names_each_code() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/command.md");
    let page = fs::read_to_string(page).expect("the page");
    let codes = ErrorCode::ALL.into_iter().map(ErrorCode::as_str).chain(LINTS.into_iter().map(|lint| lint.code));
    for code in codes {
        assert!(page.contains(&format!("`{code}`")), "docs/command.md does not name {code}");
    }
}
