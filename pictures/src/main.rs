//! `make pictures`: writes the drawings of the documentation, and takes pictures of drawings to look at.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use testbed::PageView;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["draw"] => {
            for (name, svg) in pictures::drawings()? {
                let file = testbed::root().join("docs").join(name);
                fs::write(&file, svg).with_context(|| format!("writing {}", file.display()))?;
                println!("docs/{name}");
            }
            Ok(())
        }
        ["look", folder, files @ ..] => {
            fs::create_dir_all(folder)?;
            files.iter().try_for_each(|file| look(Path::new(file), Path::new(folder)))
        }
        _ => bail!("usage: pictures draw | look FOLDER SVG..."),
    }
}

/// Takes pictures of a drawing, 700 pixels wide as on a page, in both colour schemes, at the end of its motion.
fn look(file: &Path, folder: &Path) -> Result<()> {
    let name = file.file_stem().context("no file name")?.to_string_lossy();
    let svg = fs::read_to_string(file)?;
    let shape: Vec<f64> =
        svg.split('"').nth(3).unwrap_or_default().split(' ').filter_map(|at| at.parse().ok()).collect();
    let [_, _, width, height] = shape.as_slice() else { bail!("{} has no viewBox", file.display()) };
    let height = format!("{:.0}", 700.0 * height / width).parse()?;
    for scheme in ["light", "dark"] {
        let is_dark = scheme == "dark";
        let ground = if is_dark { "#0d1117" } else { "#fff" };
        let page = folder.join(format!("{name}-{scheme}.html"));
        let image = fs::canonicalize(file)?;
        fs::write(
            &page,
            format!(
                "<!doctype html><meta name=\"color-scheme\" content=\"light dark\"><body style=\"margin:0;\
                 background:{ground}\"><img width=\"700\" src=\"file://{}\">",
                image.display()
            ),
        )?;
        let picture: PathBuf = folder.join(format!("{name}-{scheme}.png"));
        let view = PageView { size: [700, height], is_dark, has_reduced_motion: true };
        testbed::screenshot(&format!("file://{}", fs::canonicalize(&page)?.display()), view, &picture)?;
        println!("{}", picture.display());
    }
    Ok(())
}
