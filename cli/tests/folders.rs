//! Folders with what is no text, links in a circle and links to nowhere.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Result, ensure};

const FAULT: &str = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a, namespace: shop}\n\
                     spec: {mtls: {mode: STRIKT}}\n";

fn check(folder: &Path) -> Result<Output> {
    Ok(Command::new(env!("CARGO_BIN_EXE_sallyport")).current_dir(folder).args(["check", "."]).output()?)
}

/// Checks a folder, and holds what is printed to the exit code and to each of these texts.
fn assert_prints(folder: &Path, code: i32, texts: &[&str]) -> Result<()> {
    let output = check(folder)?;
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.code() == Some(code), "{:?}: {printed}", output.status);
    for text in texts {
        ensure!(printed.contains(text), "no `{text}` in {printed}");
    }
    Ok(())
}

#[test]
fn links_in_a_circle_are_followed_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path();
    fs::create_dir_all(root.join("a/b"))?;
    fs::write(root.join("a/b/policy.yaml"), FAULT)?;
    symlink(root.join("a"), root.join("a/b/up"))?;
    symlink(root, root.join("a/root"))?;
    assert_prints(root, 1, &["STRIKT", "1 error in 1 file"])
}

#[test]
fn a_folder_behind_a_link_is_read() -> Result<()> {
    let (folder, elsewhere) = (tempfile::tempdir()?, tempfile::tempdir()?);
    fs::write(elsewhere.path().join("policy.yaml"), FAULT)?;
    symlink(elsewhere.path(), folder.path().join("team"))?;
    assert_prints(folder.path(), 1, &["./team/policy.yaml:4:21", "1 error in 1 file"])
}

#[test]
fn a_link_to_nowhere_is_an_error_that_names_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("policy.yaml"), FAULT)?;
    symlink("absent.yaml", folder.path().join("gone.yaml"))?;
    assert_prints(folder.path(), 2, &["reading ./gone.yaml", "No such file"])?;
    fs::remove_file(folder.path().join("gone.yaml"))?;
    symlink("two.yaml", folder.path().join("one.yaml"))?;
    symlink("one.yaml", folder.path().join("two.yaml"))?;
    assert_prints(folder.path(), 2, &["reading ./one.yaml", "symbolic links"])
}

#[test]
fn files_that_are_no_text_are_passed_over_or_found() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    fs::write(path("module.wasm"), b"\0asm\x01\0\0\0")?;
    fs::write(path("picture.png"), b"\x89PNG\r\n\x1a\n\xff\xfe")?;
    fs::write(path("README"), "no policy")?;
    fs::write(path("empty.yaml"), "")?;
    fs::write(path("comments.yml"), "# nothing\n---\n...\n")?;
    assert_prints(folder.path(), 0, &["nothing found in 2 files"])?;
    fs::write(path("module.yaml"), b"\0asm\x01\0\0\0")?;
    fs::write(path("latin.yaml"), b"# gr\xf6\xdfer\nkind: List\n")?;
    assert_prints(folder.path(), 1, &["./module.yaml:1:1", "./latin.yaml:1:5", "save the file as UTF-8", "2 errors"])
}

#[test]
fn texts_of_two_bytes_a_character_are_read() -> Result<()> {
    for order in [u16::to_le_bytes, u16::to_be_bytes] {
        let folder = tempfile::tempdir()?;
        let bytes: Vec<u8> = format!("\u{feff}{FAULT}").encode_utf16().flat_map(order).collect();
        fs::write(folder.path().join("policy.yaml"), bytes)?;
        assert_prints(folder.path(), 1, &["./policy.yaml:4:21", "1 error in 1 file"])?;
    }
    Ok(())
}
