//! The layer: a gzipped archive with one file.

use std::io::Write;

use anyhow::Result;
use flate2::{Compression, GzBuilder};

/// The type of layer that both products read.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The name under which both products look for the module.
const FILE: &str = "plugin.wasm";

/// Returns an archive that holds the module, without owner and time.
pub(crate) fn archive(module: &[u8]) -> Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(u64::try_from(module.len())?);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, FILE, module)?;
    Ok(archive.into_inner()?)
}

/// Compresses an archive, without a time in the header.
pub(crate) fn compress(archive: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    gzip.write_all(archive)?;
    Ok(gzip.finish()?)
}
