//! Actions of a client in a tunnel that its CONNECT opens.

use anyhow::{Result, bail};
use serde::Deserialize;

use super::first_bytes::{Passthrough, bytes, first_bytes};

/// The bytes of a client in a tunnel, to a service that sends them back.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Tunnel {
    /// The first bytes.
    #[serde(default)]
    pub first: Passthrough,
    /// The most bytes of a fragment, where the first bytes are a ClientHello: it comes in so many records. Default: one
    /// record.
    #[serde(default)]
    pub record_size: Option<usize>,
    /// Bytes behind the first ones.
    #[serde(default)]
    pub then: Option<String>,
    /// The most bytes of a write. Default: all in one.
    #[serde(default)]
    pub write_size: Option<usize>,
    /// True if the bytes are sent together with the CONNECT, before it is answered.
    #[serde(default)]
    pub early: bool,
    /// The way in which the client ends its side once everything is written. Absent: it does not.
    #[serde(default)]
    pub end: Option<TunnelEnd>,
}

/// Way in which a client ends its side of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TunnelEnd {
    /// With its last bytes, as END_STREAM of HTTP/2 does.
    Stream,
    /// With trailers of HTTP/2.
    Trailers,
}

impl Tunnel {
    /// Returns all bytes that the client sends.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let mut sent = first_bytes(&self.first)?;
        if let Some(size) = self.record_size {
            let [22, _, _, _, _, message @ ..] = sent.as_slice() else { bail!("recordSize is for a ClientHello") };
            let mut records = Vec::new();
            for fragment in message.chunks(size) {
                records.extend([22, 3, 1]);
                records.extend(u16::try_from(fragment.len())?.to_be_bytes());
                records.extend(fragment);
            }
            sent = records;
        }
        sent.extend(bytes(self.then.as_deref().unwrap_or_default())?);
        Ok(sent)
    }

    /// Returns the bytes of each write.
    pub fn writes(&self) -> Result<Vec<Vec<u8>>> {
        let size = self.write_size.unwrap_or(usize::MAX);
        Ok(self.bytes()?.chunks(size).map(<[u8]>::to_vec).collect())
    }
}
