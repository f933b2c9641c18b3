//! A tunnel in one stream of an HTTP/2 connection (RFC 9113, section 8.5).

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use anyhow::{Result, bail};

use crate::client::Stream;
use crate::http2::{
    ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS, STATUS_200, field_block, frame,
    read_frame,
};

/// The one stream of the connection.
const STREAM: u32 = 1;

/// The most bytes of a DATA frame that every peer takes (RFC 9113, section 4.2).
const MAX_FRAME: usize = 16_384;

/// A tunnel that an HTTP/2 CONNECT opened. What is read and written is its content; the end of the stream, by a reset
/// too, is the end of what can be read.
pub struct Http2Tunnel {
    connection: Box<dyn Stream>,
    received: VecDeque<u8>,
    is_open: bool,
    end: Option<StreamEnd>,
}

/// End of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StreamEnd {
    /// With END_STREAM.
    Complete,
    /// By a reset of it, or with the connection.
    Reset,
}

impl Http2Tunnel {
    /// Sends a CONNECT with these headers, and `early` in the same write, and waits for the answer.
    pub(crate) fn open(mut connection: Box<dyn Stream>, headers: &[(&[u8], &[u8])], early: &[u8]) -> Result<Self> {
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, &[])?);
        bytes.extend(frame(HEADERS, END_HEADERS, STREAM, &field_block(headers)?)?);
        if !early.is_empty() {
            bytes.extend(frame(DATA, 0, STREAM, early)?);
        }
        connection.write_all(&bytes)?;
        connection.flush()?;
        let mut tunnel = Self { connection, received: VecDeque::new(), is_open: false, end: None };
        loop {
            match tunnel.next_frame() {
                Some((HEADERS, payload)) => {
                    tunnel.is_open = payload.first() == Some(&STATUS_200);
                    return Ok(tunnel);
                }
                Some(_) => {}
                None => bail!("the stream ended without a response"),
            }
        }
    }

    /// True if the answer was 200. Otherwise what can be read is the body of the answer.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// True if the stream was reset, or its connection closed.
    pub fn is_reset(&self) -> bool {
        self.end == Some(StreamEnd::Reset)
    }

    /// Ends the client's side with these bytes.
    pub fn end_with(&mut self, bytes: &[u8]) -> Result<()> {
        self.send(DATA, END_STREAM, bytes)
    }

    /// Ends the client's side with a trailer.
    pub fn end_with_trailers(&mut self) -> Result<()> {
        let block = field_block(&[(b"x-end", b"1")])?;
        self.send(HEADERS, END_HEADERS | END_STREAM, &block)
    }

    fn send(&mut self, kind: u8, flags: u8, payload: &[u8]) -> Result<()> {
        self.connection.write_all(&frame(kind, flags, STREAM, payload)?)?;
        Ok(self.connection.flush()?)
    }

    /// Reads a frame of the stream, and keeps its content; `None` once the stream has ended.
    fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        while self.end.is_none() {
            let Some((kind, flags, id, payload)) = read_frame(&mut *self.connection) else { break };
            match (kind, id) {
                (SETTINGS, 0) if flags & ACK == 0 => {
                    // If the server has closed already, the frames before say why.
                    let _unsent = frame(SETTINGS, ACK, 0, &[]).map(|bytes| self.connection.write_all(&bytes));
                }
                (RST_STREAM, STREAM) | (GOAWAY, 0) => break,
                (DATA | HEADERS, STREAM) => {
                    self.end = (flags & END_STREAM != 0).then_some(StreamEnd::Complete);
                    if kind == DATA {
                        self.received.extend(&payload);
                    }
                    return Some((kind, payload));
                }
                _ => {}
            }
        }
        self.end = self.end.or(Some(StreamEnd::Reset));
        None
    }
}

impl Read for Http2Tunnel {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.received.is_empty() {
            if self.next_frame().is_none() {
                return Ok(0);
            }
        }
        self.received.read(buffer)
    }
}

impl Write for Http2Tunnel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = bytes.get(..MAX_FRAME).unwrap_or(bytes);
        self.send(DATA, 0, bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.connection.flush()
    }
}
