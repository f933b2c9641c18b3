//! Tunnels: requests whose body comes in pieces, as Envoy hands them over.

use anyhow::{Result, bail};

use super::{RequestOutcome, Root, Vm};
use crate::wasm_host::stream::{Connection, Request, StreamKind};

/// Actions of a client in a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TunnelEvent {
    /// It sends bytes. None at all is what Envoy announces for HTTP/1.1 before the tunnel is open.
    Bytes(Vec<u8>),
    /// It sends bytes, its last ones.
    LastBytes(Vec<u8>),
    /// It sends trailers, which end its side of an HTTP/2 stream.
    Trailers,
}

/// The result of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelOutcome {
    /// The result of its request. It continues unless the filter held it, or answered.
    pub request: RequestOutcome,
    /// The client's bytes that went on, each time that some did.
    pub forwarded: Vec<Vec<u8>>,
    /// The instructions of each event; 0 unless the module is metered.
    pub instructions: Vec<u64>,
}

impl Vm {
    /// Runs a tunnel. What the filter pauses on is held: the next event's bytes come behind it.
    pub fn tunnel(
        &mut self,
        root: Root,
        connection: Connection,
        request: Request,
        events: &[TunnelEvent],
    ) -> Result<TunnelOutcome> {
        let count = u32::try_from(request.0.len())?;
        let fuel = self.store.get_fuel().unwrap_or_default();
        let stream = self.open(root, connection, request, StreamKind::Http)?;
        let mut continues = self.pass_headers(stream, (count, false))?;
        let (mut held, mut forwarded, mut instructions) = (Vec::new(), Vec::new(), Vec::new());
        for event in events {
            if self.is_answered(stream) {
                break;
            }
            let before = self.store.get_fuel().unwrap_or_default();
            continues = self.pass(stream, event, &mut held)?;
            instructions.push(before - self.store.get_fuel().unwrap_or_default());
            if continues && !held.is_empty() {
                forwarded.push(std::mem::take(&mut held));
            }
        }
        let request = self.finish(stream, continues, fuel)?;
        Ok(TunnelOutcome { request, forwarded, instructions })
    }

    /// Passes the request headers, of which there are so many, and which are all of the request or not. Returns true if
    /// the filter continues.
    pub(super) fn pass_headers(&mut self, stream: u32, (count, ends): (u32, bool)) -> Result<bool> {
        let action = self.call::<_, u32>("proxy_on_request_headers", (stream, count, u32::from(ends)))?;
        if let Some(stream) = self.store.data_mut().streams.get_mut(&stream) {
            stream.headers_released = action == 0;
        }
        Ok(action == 0)
    }

    fn is_answered(&self, stream: u32) -> bool {
        self.store.data().streams.get(&stream).is_some_and(|stream| stream.response.is_some())
    }

    /// Passes an event to the filter, behind the bytes that are held. Returns true if the filter continues; without its
    /// callback, Envoy does.
    fn pass(&mut self, stream: u32, event: &TunnelEvent, held: &mut Vec<u8>) -> Result<bool> {
        let ended = match event {
            TunnelEvent::Trailers => {
                let action = self.call_if_exported_for::<_, u32>("proxy_on_request_trailers", (stream, 1_u32))?;
                return Ok(action.unwrap_or(0) == 0);
            }
            TunnelEvent::Bytes(bytes) => {
                held.extend(bytes);
                0_u32
            }
            TunnelEvent::LastBytes(bytes) => {
                held.extend(bytes);
                1
            }
        };
        self.set_body(stream, Some(held.clone()))?;
        let size = u32::try_from(held.len())?;
        let action = self.call_if_exported_for::<_, u32>("proxy_on_request_body", (stream, size, ended))?;
        self.set_body(stream, None)?;
        Ok(action.unwrap_or(0) == 0 && !self.is_answered(stream))
    }

    fn set_body(&mut self, stream: u32, body: Option<Vec<u8>>) -> Result<()> {
        let Some(stream) = self.store.data_mut().streams.get_mut(&stream) else { bail!("no stream {stream}") };
        stream.body = body;
        Ok(())
    }
}
