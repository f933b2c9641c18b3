//! Writes the seeds of every target, which come from the suites, into folders: `cargo run -p fuzz --example seeds -- FOLDER`.

use std::path::Path;
use std::{env, fs, io};

use fuzz::targets::TARGETS;

fn main() -> io::Result<()> {
    let folder = env::args_os().nth(1).ok_or_else(|| io::Error::other("name the folder to write the seeds into"))?;
    for target in TARGETS {
        let of_target = Path::new(&folder).join(target.name);
        fs::create_dir_all(&of_target)?;
        for (number, seed) in (target.seeds)()?.into_iter().enumerate() {
            fs::write(of_target.join(format!("suite-{number:04}")), seed)?;
        }
    }
    Ok(())
}
