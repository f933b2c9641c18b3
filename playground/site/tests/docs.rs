//! The built site of the documentation: every link of every page leads to something that is there, and nothing is fetched
//! from elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, ensure};
use playground_site::build_docs;

/// Values of an attribute.
fn attributes(html: &str, name: &str) -> Vec<String> {
    let marker = format!(" {name}=\"");
    let values = html.split(&marker).skip(1).filter_map(|rest| rest.split('"').next());
    values.map(|value| value.replace("&amp;", "&")).collect()
}

/// Pages below a folder, by their paths.
fn pages(folder: &Path, found: &mut BTreeMap<PathBuf, String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            pages(&path, found)?;
        } else if path.extension().is_some_and(|ending| ending == "html") {
            found.insert(path.clone(), fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// Path without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut whole = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                whole.pop();
            }
            part => whole.push(part),
        }
    }
    whole
}

#[test]
fn every_link_leads_somewhere_and_nothing_comes_from_elsewhere() -> Result<()> {
    let folder = build_docs()?;
    let mut found = BTreeMap::new();
    pages(&folder, &mut found)?;
    let (mut links, mut anchors, mut reached) = (0, 0, BTreeSet::from([folder.join("index.html")]));
    let mut broken = Vec::new();
    for (page, html) in &found {
        let of = |name: &str| attributes(html, name);
        let ids: BTreeSet<String> = of("id").into_iter().collect();
        ensure!(ids.len() == of("id").len(), "{} has two elements with one id", page.display());
        for source in [of("src"), of("srcset")].concat() {
            ensure!(!source.contains("://"), "{} shows {source}", page.display());
        }
        for part in html.split('<').filter(|part| part.starts_with("link ") || part.starts_with("script")) {
            ensure!(!part.contains("://"), "{} loads {part}", page.display());
        }
        for link in [of("href"), of("src"), of("srcset")].concat() {
            if link.contains("://") || link.starts_with("mailto:") || link.starts_with("data:") {
                continue;
            }
            links += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => page.clone(),
                path => normal(&page.parent().context("no folder")?.join(path)),
            };
            if !target.is_file() {
                broken.push(format!("{}: {link}", page.display()));
                continue;
            }
            reached.insert(target.clone());
            if !anchor.is_empty() {
                anchors += 1;
                let is_there =
                    found.get(&target).is_some_and(|html| attributes(html, "id").iter().any(|id| id == anchor));
                if !is_there {
                    broken.push(format!("{}: {link}", page.display()));
                }
            }
        }
    }
    ensure!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
    for page in found.keys() {
        ensure!(reached.contains(page), "nothing leads to {}", page.display());
    }
    for name in
        ["index.html", "docs/playground.html", "docs/errors.html", "play/index.html", "play/wasm/answers_bg.wasm"]
    {
        ensure!(folder.join(name).is_file(), "{name} is not there");
    }
    println!("{} pages, {links} links, {anchors} of them to a heading", found.len());
    ensure!(links > 1000 && anchors > 100, "{links} links, {anchors} anchors");
    Ok(())
}
