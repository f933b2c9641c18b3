//! Files of the last call, which most calls have again.

use std::cell::RefCell;
use std::mem;
use std::ops::Deref;

use sallyport_analysis::{Project, Settings};

thread_local! {
    static LAST: RefCell<Option<Project>> = const { RefCell::new(None) };
}

/// Project of a call. Its files stay read for the next one.
pub(crate) struct KeptProject(Project);

impl KeptProject {
    /// Returns the project of the last call where its files have these names and texts, and otherwise reads them.
    pub(crate) fn of(files: &[(&str, &str)], settings: Settings) -> Self {
        let is_same = |project: &Project| {
            let known = project.sources().iter().map(|source| (source.name.as_str(), source.text.as_str()));
            known.eq(files.iter().copied())
        };
        if let Some(mut project) = LAST.take().filter(is_same) {
            project.set_settings(settings);
            return Self(project);
        }
        Self(read(files.iter().copied(), settings))
    }
}

impl Deref for KeptProject {
    type Target = Project;

    fn deref(&self) -> &Project {
        &self.0
    }
}

impl Drop for KeptProject {
    fn drop(&mut self) {
        LAST.set(Some(mem::take(&mut self.0)));
    }
}

/// Reads files.
pub(crate) fn read<'t>(files: impl Iterator<Item = (&'t str, &'t str)>, settings: Settings) -> Project {
    let mut project = Project::new(settings);
    for (name, text) in files {
        project.add(name, text);
    }
    project
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_are_read_and_the_same_are_kept() {
        let texts = |project: &KeptProject| -> Vec<*const u8> {
            project.sources().iter().map(|source| source.text.as_ptr()).collect()
        };
        let of = |text| KeptProject::of(&[("a.yaml", text)], Settings::default());
        let first = texts(&of("a: 1"));
        assert_eq!(texts(&of("a: 1")), first);
        assert_eq!(of("a: 2").sources().first().map(|source| source.text.clone()), Some("a: 2".to_owned()));
        // A call within another reads for itself.
        let outer = of("a: 2");
        assert_ne!(texts(&of("a: 2")), texts(&outer));
    }
}
