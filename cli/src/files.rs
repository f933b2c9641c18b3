//! Reading of the files of a call.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::num::NonZero;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, bail};
use sallyport_analysis::{Project, ReadFile};

use crate::arguments::CommonArguments;

/// Endings of the files that are read in folders.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Stack of a thread that reads: as large as that of a process, for documents that are nested deeply.
const STACK: usize = 8 * 1024 * 1024;

/// Name of standard input.
const STANDARD_INPUT: &str = "-";

/// Reads all files of a call.
///
/// # Errors
///
/// A file that cannot be read, and settings that make no sense.
pub(crate) fn read_project(common: &CommonArguments) -> Result<Project> {
    read_project_for(common, None)
}

/// Reads all files of a call about the workload `to`.
///
/// # Errors
///
/// A file that cannot be read, and settings that make no sense.
pub(crate) fn read_project_for(common: &CommonArguments, to: Option<&str>) -> Result<Project> {
    let mut project = Project::new(common.settings.settings(to)?);
    if let Some(config) = read_config(common)? {
        project.add_config(&config.name, &config.text);
    }
    let files = read_files(&common.files)?;
    parse(project.sources().len(), &files).into_iter().for_each(|file| project.add_read(file));
    Ok(project)
}

/// Reads the documents of files, of which the first becomes number `first` of a project, on all cores.
fn parse(first: usize, files: &[File]) -> Vec<ReadFile> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut read = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = files.get(index) else { return read };
            read.push((index, ReadFile::new(first + index, &file.name, &file.text)));
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(files.len());
    let mut read = thread::scope(|scope| {
        let spawn = |_| thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work).ok();
        // Where the system has no more threads, this one reads what they would have.
        let others: Vec<_> = (1..threads).filter_map(spawn).collect();
        let mut read = work();
        for thread in others {
            read.extend(thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        read
    });
    read.sort_by_key(|(index, _)| *index);
    read.into_iter().map(|(_, file)| file).collect()
}

/// A file, read.
#[derive(Debug)]
pub(crate) struct File {
    /// Name as it was given or found.
    pub(crate) name: String,
    /// Content.
    pub(crate) text: String,
}

/// Reads the file of `--config`, if it is given.
///
/// # Errors
///
/// A file that cannot be read.
pub(crate) fn read_config(common: &CommonArguments) -> Result<Option<File>> {
    common.config.as_deref().map(read).transpose()
}

/// Reads files, and those of folders.
///
/// # Errors
///
/// A file that cannot be read, and a folder without one.
pub(crate) fn read_files(paths: &[PathBuf]) -> Result<Vec<File>> {
    let (mut files, mut seen) = (Vec::new(), BTreeSet::new());
    for path in paths {
        let of_path = files_of(path)?;
        if of_path.is_empty() {
            bail!(
                "no file below {} ends in .yaml, .yml or .json; name the file or the folder with the policies",
                path.display()
            );
        }
        for file in of_path {
            // A file that is given twice, by itself and with its folder, is one.
            let place = fs::canonicalize(&file).unwrap_or_else(|_| file.clone());
            if seen.insert(place) {
                files.push(read(&file)?);
            }
        }
    }
    Ok(files)
}

/// Returns a file itself, or the files below a folder in the order of their names, without hidden ones.
fn files_of(path: &Path) -> Result<Vec<PathBuf>> {
    if path.as_os_str() == STANDARD_INPUT || !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let (mut folders, mut files) = (vec![path.to_owned()], Vec::new());
    // A link can lead back to a folder above it.
    let mut seen = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        let reading = || format!("reading {}", folder.display());
        if !seen.insert(folder.canonicalize().with_context(reading)?) {
            continue;
        }
        for entry in fs::read_dir(&folder).with_context(reading)? {
            let entry = entry.with_context(reading)?;
            let path = entry.path();
            let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
            let is_policy = path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known));
            if is_hidden {
                continue;
            } else if path.is_dir() {
                folders.push(path);
            } else if is_policy && (path.is_file() || path.is_symlink()) {
                // A link that leads nowhere fails when it is read, and is not passed over.
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Reads a file or standard input; bytes that are no UTF-8 become replacement characters, which are a finding.
fn read(path: &Path) -> Result<File> {
    let bytes = if path.as_os_str() == STANDARD_INPUT {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).context("reading standard input")?;
        bytes
    } else {
        fs::read(path).with_context(|| format!("reading {}", path.display()))?
    };
    Ok(File { name: path.to_string_lossy().into_owned(), text: decode(&bytes) })
}

/// Decodes a text: UTF-8, or UTF-16 with a byte order mark, as PowerShell writes what is sent into a file.
fn decode(bytes: &[u8]) -> String {
    let wide = |order: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).filter_map(|pair| Some(order(pair.try_into().ok()?))).collect();
        String::from_utf16_lossy(&units)
    };
    match bytes {
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}
