//! Markdown pages, taken apart.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// A piece of running text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Inline {
    Text(String),
    Code(String),
    Emphasis(String),
    /// The end of a paragraph, an item, a heading or a cell.
    Break,
}

/// A table: the text of its header, and for each row its cells.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Vec<Vec<Inline>>>,
}

/// A page of the repository.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Its path from the root of the repository.
    pub(crate) name: String,
    pub(crate) inlines: Vec<Inline>,
    pub(crate) links: Vec<String>,
    pub(crate) headings: Vec<String>,
    pub(crate) tables: Vec<Table>,
    /// The fenced blocks of YAML.
    pub(crate) snippets: Vec<String>,
    /// All code blocks in order, each with its language. Indented ones are commands.
    pub(crate) blocks: Vec<(String, String)>,
}

/// The folders that pages are in, from the root of the repository.
const FOLDERS: [&str; 3] = ["", "docs", "envoy-config/stack"];

/// Pages that a command writes: their emphasis is no case and their numbers are checked by it.
const GENERATED: [&str; 1] = ["docs/performance.md"];

/// All pages.
pub(crate) fn all() -> Result<Vec<Page>> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for folder in FOLDERS {
        for entry in fs::read_dir(testbed::root().join(folder))? {
            paths.push(entry?.path());
        }
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.sort();
    let pages = paths.iter().map(|path| read(path)).collect::<Result<Vec<_>>>()?;
    ensure!(pages.len() > 8, "{} pages", pages.len());
    Ok(pages)
}

/// The pages of `docs/` that people write.
pub(crate) fn documentation() -> Result<Vec<Page>> {
    let mut pages = all()?;
    pages.retain(|page| page.name.starts_with("docs/") && !GENERATED.contains(&page.name.as_str()));
    Ok(pages)
}

/// One page, by its path from the root of the repository.
pub(crate) fn named(name: &str) -> Result<Page> {
    read(&testbed::root().join(name))
}

fn read(path: &Path) -> Result<Page> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let name = path.strip_prefix(testbed::root())?.display().to_string();
    Ok(Page { name, ..parse(&text) })
}

fn parse(text: &str) -> Page {
    let mut page = Page::default();
    let mut block: Option<(String, String)> = None;
    // The index of the first inline of the current heading or cell.
    let mut start = 0;
    let mut emphasis = None;
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                let language = match kind {
                    CodeBlockKind::Fenced(language) => language.into_string(),
                    CodeBlockKind::Indented => "sh".to_owned(),
                };
                block = Some((language, String::new()));
            }
            Event::End(TagEnd::CodeBlock) => {
                page.blocks.extend(block.take());
                page.inlines.push(Inline::Break);
            }
            Event::Text(text) => match &mut block {
                Some((_, block)) => block.push_str(&text),
                None => push_text(&mut page.inlines, emphasis.unwrap_or_default(), &text),
            },
            Event::SoftBreak | Event::HardBreak => push_text(&mut page.inlines, emphasis.unwrap_or_default(), " "),
            Event::Code(code) => page.inlines.push(Inline::Code(code.into_string())),
            Event::Start(Tag::Emphasis) => emphasis = Some(page.inlines.len()),
            Event::End(TagEnd::Emphasis) => {
                let inside = page.inlines.split_off(emphasis.take().unwrap_or_default());
                page.inlines.push(Inline::Emphasis(text_of(&inside)));
            }
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                page.links.push(dest_url.into_string());
            }
            Event::Start(Tag::Heading { .. } | Tag::TableCell) => start = page.inlines.len(),
            Event::End(TagEnd::Heading(_)) => {
                page.headings.push(text_of(page.inlines.get(start..).unwrap_or_default()));
                page.inlines.push(Inline::Break);
            }
            Event::Start(Tag::Table(_)) => page.tables.push(Table::default()),
            Event::Start(Tag::TableRow) => {
                page.tables.last_mut().into_iter().for_each(|table| table.rows.push(Vec::new()))
            }
            Event::End(TagEnd::TableCell) => {
                let cell = page.inlines.get(start..).unwrap_or_default().to_vec();
                page.inlines.push(Inline::Break);
                if let Some(table) = page.tables.last_mut() {
                    match table.rows.last_mut() {
                        Some(row) => row.push(cell),
                        None => table.header.push(text_of(&cell)),
                    }
                }
            }
            Event::End(TagEnd::Paragraph | TagEnd::Item) => page.inlines.push(Inline::Break),
            _ => {}
        }
    }
    let yaml = page.blocks.iter().filter(|(language, _)| language == "yaml");
    page.snippets = yaml.map(|(_, text)| text.clone()).collect();
    page
}

/// Adds text to the last inline, if that is text and none before `start`.
fn push_text(inlines: &mut Vec<Inline>, start: usize, text: &str) {
    match inlines.get_mut(start..).and_then(<[Inline]>::last_mut) {
        Some(Inline::Text(before)) => before.push_str(text),
        _ => inlines.push(Inline::Text(text.to_owned())),
    }
}

/// The text of inlines, whatever they are.
pub(crate) fn text_of(inlines: &[Inline]) -> String {
    let text = |inline: &Inline| match inline {
        Inline::Text(text) | Inline::Code(text) | Inline::Emphasis(text) => text.clone(),
        Inline::Break => String::new(),
    };
    inlines.iter().map(text).collect()
}

/// The code spans among inlines.
pub(crate) fn codes(inlines: &[Inline]) -> impl Iterator<Item = &str> {
    inlines.iter().filter_map(|inline| match inline {
        Inline::Code(code) => Some(code.as_str()),
        _ => None,
    })
}
