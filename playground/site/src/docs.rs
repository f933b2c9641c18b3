//! The folder `dist/docs/`: the pages of this repository as HTML, with the files that they link to, and the playground.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use testbed::root;

use crate::folder::{build, copy_all, write};
use crate::markdown::{Page, escape, render};

/// Folder of the playground within the site.
const PLAYGROUND: &str = "play";

const STYLE: &str = include_str!("../docs/style.css");

/// Builds `dist/docs/` and returns its path.
///
/// # Errors
///
/// A link to a file that is not there, and what cannot be read or written.
pub fn build_docs() -> Result<PathBuf> {
    let folder = root().join("dist/docs");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    let playground = build()?;
    for name in ["", "wasm", "ace"] {
        copy_all(&playground.join(name), &folder.join(PLAYGROUND).join(name))?;
    }
    write_site(root(), &folder)?;
    Ok(folder)
}

/// Writes README.md of a repository and everything that is reached from it by links.
fn write_site(repository: &Path, folder: &Path) -> Result<()> {
    let mut site = Site { repository, known: BTreeSet::new(), waiting: VecDeque::new() };
    site.reach("README.md");
    let mut pages: Vec<Page> = Vec::new();
    while let Some(path) = site.waiting.pop_front() {
        let full = repository.join(&path);
        if full.is_dir() {
            pages.push(site.listing(&path)?);
        } else if path.ends_with(".md") {
            let page = render(&path, &text(&full)?, &|target| repository.join(target).is_dir());
            for target in &page.targets {
                ensure!(repository.join(target).exists(), "{path} links to {target}, which is not there");
                site.reach(target);
            }
            pages.push(page);
        } else if is_picture(&path) {
            copy(&full, &folder.join(&path))?;
        } else {
            pages.push(source_page(&path, &text(&full)?));
        }
    }
    let guides: Vec<&Page> = pages.iter().filter(|page| page.source == "README.md" || is_guide(&page.source)).collect();
    for page in &pages {
        let html = whole_page(page, &guides);
        put(&folder.join(&page.file), html.as_bytes())?;
    }
    put(&folder.join("style.css"), STYLE.as_bytes())
}

struct Site<'s> {
    repository: &'s Path,
    known: BTreeSet<String>,
    waiting: VecDeque<String>,
}

impl Site<'_> {
    fn reach(&mut self, path: &str) {
        if self.known.insert(path.to_owned()) {
            self.waiting.push_back(path.to_owned());
        }
    }

    /// Returns a page with the names in a folder, and reaches its files.
    fn listing(&mut self, path: &str) -> Result<Page> {
        let mut names: Vec<(bool, String)> = Vec::new();
        for entry in fs::read_dir(self.repository.join(path))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // What is built or fetched is no part of the repository.
            if !name.starts_with('.') && name != "target" {
                names.push((!entry.file_type()?.is_dir(), name));
            }
        }
        names.sort();
        let mut body = format!("<h1>{}</h1>\n<ul>\n", escape(path));
        for (is_file, name) in names {
            let own = format!("{path}/{name}");
            let is_shown = is_file && !is_binary(&self.repository.join(&own))?;
            let shown = escape(&name);
            let file = Page::file_of(&own, false);
            let link = file.rsplit('/').next().unwrap_or_default();
            body.push_str(&match (is_file, is_shown) {
                (_, true) => format!("<li><a href=\"{link}\">{shown}</a></li>\n"),
                (true, false) => format!("<li>{shown}</li>\n"),
                (false, _) => format!("<li>{shown}/</li>\n"),
            });
            if is_shown {
                self.reach(&own);
            }
        }
        body.push_str("</ul>\n");
        Ok(Page {
            source: path.to_owned(),
            file: Page::file_of(path, true),
            title: path.to_owned(),
            body,
            targets: Vec::new(),
        })
    }
}

fn is_guide(source: &str) -> bool {
    Path::new(source).parent() == Some(Path::new("docs")) && source.ends_with(".md")
}

fn is_picture(path: &str) -> bool {
    [".png", ".svg", ".gif", ".jpg"].iter().any(|ending| path.ends_with(ending))
}

fn is_binary(path: &Path) -> Result<bool> {
    Ok(std::str::from_utf8(&fs::read(path)?).is_err())
}

/// Returns a page with a file as it is.
fn source_page(path: &str, text: &str) -> Page {
    let body = format!("<h1>{}</h1>\n<pre><code>{}</code></pre>\n", escape(path), escape(text));
    Page {
        source: path.to_owned(),
        file: Page::file_of(path, false),
        title: path.to_owned(),
        body,
        targets: Vec::new(),
    }
}

/// Returns a page with its frame: the list of the guides, in the order in which README.md names them.
fn whole_page(page: &Page, guides: &[&Page]) -> String {
    let up = "../".repeat(page.file.matches('/').count());
    let mut list = String::new();
    for guide in guides {
        let current = if guide.source == page.source { " aria-current=\"page\"" } else { "" };
        list.push_str(&format!("<li><a href=\"{up}{}\"{current}>{}</a></li>\n", guide.file, escape(&guide.title)));
    }
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<link rel=\"icon\" href=\"{up}{PLAYGROUND}/icon.svg\" type=\"image/svg+xml\">\n\
         <link rel=\"stylesheet\" href=\"{up}style.css\">\n</head>\n<body>\n<a class=\"skip\" href=\"#content\">Skip to the page</a>\n\
         <nav aria-label=\"Pages\">\n<p class=\"play\"><a href=\"{up}{PLAYGROUND}/index.html\">Playground</a></p>\n<ul>\n{list}</ul>\n</nav>\n\
         <main id=\"content\">\n{body}</main>\n</body>\n</html>\n",
        title = escape(&page.title),
        body = page.body,
    )
}

fn text(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    put(to, &fs::read(from).with_context(|| format!("reading {}", from.display()))?)
}

fn put(path: &Path, content: &[u8]) -> Result<()> {
    fs::create_dir_all(path.parent().context("no folder")?)?;
    write(path, content)
}
