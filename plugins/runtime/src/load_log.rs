//! The log of a configuration that was loaded.

use sallyport_policy::LoadReport;

use crate::host::{Host, Level};
use crate::version::{COMMIT, VERSION};

/// Logs what a filter has loaded: one line with the version and counts, lines about resources without effect here, and
/// warnings.
pub fn log_loaded(host: impl Host, name: &str, report: &LoadReport) {
    host.log(Level::Info, &format!("sallyport {VERSION} ({COMMIT}) {name}: {}", report.summary()));
    log_lines(host, name, Level::Info, report.notes());
    log_lines(host, name, Level::Warn, report.warnings());
}

/// Logs lines in the name of a filter.
pub fn log_lines(host: impl Host, name: &str, level: Level, lines: &[String]) {
    for line in lines {
        host.log(level, &format!("sallyport {name}: {line}"));
    }
}
