//! The part of `docs/errors.md` about codes: written from `codes/`, a file for each code with an example and what to write
//! instead. `SNAPSHOTS=overwrite` writes the page.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use sallyport_analysis::{Code, Finding, Project, Settings, Severity, Workload, check, codes};
use serde::Deserialize;

const BEGIN: &str = "<!-- Written by make errors-page from cli/analysis/codes: begin -->\n";
const END: &str = "<!-- Written by make errors-page: end -->\n";

/// File of a code.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Entry {
    /// Further text.
    about: Option<String>,
    /// Name of the example's file.
    file: Option<String>,
    /// Flags of the call.
    flags: Option<String>,
    configuration: Option<String>,
    /// Name and text of a file beside the example's.
    beside_file: Option<String>,
    beside: Option<String>,
    /// Number of times that the last line of the example is repeated; the page has it once.
    repeat: Option<usize>,
    example: String,
    instead_flags: Option<String>,
    /// Configuration file of the better version; `none` is no file.
    instead_configuration: Option<String>,
    instead: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("codes")
}

#[expect(clippy::panic, reason = "a test without the entry has failed")]
fn read(code: &Code) -> Entry {
    let path = folder().join(format!("{}.yaml", code.name));
    let text = fs::read_to_string(&path).unwrap_or_else(|_| panic!("no entry for {}: {}", code.name, path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[expect(clippy::panic, clippy::expect_used, reason = "a test with another flag has failed")]
fn settings(flags: Option<&str>) -> Settings {
    let mut settings = Settings::default();
    let words: Vec<&str> = flags.unwrap_or_default().split_whitespace().collect();
    for pair in words.chunks(2) {
        match pair {
            ["--workload", text] => settings.workload = Some(Workload::parse(text).expect("a workload")),
            ["--default-action", text] => settings.default_action = Some((*text).to_owned()),
            other => panic!("{other:?}"),
        }
    }
    settings
}

/// Findings of a text, each with its line.
fn findings(entry: &Entry, flags: Option<&str>, configuration: Option<&str>, text: &str) -> Vec<(usize, Finding)> {
    let mut project = Project::new(settings(flags));
    if let Some(configuration) = configuration.filter(|text| text.trim() != "none") {
        project.add_config("sallyport.yaml", configuration);
    }
    project.add(entry.file.as_deref().unwrap_or("policies.yaml"), text);
    if let (Some(name), Some(beside)) = (&entry.beside_file, &entry.beside) {
        project.add(name, beside);
    }
    let report = check(&project, &[]);
    let with_line = |finding: Finding| (finding.place(project.sources()).1.line, finding);
    report.findings.into_iter().map(with_line).collect()
}

impl Entry {
    fn of_example(&self) -> Vec<(usize, Finding)> {
        let mut text = self.example.clone();
        if let Some(last) = self.example.lines().last().filter(|_| self.repeat.is_some()) {
            // Each line with a number of its own, as no path is given twice.
            let (start, _) = last.split_at(last.len() - 6);
            (1..self.repeat.unwrap_or_default()).for_each(|number| text.push_str(&format!("{start}{number:06}\n")));
        }
        findings(self, self.flags.as_deref(), self.configuration.as_deref(), &text)
    }

    fn of_instead(&self) -> Vec<(usize, Finding)> {
        let flags = self.instead_flags.as_deref().or(self.flags.as_deref());
        let configuration = self.instead_configuration.as_deref().or(self.configuration.as_deref());
        findings(self, flags, configuration, &self.instead)
    }
}

#[test]
fn each_example_gives_its_code_and_what_stands_instead_gives_none() {
    let mut wrong = Vec::new();
    for code in codes() {
        let entry = read(&code);
        let found = entry.of_example();
        let is_it = |(_, finding): &(usize, Finding)| finding.code == code.name && finding.severity == code.severity;
        if found.is_empty() || !found.iter().all(is_it) {
            wrong.push(format!("{}: {found:?}", code.name));
        }
        let instead = entry.of_instead();
        if !instead.is_empty() {
            wrong.push(format!("instead of {}: {instead:?}", code.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn there_is_an_entry_for_each_code_and_no_other() {
    let known: BTreeSet<String> = codes().iter().map(|code| code.name.to_owned()).collect();
    let files = fs::read_dir(folder()).expect("the entries");
    let names = files.map(|file| file.expect("an entry").path().with_extension(""));
    let names: BTreeSet<String> =
        names.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect();
    assert_eq!(names, known);
}

/// Codes are constants that `codes` lists; one that is written in place would have no entry.
#[test]
fn no_code_is_written_in_place() {
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut files = 0;
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).expect("a folder").map(|entry| entry.expect("a file").path()));
            continue;
        }
        let text = fs::read_to_string(&path).expect("a file");
        assert!(!text.contains("code: \"") || text.contains("Lint {"), "{}", path.display());
        files += 1;
    }
    assert!(files > 40, "{files}");
}

#[test]
fn the_page_has_what_the_entries_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
    let page = fs::read_to_string(&path).expect("the page");
    let (before, rest) = page.split_once(BEGIN).expect("the begin of the codes");
    let (_, after) = rest.split_once(END).expect("the end of the codes");
    let written = format!("{before}{BEGIN}{}{END}{after}", sections());
    if std::env::var("SNAPSHOTS").is_ok_and(|action| action == "overwrite") {
        fs::write(&path, written).expect("the page is written");
        return;
    }
    assert!(written == page, "docs/errors.md is not what cli/analysis/codes says; run make errors-page");
}

fn sections() -> String {
    let mut text = String::new();
    let titles = [(Severity::Error, "Errors"), (Severity::Warning, "Warnings"), (Severity::Note, "Notes")];
    for (severity, title) in titles {
        text.push_str(&format!("\n### {title}\n"));
        for code in codes().into_iter().filter(|code| code.severity == severity) {
            section(&code, &read(&code), &mut text);
        }
    }
    text.push('\n');
    text
}

fn section(code: &Code, entry: &Entry, text: &mut String) {
    text.push_str(&format!("\n#### {}\n\n{}.\n", code.name, code.title));
    if let Some(about) = &entry.about {
        text.push_str(&format!("\n{about}"));
    }
    let name = entry.file.as_deref().unwrap_or("policies.yaml");
    let with = |flags: Option<&str>| flags.map(|flags| format!("With `{flags}`:\n\n")).unwrap_or_default();
    let block = |content: &str| format!("```yml\n{content}```\n");
    if let (Some(name), Some(beside)) = (&entry.beside_file, &entry.beside) {
        text.push_str(&format!("\nBeside `{name}`:\n\n{}", block(beside)));
    }
    text.push_str(&format!("\n{}{}", with(entry.flags.as_deref()), block(&entry.example)));
    if let Some(repeat) = entry.repeat {
        text.push_str(&format!("\nand {repeat} such paths:\n"));
    }
    let lines = entry.of_example().into_iter().map(|(line, finding)| {
        format!(
            "{}[{}] {name}:{line}\n{}\nhelp: {}\n",
            finding.severity.as_str(),
            code.name,
            finding.message,
            finding.help
        )
    });
    text.push_str(&format!("\n```\n{}```\n", lines.collect::<String>()));
    let is_same = entry.instead == entry.example;
    text.push_str("\nInstead");
    match (entry.instead_flags.as_deref(), entry.instead_configuration.as_deref()) {
        (Some(flags), _) => text.push_str(&format!(", with `{flags}`")),
        (_, Some("none" | "none\n")) => text.push_str(", without the other configuration file"),
        (_, Some(configuration)) => text.push_str(&format!(", with `{}` in sallyport.yaml", configuration.trim())),
        (None, None) => {}
    }
    match is_same {
        true => text.push_str(".\n"),
        false => text.push_str(&format!(":\n\n{}", block(&entry.instead))),
    }
}
