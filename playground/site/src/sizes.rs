//! Bytes that the page loads, as a web server with gzip sends them.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::folder::build;

/// Bytes of the parts of the page, each file compressed by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// HTML, style, code and examples.
    pub page: u64,
    /// Module of the answers, with the code that loads it.
    pub answers: u64,
    /// Module with everything, which downloads and policies for `egress-allowlist` load, with the code that loads it.
    pub all: u64,
    /// Editor, with its style.
    pub editor: u64,
}

/// Measures the built page.
///
/// # Errors
///
/// A build that fails, and what cannot be read.
pub fn sizes() -> Result<Sizes> {
    let folder = build()?;
    let mut sizes =
        Sizes { page: of_folder(&folder, "")?, editor: of_folder(&folder.join("ace"), "")?, ..Sizes::default() };
    sizes.answers = of_folder(&folder.join("wasm"), "answers")?;
    sizes.all = of_folder(&folder.join("wasm"), "all")?;
    Ok(sizes)
}

/// Adds up the files of a folder whose names begin so.
fn of_folder(folder: &Path, prefix: &str) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() && entry.file_name().to_string_lossy().starts_with(prefix) {
            sum += compressed(&entry.path())?;
        }
    }
    Ok(sum)
}

fn compressed(path: &Path) -> Result<u64> {
    let mut encoder = GzEncoder::new(Count(0), Compression::best());
    io::copy(&mut File::open(path)?, &mut encoder).with_context(|| format!("reading {}", path.display()))?;
    Ok(encoder.finish()?.0)
}

/// Sink that counts.
struct Count(u64);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
