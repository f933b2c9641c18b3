//! Counts of renderings, for the textfile collector of Prometheus' node exporter.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use sallyport_analysis::RenderedFilter;

use super::{Outcome, output};
use crate::arguments::RenderArguments;

/// Counts of a run, and the file that shows them.
#[derive(Debug)]
pub(super) struct Metrics {
    file: Option<PathBuf>,
    /// File with the settings that Envoy reads only when it starts, if one is written.
    bootstrap: Option<PathBuf>,
    rendered: u64,
    refused: u64,
    is_refused: bool,
    /// The filters of the last rendering that was not refused, and its time in seconds since 1970.
    last: Option<(Vec<RenderedFilter>, u64)>,
}

impl Metrics {
    /// Starts at zero; without `--metrics` nothing is shown.
    pub(super) fn new(arguments: &RenderArguments) -> Self {
        let bootstrap = arguments.output.as_ref().map(|folder| folder.join(output::BOOTSTRAP));
        Self { file: arguments.metrics.clone(), bootstrap, rendered: 0, refused: 0, is_refused: false, last: None }
    }

    /// Counts a rendering, and writes the file.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(super) fn count(&mut self, outcome: &Outcome) -> Result<()> {
        match outcome {
            Outcome::Rendered(filters) => {
                self.rendered += 1;
                self.last = Some((filters.clone(), seconds(SystemTime::now())?));
                self.is_refused = false;
            }
            Outcome::Refused | Outcome::WrongUse => {
                self.refused += 1;
                self.is_refused = true;
            }
        }
        self.write()
    }

    /// Writes the file.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(super) fn write(&self) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        output::replace(folder, file, &self.text()?).with_context(|| format!("writing {}", file.display()))
    }

    fn text(&self) -> Result<String> {
        let Self { rendered, refused, .. } = self;
        let mut text = format!(
            "# HELP sallyport_render_total Renderings of the policies, on each change of the files.
# TYPE sallyport_render_total counter
sallyport_render_total{{result=\"rendered\"}} {rendered}
sallyport_render_total{{result=\"refused\"}} {refused}
# HELP sallyport_render_refused 1 while the files are refused and those of the last good state stay.
# TYPE sallyport_render_refused gauge
sallyport_render_refused {}
",
            u8::from(self.is_refused)
        );
        if let Some((filters, time)) = &self.last {
            write!(
                text,
                "# HELP sallyport_render_rendered_timestamp_seconds Time of the last rendering that was not refused.
# TYPE sallyport_render_rendered_timestamp_seconds gauge
sallyport_render_rendered_timestamp_seconds {time}
# HELP sallyport_render_loaded Value of sallyport_loaded in an Envoy that runs what was rendered last.
# TYPE sallyport_render_loaded gauge
"
            )?;
            for one in filters {
                let filter = one.filter.name().replace('-', "_");
                writeln!(text, "sallyport_render_loaded{{sallyport_filter=\"{filter}\"}} {}", one.loaded)?;
            }
        }
        if let Some(changed) = self.bootstrap.as_ref().and_then(|file| file.metadata().ok()?.modified().ok()) {
            write!(
                text,
                "# HELP sallyport_render_bootstrap_timestamp_seconds Time of the last change of envoy.yaml, which Envoy reads when it starts.
# TYPE sallyport_render_bootstrap_timestamp_seconds gauge
sallyport_render_bootstrap_timestamp_seconds {}
",
                seconds(changed)?
            )?;
        }
        Ok(text)
    }
}

/// Seconds since 1970.
fn seconds(time: SystemTime) -> Result<u64> {
    Ok(time.duration_since(UNIX_EPOCH)?.as_secs())
}
