//! A headless Chromium with a profile of its own.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::wait;

use crate::folder::run;
use crate::webdriver::{Session, is_ready};

/// Time limit for what the page or the browser has to do.
const LIMIT: Duration = Duration::from_secs(60);

/// Browser, which ends when it is dropped.
pub struct Browser {
    // Closed before the driver ends and the profile is removed.
    session: Session,
    _driver: Driver,
    _profile: TempDir,
}

/// Process of the driver.
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

impl Browser {
    /// Starts a browser with an empty profile. What it asks of other machines goes to a proxy at this port of
    /// 127.0.0.1.
    ///
    /// # Errors
    ///
    /// Chromium cannot be had or does not start.
    pub fn start(proxy: Option<u16>) -> Result<Self> {
        let programs = PathBuf::from(run("tools/find-chromium", &[])?.trim());
        let profile = tempfile::tempdir()?;
        let log = profile.path().join("driver.log");
        let mut command = Command::new(programs.join("chromedriver"));
        command.arg("--port=0").env("HOME", profile.path()).process_group(0).stdin(Stdio::null());
        let driver = Driver(command.stdout(File::create(&log)?).stderr(Stdio::null()).spawn()?);
        let port = wait::until("chromedriver to listen", LIMIT, || {
            let text = fs::read_to_string(&log)?;
            let told = text.split("started successfully on port ").nth(1);
            Ok(told.and_then(|rest| rest.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()))
        })?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        wait::until("chromedriver", LIMIT, || Ok(is_ready(address).unwrap_or(false).then_some(())))?;
        let mut arguments = vec![
            "--headless=new".to_owned(),
            // Tests run as root and in containers, where the sandbox and /dev/shm are not to be had.
            "--no-sandbox".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--hide-scrollbars".to_owned(),
            "--window-size=1280,900".to_owned(),
            format!("--user-data-dir={}", profile.path().join("profile").display()),
        ];
        arguments.extend(proxy.map(|proxy| format!("--proxy-server=http://127.0.0.1:{proxy}")));
        let capabilities = json!({
            "browserName": "chrome",
            "goog:chromeOptions": {"binary": programs.join("chromium"), "args": arguments},
        });
        let session = Session::open(address, &capabilities).context("Chromium does not start")?;
        session.post("timeouts", &json!({"script": 60_000}))?;
        Ok(Self { session, _driver: driver, _profile: profile })
    }

    /// Opens an address, and waits until the page has loaded.
    ///
    /// # Errors
    ///
    /// The address cannot be opened.
    pub fn open(&self, address: &str) -> Result<()> {
        self.session.post("url", &json!({"url": address})).map(drop)
    }

    /// Runs the body of a function in the page; a promise is waited for.
    ///
    /// # Errors
    ///
    /// The exception of the function.
    pub fn run(&self, function: &str, arguments: &[Value]) -> Result<Value> {
        self.session.post("execute/sync", &json!({"script": function, "args": arguments}))
    }

    /// Waits until the body of a function returns something that is true.
    ///
    /// # Errors
    ///
    /// The exception of the function, and a timeout.
    pub fn wait_for(&self, what: &str, function: &str) -> Result<Value> {
        wait::until(what, LIMIT, || {
            let value = self.run(function, &[])?;
            let is_false =
                matches!(&value, Value::Null | Value::Bool(false)) || value == json!("") || value == json!(0);
            Ok((!is_false).then_some(value))
        })
    }

    /// Presses keys at the focused element.
    ///
    /// # Errors
    ///
    /// The driver refuses them.
    pub fn press(&self, keys: &str) -> Result<()> {
        let each = keys.chars().flat_map(|key| {
            let key = key.to_string();
            [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})]
        });
        let actions = json!({"actions": [{"type": "key", "id": "keyboard", "actions": each.collect::<Vec<_>>()}]});
        self.session.post("actions", &actions).map(drop)
    }

    /// Sets the size of the page, in pixels, and its colour scheme: `light` or `dark`.
    ///
    /// # Errors
    ///
    /// The driver refuses them.
    pub fn set_view(&self, width: u32, height: u32, scheme: &str) -> Result<()> {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics)?;
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", &media).map(drop)
    }

    /// Moves the pointer to a place of the page, in pixels.
    ///
    /// # Errors
    ///
    /// The driver refuses it.
    pub fn point_at(&self, x: f64, y: f64) -> Result<()> {
        // A pointer that comes from elsewhere, in two steps, is one that moves.
        let to = |x: f64, y: f64| json!({"type": "pointerMove", "duration": 20, "x": x.round(), "y": y.round()});
        let moves = json!([to(x + 3.0, y + 1.0), to(x, y)]);
        let pointer =
            json!({"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": moves});
        self.session.post("actions", &json!({"actions": [pointer]})).map(drop)
    }

    /// Chooses files or a folder in a file dialog: for the field that an expression returns.
    ///
    /// # Errors
    ///
    /// There is no such field, or it does not take them.
    pub fn choose_files(&self, field: &str, paths: &[&Path]) -> Result<()> {
        let found = self.devtools("Runtime.evaluate", &json!({"expression": field}))?;
        let id = found.pointer("/result/objectId").context("no such field")?;
        self.devtools("DOM.setFileInputFiles", &json!({"objectId": id, "files": paths})).map(drop)
    }

    /// Drops files or folders at a place of the page, in pixels.
    ///
    /// # Errors
    ///
    /// The driver refuses it.
    pub fn drop_files(&self, x: f64, y: f64, paths: &[&Path]) -> Result<()> {
        let data = json!({"items": [], "files": paths, "dragOperationsMask": 1});
        for kind in ["dragEnter", "dragOver", "drop"] {
            self.devtools("Input.dispatchDragEvent", &json!({"type": kind, "x": x, "y": y, "data": data}))?;
        }
        Ok(())
    }

    /// Has downloads written into a folder, without a question.
    ///
    /// # Errors
    ///
    /// The driver refuses it.
    pub fn download_into(&self, folder: &Path) -> Result<()> {
        self.devtools("Browser.setDownloadBehavior", &json!({"behavior": "allow", "downloadPath": folder})).map(drop)
    }

    /// Returns the time of the processor that the page's main thread has taken, in milliseconds.
    ///
    /// # Errors
    ///
    /// The driver does not measure it.
    pub fn main_thread_time(&self) -> Result<f64> {
        self.devtools("Performance.enable", &json!({}))?;
        let metrics = self.devtools("Performance.getMetrics", &json!({}))?;
        let metrics = metrics.get("metrics").and_then(Value::as_array).context("no metrics")?;
        let time = metrics.iter().find(|one| one.get("name") == Some(&json!("ThreadTime")));
        Ok(time.and_then(|time| time.get("value")?.as_f64()).context("no time")? * 1000.0)
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Result<Value> {
        self.session.post("goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    /// Takes a picture of the page as PNG.
    ///
    /// # Errors
    ///
    /// The driver takes none.
    pub fn screenshot(&self) -> Result<Vec<u8>> {
        let picture = self.session.get("screenshot")?;
        Ok(STANDARD.decode(picture.as_str().unwrap_or_default())?)
    }

    /// Returns the lines of the browser's log.
    ///
    /// # Errors
    ///
    /// The driver has none.
    pub fn log(&self) -> Result<Value> {
        self.session.post("se/log", &json!({"type": "browser"}))
    }
}
