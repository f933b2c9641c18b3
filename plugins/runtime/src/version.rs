//! Version of this build, and gauges that tell which build and which configuration a proxy runs.

use crate::host::Host;

/// Version of the crate, as in `0.1.0`.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Commit of the build, abbreviated; `tools/build-wasm` sets it.
pub(crate) const COMMIT: &str = match option_env!("SALLYPORT_COMMIT") {
    Some(commit) => commit,
    None => "unknown commit",
};

/// Version as a number with three decimal digits for each part: `1.2.3` is 1002003.
fn version_number() -> u32 {
    VERSION.split('.').fold(0, |number, part| number * 1000 + part.parse::<u32>().unwrap_or_default())
}

/// Sets the gauges `sallyport.<filter>.{loaded,version}`. A proxy without metrics shows neither.
pub(crate) fn set_gauges(host: impl Host, filter: &str, fingerprint: u32) {
    for (name, value) in [("loaded", fingerprint), ("version", version_number())] {
        let _not_shown = host.set_gauge(&format!("sallyport.{filter}.{name}"), value);
    }
}

#[cfg(test)]
mod tests;
