//! The drawings of the documentation, and what draws them.
//!
//! A drawing is one SVG that a page shows as an image: it has no script and no font of its own, and it follows the colour
//! scheme of whoever looks at it by a media query.

mod decision;
mod drawing;
mod migration;
mod overview;
mod palette;
mod shop;
mod text;

pub use drawing::Drawing;
pub use palette::Ink;
pub use text::{Text, wrap};

use anyhow::Result;

/// Returns the drawings that need no running Envoy, each with its file name below `docs/`.
///
/// # Errors
///
/// A drawing contradicts a filter, which answers otherwise.
pub fn drawings() -> Result<[(&'static str, String); 3]> {
    Ok([
        ("overview.svg", overview::draw()?),
        ("decision.svg", decision::draw()?),
        ("report-mode.svg", migration::draw()?),
    ])
}
