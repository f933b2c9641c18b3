//! Output of the command, held against files; `SNAPSHOTS=overwrite cargo test --package sallyport-cli` writes them.

mod answers;
mod carried;
mod case_documents;
mod check;
mod completions;
mod connections;
mod odd_calls;
mod output;
mod render;
