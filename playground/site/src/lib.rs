//! The playground's folder of static files: [`build`] writes it, and [`Browser`] opens it in a headless Chromium.

mod arrange;
mod browser;
mod docs;
mod examples;
mod folder;
mod markdown;
mod sizes;
mod webdriver;

pub use browser::Browser;
pub use docs::build_docs;
pub use examples::{Example, examples};
pub use folder::build;
pub use sizes::{Sizes, sizes};
