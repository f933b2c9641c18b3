//! `make playground`, `make playground-serve` and `make playground-picture`.

use std::env;
use std::fs;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, bail};
use playground_site::{Browser, build};
use testbed::WebServer;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["build"] => {
            println!("{}", build()?.display());
            Ok(())
        }
        ["serve"] => {
            let (_server, address) = serve()?;
            println!("{address}");
            loop {
                thread::park();
            }
        }
        ["picture", width, height, scheme, file, rest @ ..] => {
            picture(width.parse()?, height.parse()?, scheme, Path::new(file), rest)
        }
        _ => bail!("usage: playground-site build | serve | picture WIDTH HEIGHT light|dark FILE [SCRIPT]"),
    }
}

/// Takes a picture of the page, after a script that brings it into a state.
fn picture(width: u32, height: u32, scheme: &str, file: &Path, scripts: &[&str]) -> Result<()> {
    let (_server, address) = serve()?;
    let browser = Browser::start(None)?;
    browser.set_view(width, height, scheme)?;
    browser.open(&address)?;
    let ready = browser.wait_for("the first answer", "return document.documentElement.dataset.state === 'ready'");
    ready.with_context(|| format!("{:?}", browser.log()))?;
    for script in scripts {
        browser.run(script, &[])?;
        browser.wait_for("the answer", "return document.documentElement.dataset.state === 'ready'")?;
    }
    fs::write(file, browser.screenshot()?).with_context(|| format!("writing {}", file.display()))
}

/// Serves the page, and returns its address.
fn serve() -> Result<(WebServer, String)> {
    let folder = build()?;
    let server = WebServer::start(folder.parent().unwrap_or(&folder), None)?;
    let address = format!("http://127.0.0.1:{}/playground/", server.port());
    Ok((server, address))
}
