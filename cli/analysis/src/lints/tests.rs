//! Lints of carriers, against what a project says of itself.

use std::fs;
use std::path::Path;

use super::*;
use crate::settings::Settings;

/// Documents of the files of a folder.
fn documents(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").path());
    let texts = files.filter(|path| path.is_file()).map(|path| fs::read_to_string(path).expect("a file"));
    texts.flat_map(|text| text.split("\n---\n").map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn project_of(documents: &[String]) -> Project {
    let mut project = Project::new(Settings::default());
    for (index, document) in documents.iter().enumerate() {
        project.add(&format!("{index}.yaml"), document);
    }
    project
}

/// The playground reads a file with its small module, unless `Project::needs_whole` says that these lints have something to
/// look at.
#[test]
fn lints_of_carriers_find_nothing_in_what_needs_no_carriers() {
    let (mut left, mut carriers) = (Vec::new(), 0);
    let folders = ["tests/lints", "../../envoy-config", "../../envoy-config/kubernetes"];
    for document in folders.into_iter().flat_map(documents) {
        let project = project_of(std::slice::from_ref(&document));
        let contents = project.contents();
        let linter = Linter::new(&project, &contents);
        let findings: Vec<Finding> = OF_CARRIERS.iter().flat_map(|lint| lint(&linter)).collect();
        match project.needs_whole() {
            true => carriers += 1,
            false => {
                assert_eq!(findings, [], "{document}");
                left.push(document);
            }
        }
    }
    assert!(left.len() > 60 && carriers > 60, "{} and {carriers}", left.len());
    // Nor in all of them together.
    let project = project_of(&left);
    let contents = project.contents();
    let linter = Linter::new(&project, &contents);
    let findings: Vec<Finding> = OF_CARRIERS.iter().flat_map(|lint| lint(&linter)).collect();
    assert_eq!(findings, []);
}
