//! The playground's folder of static files: [`build`] writes it, and [`Browser`] opens it in a headless Chromium.

mod arrange;
mod browser;
mod examples;
mod folder;
mod sizes;
mod webdriver;

pub use browser::Browser;
pub use examples::{Example, examples};
pub use folder::build;
pub use sizes::{Sizes, sizes};
