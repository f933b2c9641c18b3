//! Descriptions of what a release contains: the bill of materials, the licences of third parties and the changes.

mod changes;
mod licences;
mod packages;
mod sbom;

pub use changes::newest_section;
pub use licences::third_party_licences;
pub use packages::{EDITOR, Package, Product, packages, products, repository};
pub use sbom::sbom;
