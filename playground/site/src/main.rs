//! `make playground`, `make playground-serve`, `make playground-picture`, `make playground-measure` and `make docs`.

use std::env;
use std::fs;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, bail};
use playground_site::{Browser, build, build_docs, sizes};
use testbed::WebServer;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["build"] => {
            println!("{}", build()?.display());
            Ok(())
        }
        ["docs"] => {
            println!("{}", build_docs()?.display());
            Ok(())
        }
        ["measure"] => measure(),
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
        _ => bail!(
            "usage: playground-site build | docs | measure | serve | picture WIDTH HEIGHT light|dark FILE [SCRIPT]"
        ),
    }
}

/// Prints what the page loads, compressed, and when the first answer is there.
fn measure() -> Result<()> {
    let sizes = sizes()?;
    for (part, bytes) in [
        ("page and module", sizes.page + sizes.answers),
        ("  page", sizes.page),
        ("  module of the answers", sizes.answers),
        ("editor", sizes.editor),
        ("module with everything, loaded by egress policies, manifests and downloads", sizes.all),
    ] {
        println!("{:>8.1} kB  {part}", bytes as f64 / 1000.0);
    }
    let (_server, address) = serve()?;
    let mut times = Vec::new();
    for _ in 0..5 {
        let browser = Browser::start(None)?;
        browser.open(&address)?;
        let answered = "return performance.getEntriesByName('answered')[0]?.startTime";
        let time = browser.wait_for("the first answer", answered)?;
        times.push(time.as_f64().context("no time")?);
    }
    times.sort_by(f64::total_cmp);
    let median = times.get(2).copied().unwrap_or(f64::NAN);
    println!("first answer {median:.0} ms after the page is asked for (median of 5 new browsers)");
    println!("with 5,000 policies, all answers {:.0} ms after a key", time_of_many(&address)?);
    Ok(())
}

/// Returns the time from a key in a file of 5,000 policies to the last answer, in milliseconds.
fn time_of_many(address: &str) -> Result<f64> {
    const EDITOR: &str = "const editor = document.getElementById('editor').env.editor;";
    const READY: &str = "return document.documentElement.dataset.state === 'ready'";
    let policies = "Array.from({length: 5000}, (_, index) => `apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
                    metadata: {name: p${index}, namespace: n${index % 50}}\nspec:\n  rules:\n  - from:\n    - source: {principals: \
                    [cluster.local/ns/a/sa/s${index}]}\n    to:\n    - operation: {paths: [/p/${index}/*]}`).join('\\n---\\n')";
    let browser = Browser::start(None)?;
    browser.open(address)?;
    browser.wait_for("the first answer", READY)?;
    browser.run(&format!("{EDITOR} editor.setValue({policies}, 1)"), &[])?;
    browser.wait_for("the answers", READY)?;
    browser.run(&format!("{EDITOR} window.pressed = performance.now(); editor.insert('#')"), &[])?;
    browser.wait_for("the answers", READY)?;
    let time = browser.run("return performance.getEntriesByName('answered').at(-1).startTime - window.pressed", &[])?;
    time.as_f64().context("no time")
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
