//! The drawings in `docs/` are what the command draws, and they can be read.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::{PageView, page_source};

/// Width of a drawing on a page, in pixels.
const WIDTH: f64 = 700.0;

/// Script that measures the texts of the drawing in a page.
const MEASURE: &str = "const svg = document.querySelector('svg'), box = svg.viewBox.baseVal
const texts = [...svg.querySelectorAll('text')].map(text => {
  const { x, y, width, height } = text.getBBox()
  return { text: text.textContent, x, y, width, height, size: parseFloat(getComputedStyle(text).fontSize),
    seen: getComputedStyle(text.closest('g') ?? text).opacity }
})
document.body.textContent = JSON.stringify({ width: box.width, height: box.height, texts })";

/// A text, as Chromium lays it out: its place, and the size of its letters.
struct Measured {
    text: String,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    size: f64,
    opacity: String,
}

impl Measured {
    fn overlaps(&self, other: &Self) -> bool {
        // Boxes hold room above and below the letters.
        let slack = 0.2 * self.height;
        self.x < other.x + other.width
            && other.x < self.x + self.width
            && self.y + slack < other.y + other.height
            && other.y + slack < self.y + self.height
    }
}

#[test]
fn the_drawings_are_what_make_pictures_writes() -> Result<()> {
    for (name, svg) in pictures::drawings()? {
        let kept = fs::read_to_string(testbed::root().join("docs").join(name)).unwrap_or_default();
        ensure!(kept == svg, "docs/{name} is not what it was drawn from: make pictures");
    }
    Ok(())
}

#[test]
fn every_drawing_says_what_it_shows_and_is_small_and_plain() -> Result<()> {
    for (name, svg) in all()? {
        ensure!(svg.contains("<title id=\"title\">") && svg.contains("<desc id=\"description\">"), "{name}");
        ensure!(svg.contains("prefers-color-scheme:dark"), "{name} is the same in both colour schemes");
        ensure!(svg.len() < 60_000, "{name} has {} bytes", svg.len());
        // What an image may not do, and what would reach for another machine.
        for forbidden in ["<script", "<foreignObject", "href", "url(", "@import", "<image"] {
            ensure!(!svg.contains(forbidden), "{name} has {forbidden}");
        }
    }
    Ok(())
}

#[test]
fn every_text_of_a_drawing_can_be_read() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (name, svg) in all()? {
        let (size, texts) = measure(folder.path(), &name, &svg)?;
        let [width, height] = size;
        for (index, text) in texts.iter().enumerate() {
            let Measured { x, y, .. } = text;
            let is_inside = *x >= 4.0 && *y >= 2.0 && x + text.width <= width - 4.0 && y + text.height <= height - 2.0;
            ensure!(is_inside, "{name}: `{}` is cut off", text.text);
            let shown = text.size * WIDTH / width;
            ensure!(shown >= 10.5, "{name}: `{}` is {shown:.1} pixels high on a page", text.text);
            ensure!(text.opacity == "1", "{name}: `{}` is not seen without motion", text.text);
            let other = texts.iter().skip(index + 1).find(|other| text.overlaps(other));
            ensure!(other.is_none(), "{name}: `{}` and `{}` overlap", text.text, other.map_or("", |other| &other.text));
        }
        ensure!(texts.len() > 5, "{name} has {} texts", texts.len());
    }
    Ok(())
}

/// Returns the drawings in `docs/`, by name.
fn all() -> Result<Vec<(String, String)>> {
    let mut drawings = Vec::new();
    for entry in fs::read_dir(testbed::root().join("docs"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "svg") {
            let name = path.file_name().context("no name")?.to_string_lossy().into_owned();
            drawings.push((name, fs::read_to_string(&path)?));
        }
    }
    ensure!(drawings.len() >= 3, "{} drawings", drawings.len());
    Ok(drawings)
}

/// Returns the size of a drawing and its texts.
fn measure(folder: &Path, name: &str, svg: &str) -> Result<([f64; 2], Vec<Measured>)> {
    let file = folder.join(format!("{name}.html"));
    fs::write(&file, format!("<!doctype html><meta charset=\"utf-8\"><body>{svg}<script>{MEASURE}</script>"))?;
    let view = PageView { size: [700, 800], is_dark: false, has_reduced_motion: true };
    let page = page_source(&format!("file://{}", file.display()), view)?;
    let (_, json) = page.split_once("<body>").context("no body")?;
    let json = json.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">");
    let found: Value = serde_json::from_str(json.split("</body>").next().unwrap_or_default().trim())
        .with_context(|| format!("{name}: {page}"))?;
    let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_f64).context("no number");
    let text = |value: &Value| -> Result<Measured> {
        let text_at = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let of = |key: &str| number(value, key);
        let (x, y, width, height) = (of("x")?, of("y")?, of("width")?, of("height")?);
        Ok(Measured { text: text_at("text"), x, y, width, height, size: of("size")?, opacity: text_at("seen") })
    };
    let texts = found.get("texts").and_then(Value::as_array).into_iter().flatten().map(text);
    Ok(([number(&found, "width")?, number(&found, "height")?], texts.collect::<Result<_>>()?))
}
