//! Policies and configurations that are as their authors mean them, of which `check` says nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sallyport_analysis::{Project, Settings, Severity, check};
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Files of YAML below a folder.
#[expect(clippy::expect_used, reason = "a test without the files has failed")]
fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut open, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(path) = open.pop() {
        match path.is_dir() {
            true => open.extend(fs::read_dir(path).expect("a folder").map(|entry| entry.expect("a file").path())),
            false if path.extension().is_some_and(|ending| ending == "yaml") => files.push(path),
            false => {}
        }
    }
    files.sort();
    files
}

/// Configurations of the cases of a suite that load, each once.
#[expect(clippy::expect_used, reason = "a test without the files has failed")]
fn configurations(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("a suite");
    let suite: Value = serde_saphyr::from_str(&text).expect("a suite");
    let cases = suite.get("cases").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut found: Vec<Value> = Vec::new();
    for case in cases.iter().filter(|case| case.pointer("/expect/refused").is_none()) {
        let configuration = case.get("configuration").or_else(|| suite.get("configuration"));
        found.extend(configuration.filter(|one| one.is_object() && !found.contains(one)).cloned());
    }
    found
}

/// Checks files as one project, and returns a line for each finding that is no note, and for each note.
#[expect(clippy::expect_used, reason = "a test without the files has failed")]
fn alarms(paths: &[PathBuf]) -> (Vec<String>, Vec<String>) {
    let mut project = Project::new(Settings::default());
    for path in paths {
        project.add(&path.to_string_lossy(), &fs::read_to_string(path).expect("a file"));
    }
    let report = check(&project, &[]);
    let line = |finding: &sallyport_analysis::Finding| {
        let (file, position) = finding.place(project.sources());
        format!("{file}:{} {}: {}", position.line, finding.code, finding.message)
    };
    let (notes, alarms): (Vec<_>, Vec<_>) =
        report.findings.iter().partition(|finding| finding.severity == Severity::Note);
    (alarms.into_iter().map(line).collect(), notes.into_iter().map(line).collect())
}

#[test]
fn of_manifests_as_teams_have_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/realistic");
    let all = files(&folder);
    // Each folder by itself, and all of them in one call.
    let (mut found, mut notes) = alarms(&all);
    for entry in fs::read_dir(&folder).expect("the manifests") {
        let (alarms, of_folder) = alarms(&files(&entry.expect("a folder").path()));
        found.extend(alarms);
        notes.extend(of_folder);
    }
    // Three images are named by a version alone, as teams do. Nothing else is worth a note.
    notes.retain(|note| !note.contains(" mutable-image: "));
    found.extend(notes);
    println!("{} false alarms in {} files", found.len(), all.len());
    assert!(all.len() >= 8);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn of_the_configurations_to_copy_and_of_what_render_writes() {
    let mut paths = files(&root().join("envoy-config"));
    let rendered = ["bootstrap", "ecds", "envoy-filter", "envoy-gateway", "tcp", "trafficextension", "wasmplugin"];
    paths.extend(
        rendered
            .map(|place| root().join(format!("cli/tests/render/{place}.yaml")))
            .into_iter()
            .filter(|path| path.exists()),
    );
    // Each by itself: they are examples of different proxies.
    let each = paths.iter().map(|path| alarms(std::slice::from_ref(path)));
    let (found, notes): (Vec<_>, Vec<_>) = each.unzip();
    let (mut found, mut notes) = (found.concat(), notes.concat());
    // What render writes of policies has no PeerAuthentication for Istio beside it.
    notes.retain(|note| !(note.contains("cli/tests/render/") && note.contains(" plaintext: ")));
    found.extend(notes);
    println!("{} false alarms in {} files", found.len(), paths.len());
    assert!(paths.len() > 25, "{}", paths.len());
    assert!(found.is_empty(), "{found:#?}");
}

/// Codes of what configurations of the suites do on purpose.
const ON_PURPOSE: [&str; 6] =
    ["allows-everyone", "deny-without-subpaths", "dry-run", "load-warning", "report-mode", "superfluous-rule"];

#[test]
fn of_the_suites() {
    let (mut count, mut alarms) = (0, Vec::new());
    let mut by_code: BTreeMap<String, usize> = BTreeMap::new();
    for filter in ["identity-authz", "baseline-deny", "egress-allowlist"] {
        for path in files(&root().join("host-tests/suites").join(filter)) {
            for configuration in configurations(&path) {
                count += 1;
                let file = format!("/etc/sallyport/{filter}.wasm");
                let plugin =
                    json!({"vm_config": {"code": {"local": {"filename": file}}}, "configuration": configuration});
                let mut project = Project::new(Settings::default());
                project.add("envoy.json", &plugin.to_string());
                for finding in check(&project, &[]).findings {
                    *by_code.entry(finding.code.clone()).or_default() += 1;
                    if !ON_PURPOSE.contains(&finding.code.as_str()) {
                        alarms.push(format!(
                            "{}: {} {}\n{configuration}",
                            path.display(),
                            finding.code,
                            finding.message
                        ));
                    }
                }
            }
        }
    }
    println!("{} false alarms in {count} configurations; on purpose: {by_code:?}", alarms.len());
    assert!(count > 500, "{count}");
    assert!(alarms.is_empty(), "{} false alarms: {alarms:#?}", alarms.len());
}
