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

/// First eight hexadecimal digits of a commit as a number; 0 where it is not known.
fn commit_number(commit: &str) -> u32 {
    commit.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or_default()
}

/// Sets the gauges `sallyport.<filter>.{loaded,version,commit}`. A proxy without metrics shows none.
pub(crate) fn set_gauges(host: impl Host, filter: &str, fingerprint: u32) {
    for (name, value) in [("loaded", fingerprint), ("version", version_number()), ("commit", commit_number(COMMIT))] {
        let _not_shown = host.set_gauge(&format!("sallyport.{filter}.{name}"), value);
    }
}

#[cfg(test)]
mod tests;
