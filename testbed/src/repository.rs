//! Paths in this repository, and the tools that build or find programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};

/// The root folder of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The path of a filter's module in `dist/`; `filter` is a name such as `identity-authz`.
pub fn filter_path(filter: &str) -> PathBuf {
    root().join("dist").join(format!("{filter}.wasm"))
}

/// Builds the filters, once per process, so that no test runs an outdated module.
pub fn build_filters() -> Result<()> {
    static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    build_once(&BUILT, "filters")
}

/// Builds the guests, once per process: filters that only tests run.
pub fn build_guests() -> Result<()> {
    static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    build_once(&BUILT, "guests")
}

/// The path of a guest's module; `guest` is a name such as `auth-by-header`.
pub fn guest_path(guest: &str) -> PathBuf {
    root().join("target/guests").join(format!("{guest}.wasm"))
}

fn build_once(built: &OnceLock<Result<(), String>>, modules: &str) -> Result<()> {
    built
        .get_or_init(|| run_build(modules).map_err(|error| format!("{error:#}")))
        .clone()
        .map_err(|error| anyhow!(error))
}

fn run_build(modules: &str) -> Result<()> {
    let status = Command::new(root().join("tools/build-wasm")).arg(modules).env("SALLYPORT_QUIET", "1").status();
    if !status.context("tools/build-wasm")?.success() {
        bail!("tools/build-wasm failed; see the messages above");
    }
    Ok(())
}

/// The path of an Envoy binary: the variable `ENVOY`, the PATH, or one that is fetched once.
pub fn envoy_binary() -> Result<PathBuf> {
    find("tools/find-envoy", None)
}

/// The path of this version of Envoy, as in `1.36.4`, which is fetched once.
pub fn envoy_binary_of(version: &str) -> Result<PathBuf> {
    find("tools/find-envoy", Some(version))
}

/// The folder of PostgreSQL's programs: the variable `POSTGRES_BIN`, the machine's own, or the distribution's packages,
/// which are fetched once.
pub(crate) fn postgres_programs() -> Result<PathBuf> {
    find("tools/find-postgres", None)
}

/// The folder of unbound's programs: the variable `UNBOUND_BIN`, the machine's own, or Debian's packages, which are fetched
/// once.
pub(crate) fn unbound_programs() -> Result<PathBuf> {
    find("tools/find-unbound", None)
}

/// The folder of skopeo and docker-registry: the variable `REGISTRY_BIN`, the PATH, or Debian's packages, which are fetched
/// once.
pub(crate) fn registry_programs() -> Result<PathBuf> {
    find("tools/find-registry", None)
}

/// The path of PyPy: the variable `PYPY`, the PATH, or Debian's packages, which are fetched once.
pub fn pypy() -> Result<PathBuf> {
    find("tools/find-pypy", None)
}

/// The folder of Chromium and its driver: the variable `CHROMIUM_BIN`, the PATH, or Debian's packages, which are fetched
/// once.
pub(crate) fn chromium_programs() -> Result<PathBuf> {
    find("tools/find-chromium", None)
}

/// The path of promtool: the variable `PROMTOOL`, the PATH, or Debian's package, which is fetched once.
pub fn promtool() -> Result<PathBuf> {
    find("tools/find-promtool", None)
}

/// The path of jq: the variable `JQ`, the PATH, or Debian's packages, which are fetched once.
pub fn jq() -> Result<PathBuf> {
    find("tools/find-jq", None)
}

fn find(tool: &str, version: Option<&str>) -> Result<PathBuf> {
    let mut command = Command::new(root().join(tool));
    let output = command.args(version).stderr(Stdio::inherit()).output().with_context(|| tool.to_owned())?;
    if !output.status.success() {
        bail!("{tool} failed; see the messages above");
    }
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}
