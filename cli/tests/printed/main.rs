//! What the command prints, held against files; `SNAPSHOTS=overwrite cargo test --package sallyport-cli` writes them.

mod answers;
mod check;
mod output;
mod render;
