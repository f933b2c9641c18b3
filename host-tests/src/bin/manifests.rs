//! `make manifests FOLDER=…`: what the filters make of the manifests of a folder, counted by kind.

use std::path::PathBuf;
use std::process::ExitCode;

use host_tests::manifests::tally;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: manifests FOLDER");
        return ExitCode::from(2);
    };
    match tally(&folder) {
        Ok(tally) => {
            print!("{tally}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("manifests: {error:#}");
            ExitCode::from(2)
        }
    }
}
