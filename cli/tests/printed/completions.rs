//! Output and files of `sallyport completions`.

use std::fs;

use crate::output::sallyport;

#[test]
fn completions_and_the_manual_are_printed() {
    for (shell, words) in
        [("bash", "complete -F"), ("zsh", "#compdef sallyport"), ("fish", "complete -c"), ("man", ".TH sallyport 1")]
    {
        let output = sallyport("check", &["completions", shell]);
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && printed.contains(words) && printed.contains("explain"),
            "{shell}: {printed}"
        );
    }
}

#[test]
fn files_have_the_names_that_shells_and_man_look_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("share");
    for shell in ["bash", "zsh", "fish", "man"] {
        let output = sallyport("check", &["completions", shell, "--output", &path.to_string_lossy()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let mut names: Vec<String> = fs::read_dir(&path)
        .expect("a folder")
        .map(|entry| entry.expect("a file").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let verbs = ["check", "completions", "explain", "render", "test", "who"].map(|verb| format!("sallyport-{verb}.1"));
    let mut expected = ["_sallyport", "sallyport", "sallyport.1", "sallyport.fish"].map(str::to_owned).to_vec();
    expected.extend(verbs);
    expected.sort();
    assert_eq!(names, expected);
    let page = fs::read_to_string(path.join("sallyport-explain.1")).expect("a page");
    assert!(page.contains("sallyport explain policies/"), "{page}");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let output = sallyport("check", &["completions", "man", "--output", "faults/list.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.starts_with("sallyport: creating faults/list.yaml: "), "{said}");
}
