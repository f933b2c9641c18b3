//! A headless Chromium that loads one page: its picture, or its source after its scripts ran.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::repository::chromium_programs;

/// Size and colour scheme of a view of a page.
#[derive(Clone, Copy, Debug)]
pub struct PageView {
    /// Size of the window in pixels: width and height.
    pub size: [u32; 2],
    /// True for the dark colour scheme.
    pub is_dark: bool,
    /// True for a user who asks for less motion.
    pub has_reduced_motion: bool,
}

/// Takes a picture of a page as PNG.
///
/// # Errors
///
/// Chromium cannot be had, or takes none.
pub fn screenshot(address: &str, view: PageView, file: &Path) -> Result<()> {
    run(address, view, &format!("--screenshot={}", file.display()))?;
    ensure!(file.exists(), "Chromium took no picture of {address}");
    Ok(())
}

/// Returns the source of a page after its scripts ran.
///
/// # Errors
///
/// Chromium cannot be had, or fails.
pub fn page_source(address: &str, view: PageView) -> Result<String> {
    run(address, view, "--dump-dom")
}

fn run(address: &str, view: PageView, task: &str) -> Result<String> {
    let [width, height] = view.size;
    let mut command = Command::new(chromium_programs()?.join("chromium"));
    command
        // It runs as root and in containers, where the sandbox and /dev/shm are not to be had.
        .args(["--headless", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"])
        .args(["--disable-background-networking", "--disable-component-update"])
        // Time of the page, which passes at once where the page only waits.
        .arg("--virtual-time-budget=8000")
        .arg(format!("--window-size={width},{height}"))
        .arg(format!("--blink-settings=preferredColorScheme={}", if view.is_dark { 0 } else { 1 }))
        .args(view.has_reduced_motion.then_some("--force-prefers-reduced-motion"))
        .args([task, address]);
    // Standard error is dropped: Chromium warns at length about missing desktop services.
    let output = command.stderr(Stdio::null()).output().context("Chromium does not start")?;
    ensure!(output.status.success(), "Chromium failed at {address}: {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
