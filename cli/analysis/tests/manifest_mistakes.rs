//! Mistakes in the manifests of `envoy-config`, made one by one: `check` says each with its code, its line and the fix, and
//! nothing of the manifests as they are. `manifest_mistakes.yaml` lists them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sallyport_analysis::{Project, Report, Settings, check};
use serde::Deserialize;

/// Mistake in a manifest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mistake {
    /// Row of docs/kubernetes.md that warns of it.
    docs: Option<String>,
    /// Sentence about it.
    about: Option<String>,
    /// File below `envoy-config`.
    file: String,
    /// Text that is replaced once.
    replace: Option<String>,
    /// Text in its place.
    by: Option<String>,
    /// Another change.
    and: Option<Change>,
    /// Document behind the others.
    add: Option<String>,
    /// Another file in the same call.
    with: Option<String>,
    /// Code of the finding.
    finds: String,
    /// Weight of the finding; a warning if it is not said.
    severity: Option<String>,
    /// File with the finding, if it is another.
    r#in: Option<String>,
    /// Text of the line.
    at: String,
    /// Text of the fix.
    fix: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    replace: String,
    by: String,
}

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[expect(clippy::expect_used, reason = "a test without the files has failed")]
fn read(file: &str) -> String {
    fs::read_to_string(root().join("envoy-config").join(file)).expect("a manifest")
}

#[expect(clippy::expect_used, reason = "a test without the files has failed")]
fn mistakes() -> Vec<Mistake> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifest_mistakes.yaml");
    serde_saphyr::from_str(&fs::read_to_string(path).expect("the mistakes")).expect("mistakes")
}

/// Changes a text, which has to have what is replaced.
fn change(text: &mut String, replaced: &str, by: &str) {
    assert!(text.contains(replaced), "nothing is replaced: {replaced}");
    *text = text.replacen(replaced, by, 1);
}

impl Mistake {
    /// Checks the manifest with the mistake, or without it.
    fn check(&self, is_made: bool) -> (Project, Report) {
        let mut text = read(&self.file);
        if is_made {
            if let Some(replaced) = &self.replace {
                change(&mut text, replaced, self.by.as_deref().unwrap_or_default());
            }
            if let Some(other) = &self.and {
                change(&mut text, &other.replace, &other.by);
            }
            if let Some(document) = &self.add {
                text.push_str("---\n");
                text.push_str(document);
            }
        }
        let mut project = Project::new(Settings::default());
        project.add(&self.file, &text);
        for file in self.with.iter().filter(|_| is_made) {
            project.add(file, &read(file));
        }
        let report = check(&project, &[]);
        (project, report)
    }
}

#[test]
fn each_mistake_is_found_at_its_line_with_its_fix() {
    let mut wrong = Vec::new();
    for mistake in mistakes() {
        let (project, report) = mistake.check(true);
        let severity = mistake.severity.as_deref().unwrap_or("warning");
        let file = mistake.r#in.as_ref().unwrap_or(&mistake.file);
        let is_it = |finding: &&sallyport_analysis::Finding| {
            let (name, position) = finding.place(project.sources());
            let source = project.sources().iter().find(|source| source.name == name);
            let line = source.map(|source| source.line(position.line)).unwrap_or_default();
            finding.code == mistake.finds
                && finding.severity.as_str() == severity
                && name == file
                && line.contains(&mistake.at)
                && finding.help.contains(&mistake.fix)
        };
        if report.findings.iter().any(|finding| is_it(&finding)) {
            continue;
        }
        let what = mistake.docs.or(mistake.about).unwrap_or_default();
        let found: Vec<String> = report
            .findings
            .iter()
            .map(|finding| {
                let (name, position) = finding.place(project.sources());
                format!("{name}:{} {}: {} ({})", position.line, finding.code, finding.message, finding.help)
            })
            .collect();
        wrong.push(format!("{what} in {}: {} at {}, but {found:#?}", mistake.file, mistake.finds, mistake.at));
    }
    assert!(wrong.is_empty(), "{} mistakes are not found: {}", wrong.len(), wrong.join("\n"));
}

#[test]
fn without_its_mistake_a_manifest_has_no_finding() {
    let mistakes = mistakes();
    assert!(mistakes.len() > 60, "{}", mistakes.len());
    for mistake in mistakes {
        let (_, report) = mistake.check(false);
        assert_eq!(report.findings, [], "{}", mistake.file);
    }
}

/// The rows of the table of docs/kubernetes.md, with what `check` says in the third column.
#[test]
fn each_mistake_that_the_page_warns_of_is_made_here() {
    let page = fs::read_to_string(root().join("docs/kubernetes.md")).expect("the page");
    let (_, table) = page.split_once("| mistake | what happens | `check` says | shown by |\n").expect("the table");
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>());
    let mut written = BTreeSet::new();
    for row in cells {
        let [mistake, _, says, _] = row.as_slice() else { panic!("{row:?}") };
        for code in says.split(", ") {
            written.insert(((*mistake).to_owned(), code.trim_matches('`').to_owned()));
        }
    }
    let made: BTreeSet<(String, String)> =
        mistakes().into_iter().filter_map(|mistake| Some((mistake.docs?, mistake.finds))).collect();
    assert_eq!(written, made);
}
