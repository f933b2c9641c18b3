//! Counts of renderings, for the textfile collector of Prometheus' node exporter.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use super::output;

/// Counts of a run, and the file that shows them.
#[derive(Debug)]
pub(super) struct Metrics {
    file: Option<PathBuf>,
    rendered: u64,
    refused: u64,
    /// Seconds since 1970 at the last rendering that was not refused.
    rendered_at: u64,
}

impl Metrics {
    /// Starts at zero; without a file nothing is shown.
    pub(super) fn new(file: Option<&Path>) -> Self {
        Self { file: file.map(Path::to_owned), rendered: 0, refused: 0, rendered_at: 0 }
    }

    /// Counts a rendering, and writes the file.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(super) fn count(&mut self, is_refused: bool) -> Result<()> {
        if is_refused {
            self.refused += 1;
        } else {
            self.rendered += 1;
            self.rendered_at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        }
        let Some(file) = &self.file else { return Ok(()) };
        let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        let Self { rendered, refused, rendered_at, .. } = self;
        let text = format!(
            "# HELP sallyport_render_total Renderings of the policies, on each change of the files.
# TYPE sallyport_render_total counter
sallyport_render_total{{result=\"rendered\"}} {rendered}
sallyport_render_total{{result=\"refused\"}} {refused}
# HELP sallyport_render_refused 1 while the files are refused and those of the last good state stay.
# TYPE sallyport_render_refused gauge
sallyport_render_refused {}
# HELP sallyport_render_rendered_timestamp_seconds Time of the last rendering that was not refused.
# TYPE sallyport_render_rendered_timestamp_seconds gauge
sallyport_render_rendered_timestamp_seconds {rendered_at}
",
            u8::from(is_refused)
        );
        output::replace(folder, file, &text).with_context(|| format!("writing {}", file.display()))
    }
}
