//! Files of `tests/lints`: a comment `# finds CODE` stands at each line that a lint reports, and at no other.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sallyport_analysis::{Finding, LINTS, Project, Settings, Severity, check};
use sallyport_policy::ErrorCode;

const MARK: &str = "# finds ";

#[test]
fn each_lint_fires_where_it_says_and_nowhere_else() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lints");
    let (mut seen, mut wrong) = (BTreeSet::new(), Vec::new());
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
        for (line, code) in found.symmetric_difference(&expected) {
            let of_line =
                |finding: &&Finding| finding.code == *code && finding.place(project.sources()).1.line == *line;
            let message = report.findings.iter().find(of_line).map_or("is not found", |finding| &finding.message);
            wrong.push(format!("{name}:{line} {code}: {message}"));
        }
        seen.extend(expected.into_iter().map(|(_, code)| code));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // A size is made in a test of its own, and so is a configuration file.
    for lint in LINTS.into_iter().filter(|lint| !["near-size-limit", "header-case"].contains(&lint.code)) {
        assert!(seen.contains(lint.code), "no file of tests/lints has a case for {}", lint.code);
    }
}

#[test]
fn each_finding_is_silenced_on_its_line_and_by_its_code() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lints");
    for entry in fs::read_dir(folder).expect("the files") {
        let path = entry.expect("a file").path();
        let text = fs::read_to_string(&path).expect("a file");
        let found = |text: &str, ignored: &[String]| {
            let mut project = Project::new(Settings::default());
            project.add("policies.yaml", text);
            check(&project, ignored).findings
        };
        let codes: Vec<String> = found(&text, &[]).into_iter().map(|finding| finding.code).collect();
        assert!(!codes.is_empty() || !text.contains(MARK), "{}", path.display());
        assert_eq!(found(&text, &codes), [], "{}", path.display());
        assert_eq!(found(&text.replace(MARK, "# sallyport:ignore "), &[]), [], "{}", path.display());
    }
}

/// Findings of a code of one policy beside a configuration file.
fn with_settings(code: &str, settings: &str, action: &str, key: &str, value: &str) -> Vec<Finding> {
    let mut project = Project::new(Settings::default());
    project.add("sallyport.yaml", settings);
    project.add("policies.yaml", &format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: a, namespace: b}}\nspec: {{action: {action}, rules: [{{when: [{{key: '{key}', values: ['{value}']}}]}}]}}\n"
    ));
    let report = check(&project, &[]);
    report.findings.into_iter().filter(|finding| finding.code == code).collect()
}

#[test]
fn a_denial_by_user_agent_that_the_other_filter_reads_is_found() {
    let both = "identityAuthz: {defaultAction: ALLOW}\nbaselineDeny: {presets: [scanners]}\n";
    let agent = "request.headers[User-Agent]";
    for (settings, action, key, value, count) in [
        (both, "DENY", agent, "*badbot*", 1),
        (both, "DENY", agent, "1?2", 1),
        (both, "DENY", agent, "1.2/*", 0),
        (both, "DENY", "request.headers[x-tenant]", "*badbot*", 0),
        (both, "ALLOW", agent, "*badbot*", 0),
        ("identityAuthz: {defaultAction: ALLOW}\n", "DENY", agent, "*badbot*", 0),
        ("baselineDeny: {presets: [scanners]}\n", "DENY", agent, "*badbot*", 0),
    ] {
        let found = with_settings("header-case", settings, action, key, value);
        assert_eq!(found.len(), count, "{settings} {action} {key} {value}: {found:?}");
    }
}

#[test]
fn report_mode_of_the_configuration_file_is_a_note() {
    for (settings, count) in [
        ("identityAuthz: {defaultAction: ALLOW, mode: report}\n", 1),
        ("identityAuthz: {defaultAction: ALLOW, mode: enforce}\n", 0),
        ("identityAuthz: {defaultAction: ALLOW, mode: report}\nbaselineDeny: {presets: [scanners], mode: report}\n", 2),
        ("egressAllowlist: {mode: report, rules: [{name: a, hosts: [a.test]}]}\n", 1),
    ] {
        let found = with_settings("report-mode", settings, "DENY", "source.ip", "10.0.0.1");
        assert_eq!(found.len(), count, "{settings}: {found:?}");
        assert!(found.iter().all(|finding| finding.severity == Severity::Note), "{found:?}");
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

/// Returns the messages of a code about a resource that is as large as `count` paths of 60 bytes make it.
fn sizes(head: &str, item: &str, count: usize) -> Vec<String> {
    let text = format!("{head}{}", item.repeat(count));
    let mut project = Project::new(Settings::default());
    project.add("large.yaml", &text);
    let report = check(&project, &[]);
    let near = report.findings.into_iter().filter(|finding| finding.code == "near-size-limit");
    near.map(|finding| finding.message).collect()
}

#[test]
fn resources_near_the_limits_of_kubernetes_are_found() {
    let policy = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: large, namespace: shop}\n\
                  spec:\n  rules:\n  - to:\n    - operation:\n        paths:\n";
    // In JSON a path takes 60 bytes with its quotes and its comma.
    let path = format!("        - /{}\n", "a".repeat(56));
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: large}\ndata:\n  identity-authz.json: |\n";
    let other_map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: large}\ndata:\n  dashboard.json: |\n";
    let line = format!("    {}\n", "a".repeat(99));
    let rows = [
        (policy, &path, 3900, None),
        (policy, &path, 4000, Some("is near a limit: `kubectl apply` keeps")),
        (policy, &path, 4400, Some("is beyond a limit: `kubectl apply` keeps")),
        (policy, &path, 24000, Some("is near a limit: etcd takes requests of 1572864 bytes")),
        (policy, &path, 27000, Some("is beyond a limit: etcd takes")),
        (map, &line, 9500, Some("is near a limit: the data of a ConfigMap has at most 1048576 bytes")),
        (map, &line, 11000, Some("is beyond a limit: the data of a ConfigMap")),
        (other_map, &line, 11000, None),
    ];
    for (head, item, count, expected) in rows {
        let found = sizes(head, item, count);
        match expected {
            Some(expected) => assert!(found.iter().any(|one| one.contains(expected)), "{count}: {found:?}"),
            None => assert_eq!(found, Vec::<String>::new(), "{count}"),
        }
    }
}
