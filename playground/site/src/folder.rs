//! The folder `dist/playground/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use testbed::root;
use wasm_bindgen_cli_support::Bindgen;

use crate::arrange::arrange;
use crate::examples::examples_json;

/// Names of the modules and of the JavaScript that loads each: what the page needs at once, and everything.
const MODULES: [&str; 2] = ["answers", "all"];

/// Files of Ace that the page uses, by their names in Ace's folder.
const ACE_FILES: [&str; 4] = ["ace.js", "mode-yaml.js", "ext-searchbox.js", "LICENCE"];

/// Custom section `target_features` with `+reference-types`, which every browser has that the page works in. The release
/// profile strips the one of the compiler, and bindgen warns where it finds none.
const TARGET_FEATURES: &[u8] = b"\x00\x22\x0ftarget_features\x01+\x0freference-types";

/// Builds `dist/playground/`, once a process, and returns its path. A file that is the same already is left as it is.
///
/// # Errors
///
/// A build that fails, and what cannot be fetched or written.
pub fn build() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT.get_or_init(|| write_folder().map_err(|error| format!("{error:#}"))).clone().map_err(|error| anyhow!(error))
}

fn write_folder() -> Result<PathBuf> {
    let folder = root().join("dist/playground");
    run("tools/build-wasm", &["playground"])?;
    let ace = PathBuf::from(run("tools/find-ace", &[])?.trim());
    for name in ["", "wasm", "ace"] {
        fs::create_dir_all(folder.join(name))?;
    }
    for name in MODULES {
        let mut module = read(&root().join("target/playground").join(name).with_extension("wasm"))?;
        module.extend(TARGET_FEATURES);
        let bound = tempfile::tempdir()?;
        Bindgen::new()
            .input_bytes(name, module)
            .web(true)?
            .omit_default_module_path(false)
            .typescript(false)
            .remove_name_section(true)
            .remove_producers_section(true)
            .generate(bound.path())?;
        let module = bound.path().join(format!("{name}_bg.wasm"));
        fs::write(&module, arrange(&read(&module)?)?)?;
        copy_code(bound.path(), &folder.join("wasm"))?;
    }
    remove_others(&folder.join("wasm"))?;
    copy_code(&root().join("playground/page"), &folder)?;
    for name in ACE_FILES {
        write(&folder.join("ace").join(name), &read(&ace.join(name))?)?;
    }
    write(&folder.join("ace/ace.css"), style_of_ace(&ace.join("css"))?.as_bytes())?;
    write(&folder.join("examples.json"), examples_json()?.as_bytes())?;
    Ok(folder)
}

/// Removes what an earlier version of the page had beside its modules.
fn remove_others(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_own = MODULES.iter().any(|module| name == format!("{module}.js") || name == format!("{module}_bg.wasm"));
        if !is_own && !name.starts_with('.') {
            fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

/// Returns Ace's style sheet with its pictures inside, so that the page asks for nothing once it has loaded.
fn style_of_ace(folder: &Path) -> Result<String> {
    const PICTURE: &str = "url(\"./";
    let style = String::from_utf8(read(&folder.join("ace.css"))?)?;
    let mut parts = style.split(PICTURE);
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('"').context("ace.css has a picture without an end")?;
        let kind = if name.ends_with(".svg") { "svg+xml" } else { "png" };
        let picture = STANDARD.encode(read(&folder.join(name))?);
        whole.push_str(&format!("url(\"data:image/{kind};base64,{picture}\"{rest}"));
    }
    Ok(whole)
}

/// Copies the files of a folder, scripts without their comments.
fn copy_code(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        match path.extension().is_some_and(|ending| ending == "js") {
            true => write(&to.join(name), without_comments(&String::from_utf8(read(&path)?)?).as_bytes())?,
            false => write(&to.join(name), &read(&path)?)?,
        }
    }
    Ok(())
}

/// Drops lines that are comments.
fn without_comments(script: &str) -> String {
    let mut is_block = false;
    let is_code = |line: &&str| {
        let text = line.trim();
        is_block |= text.starts_with("/*");
        let is_comment = is_block || text.starts_with("//");
        is_block &= !text.ends_with("*/");
        !is_comment && !text.is_empty()
    };
    script.lines().filter(is_code).fold(String::new(), |all, line| all + line + "\n")
}

/// Copies the files of a folder, and none of the folders in it.
pub(crate) fn copy_all(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        // One with a dot is being written by another process.
        let is_whole = !entry.file_name().to_string_lossy().starts_with('.');
        if is_whole && entry.file_type()?.is_file() {
            write(&to.join(entry.file_name()), &read(&entry.path())?)?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}

/// Writes a file at once, so that who reads it at the same time gets the old one or the new one.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = path.with_file_name(format!(".{name}.{}", std::process::id()));
    fs::write(&fresh, content).with_context(|| format!("writing {}", fresh.display()))?;
    Ok(fs::rename(&fresh, path)?)
}

/// Runs a tool of this repository and returns its output.
pub(crate) fn run(tool: &str, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(root().join(tool));
    let output = command.args(arguments).env("SALLYPORT_QUIET", "1").stderr(Stdio::inherit()).output();
    let output = output.with_context(|| tool.to_owned())?;
    if !output.status.success() {
        bail!("{tool} failed; see the messages above");
    }
    ensure!(!output.stdout.is_empty() || arguments.contains(&"playground"), "{tool} printed nothing");
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::without_comments;

    #[test]
    fn comments_go_and_code_stays() {
        let script = "// a\nlet b = 1; // c\n/**\n * d\n */\nlet e = '// f';\n\n  /* g */\nlet h;\n";
        assert_eq!(without_comments(script), "let b = 1; // c\nlet e = '// f';\nlet h;\n");
    }
}
