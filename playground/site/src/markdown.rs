//! Pages of Markdown as HTML, with links to the pages of the site.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

/// Page of the site.
pub(crate) struct Page {
    /// Path in the repository.
    pub(crate) source: String,
    /// Path in the site.
    pub(crate) file: String,
    /// Title, as text.
    pub(crate) title: String,
    /// Content, as HTML.
    pub(crate) body: String,
    /// Paths in the repository that it links to or shows.
    pub(crate) targets: Vec<String>,
}

impl Page {
    /// Returns where the site has a path of the repository. Pictures stay what they are.
    pub(crate) fn file_of(path: &str, is_folder: bool) -> String {
        let is_picture = [".png", ".svg", ".gif", ".jpg"].iter().any(|ending| path.ends_with(ending));
        match path.strip_suffix(".md") {
            Some("README") => "index.html".to_owned(),
            Some(page) => format!("{page}.html"),
            None if is_folder => format!("{path}/index.html"),
            None if is_picture => path.to_owned(),
            None => format!("{path}.html"),
        }
    }
}

/// Renders a page of the repository.
pub(crate) fn render(source: &str, text: &str, is_folder: &dyn Fn(&str) -> bool) -> Page {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_FOOTNOTES;
    let mut events: Vec<Event<'_>> = Parser::new_ext(text, options).collect();
    let mut links = Links { source, is_folder, targets: Vec::new() };
    let title = name_headings(&mut events).unwrap_or_else(|| source.to_owned());
    for event in &mut events {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                *dest_url = CowStr::from(links.rewrite(dest_url));
            }
            Event::Html(html) | Event::InlineHtml(html) => *html = CowStr::from(links.rewrite_html(html)),
            _ => {}
        }
    }
    let mut body = String::new();
    html::push_html(&mut body, events.into_iter());
    // A table that is wider than the page scrolls by itself.
    let body = body.replace("<table>", "<div class=\"table\"><table>").replace("</table>", "</table></div>");
    Page { source: source.to_owned(), file: Page::file_of(source, false), title, body, targets: links.targets }
}

/// Gives each heading the id that repositories' web pages give it, and returns the text of the first.
fn name_headings(events: &mut [Event<'_>]) -> Option<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut first = None;
    let mut open: Option<usize> = None;
    let mut text = String::new();
    for index in 0..events.len() {
        match events.get(index) {
            Some(Event::Start(Tag::Heading { .. })) => {
                open = Some(index);
                text.clear();
            }
            Some(Event::Text(part) | Event::Code(part)) if open.is_some() => text.push_str(part),
            Some(Event::End(TagEnd::Heading(_))) => {
                let slug = slug(&text);
                let count = counts.entry(slug.clone()).or_default();
                let name = if *count == 0 { slug } else { format!("{slug}-{count}") };
                *count += 1;
                if let Some(Event::Start(Tag::Heading { id, .. })) = open.take().and_then(|begin| events.get_mut(begin))
                {
                    *id = Some(CowStr::from(name));
                }
                first.get_or_insert_with(|| text.clone());
            }
            _ => {}
        }
    }
    first
}

/// Returns the anchor of a heading: lower case, blanks as hyphens, nothing but letters, digits, hyphens and underscores.
fn slug(text: &str) -> String {
    let kept = text.trim().chars().filter(|one| one.is_alphanumeric() || matches!(one, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|one| if one == ' ' { '-' } else { one }).collect()
}

struct Links<'l> {
    source: &'l str,
    is_folder: &'l dyn Fn(&str) -> bool,
    targets: Vec<String>,
}

impl Links<'_> {
    /// Returns a link of the repository as one of the site.
    fn rewrite(&mut self, link: &str) -> String {
        let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
        if path.is_empty() || path.contains("://") || path.starts_with("mailto:") || path.starts_with("data:") {
            return link.to_owned();
        }
        let target = normal(&Path::new(self.source).parent().unwrap_or(Path::new("")).join(path));
        let is_folder = (self.is_folder)(&target);
        let file = Page::file_of(&target, is_folder);
        let up = "../".repeat(Page::file_of(self.source, false).matches('/').count());
        self.targets.push(target);
        match anchor {
            Some(anchor) => format!("{up}{file}#{anchor}"),
            None => format!("{up}{file}"),
        }
    }

    /// Rewrites the links of HTML within a page.
    fn rewrite_html(&mut self, html: &str) -> String {
        let mut whole = String::new();
        let mut rest = html;
        while let Some((at, name)) =
            ["href=\"", "src=\"", "srcset=\""].iter().filter_map(|name| Some((rest.find(name)?, name))).min()
        {
            let (before, after) = rest.split_at(at + name.len());
            let (link, after) = after.split_once('"').unwrap_or((after, ""));
            whole.push_str(before);
            whole.push_str(&self.rewrite(link));
            whole.push('"');
            rest = after;
        }
        whole + rest
    }
}

/// Returns a path without `.` and `..`.
fn normal(path: &Path) -> String {
    let mut whole = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                whole.pop();
            }
            Component::Normal(name) => whole.push(name),
            _ => {}
        }
    }
    whole.to_string_lossy().into_owned()
}

/// Writes a text as HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_headings_become_those_of_the_site() {
        let text = "# Title of `code`\n[a](b.md#c) [d](../e/f.yaml) [g](../h) ![i](j.png) [k](https://l.test) [m](#n)\n\n## Same\n## Same, it's\n## Same\n\n\
                    <img src=\"o.svg\">\n";
        let page = render("docs/x.md", text, &|path| path == "h");
        let has = |part: &str| assert!(page.body.contains(part), "{part}\n{}", page.body);
        has("<h1 id=\"title-of-code\">");
        has("href=\"../docs/b.html#c\"");
        has("href=\"../e/f.yaml.html\"");
        has("href=\"../h/index.html\"");
        has("src=\"../docs/j.png\"");
        has("href=\"https://l.test\"");
        has("href=\"#n\"");
        has("<h2 id=\"same-its\">");
        has("<h2 id=\"same-1\">");
        has("src=\"../docs/o.svg\"");
        assert_eq!(page.title, "Title of code");
        assert_eq!(page.file, "docs/x.html");
        assert_eq!(page.targets, ["docs/b.md", "e/f.yaml", "h", "docs/j.png", "docs/o.svg"]);
    }
}
