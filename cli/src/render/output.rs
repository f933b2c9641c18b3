//! Writing of rendered files.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use sallyport_analysis::RenderedFile;

/// File with the settings that Envoy reads only when it starts.
pub(super) const BOOTSTRAP: &str = "envoy.yaml";

/// Lines that were printed last, so that they are not printed again.
#[derive(Debug, Default)]
pub(super) struct Printed(Vec<String>);

impl Printed {
    /// Prints lines to standard error, unless they are the ones of the last time.
    pub(super) fn print(&mut self, lines: &[String]) {
        if self.0 != lines {
            lines.iter().for_each(|line| anstream::eprintln!("{line}"));
            self.0 = lines.to_vec();
        }
    }
}

/// Writes the files that changed into a folder. Each takes the place of the old one at once: a reader sees one of the two.
///
/// # Errors
///
/// A folder or a file that cannot be written.
pub(super) fn write(folder: &Path, files: &[RenderedFile]) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    for file in files {
        let path = folder.join(&file.name);
        let old = fs::read_to_string(&path).ok();
        if old.as_ref() == Some(&file.text) {
            continue;
        }
        replace(folder, &path, &file.text).with_context(|| format!("writing {}", path.display()))?;
        anstream::eprintln!("{} {}", if old.is_some() { "changed" } else { "wrote" }, path.display());
        if old.is_some() && file.name == BOOTSTRAP {
            anstream::eprintln!("Envoy reads {BOOTSTRAP} when it starts: restart it");
        }
    }
    Ok(())
}

/// Writes a new file beside the old one and moves it into its place, when it is safely on the disk.
///
/// # Errors
///
/// A folder or a file that cannot be written.
pub(super) fn replace(folder: &Path, path: &Path, text: &str) -> Result<()> {
    let mut new = tempfile::Builder::new().prefix(".sallyport-").tempfile_in(folder)?;
    new.write_all(text.as_bytes())?;
    // Envoy may run as another user; the policies are no secret on this machine.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    new.as_file().set_permissions(mode)?;
    new.as_file().sync_all()?;
    new.persist(path)?;
    File::open(folder)?.sync_all()?;
    Ok(())
}
