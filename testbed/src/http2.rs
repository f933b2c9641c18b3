//! As much of HTTP/2 (RFC 9113) as sends requests of any headers and hears how they end.

use std::collections::VecDeque;
use std::io::Read;

use anyhow::{Context, Result, bail, ensure};

use crate::client::Stream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// Flags.
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With an answer, whose body is this. Its status is not read: that would take all of HPACK (RFC 7541), and the
    /// access log of the server has it.
    Answered(Vec<u8>),
    /// The stream or the connection was reset, or closed.
    Reset,
}

/// Sends a request of these headers, pseudo-headers first, as they are, and waits for the end of its stream.
pub(crate) fn exchange(stream: &mut dyn Stream, headers: &[(&[u8], &[u8])]) -> Result<Ending> {
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[])?);
    bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(headers)?)?);
    stream.write_all(&bytes)?;
    stream.flush()?;
    let mut body = Vec::new();
    loop {
        let Some((kind, flags, id, payload)) = read_frame(stream) else { return Ok(Ending::Reset) };
        match (kind, id) {
            (SETTINGS, 0) if flags & ACK == 0 => {
                // A server that has closed already says why in the frames before.
                let _gone = frame(SETTINGS, ACK, 0, &[]).map(|bytes| stream.write_all(&bytes));
            }
            (DATA, 1) => body.extend(payload),
            (RST_STREAM, 1) | (GOAWAY, 0) => return Ok(Ending::Reset),
            _ => {}
        }
        if matches!((kind, id), (DATA | HEADERS, 1)) && flags & END_STREAM != 0 {
            return Ok(Ending::Answered(body));
        }
    }
}

/// One connection that many requests go over, several at once, each without a body.
pub struct Http2Connection {
    stream: Box<dyn Stream>,
    next_stream: u32,
    /// What was read and not yet looked at.
    unread: VecDeque<u8>,
}

/// `:status: 200` as every server writes it: field 8 of the static table (RFC 7541, appendix A).
const STATUS_200: u8 = 0x88;

impl Http2Connection {
    pub(crate) fn new(mut stream: Box<dyn Stream>) -> Result<Self> {
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, &[])?);
        stream.write_all(&bytes)?;
        stream.flush()?;
        Ok(Self { stream, next_stream: 1, unread: VecDeque::new() })
    }

    /// Sends the same request `count` times at once, pseudo-headers first, and waits for all the answers. Fails where
    /// one of them is not 200.
    pub fn send(&mut self, headers: &[(&[u8], &[u8])], count: usize) -> Result<()> {
        let block = block(headers)?;
        let mut bytes = Vec::new();
        for _ in 0..count {
            bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, self.next_stream, &block)?);
            self.next_stream += 2;
        }
        self.stream.write_all(&bytes)?;
        self.stream.flush()?;
        let mut answered = 0;
        while answered < count {
            let (kind, flags, _, payload) = self.next_frame()?;
            match kind {
                SETTINGS if flags & ACK == 0 => {
                    self.stream.write_all(&frame(SETTINGS, ACK, 0, &[])?)?;
                    self.stream.flush()?;
                }
                HEADERS => ensure!(payload.first() == Some(&STATUS_200), "an answer is not 200"),
                RST_STREAM | GOAWAY => bail!("the server has reset a stream or the connection"),
                _ => {}
            }
            answered += usize::from(matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0);
        }
        Ok(())
    }

    fn next_frame(&mut self) -> Result<Frame> {
        loop {
            let mut unread = self.unread.make_contiguous() as &[u8];
            let before = unread.len();
            if let Some(found) = read_frame(&mut unread) {
                let taken = before - unread.len();
                self.unread.drain(..taken);
                return Ok(found);
            }
            let mut chunk = [0; 16_384];
            let length = self.stream.read(&mut chunk)?;
            ensure!(length > 0, "the connection was closed before all answers were there");
            self.unread.extend(chunk.get(..length).unwrap_or_default());
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<Vec<u8>> {
    let [zero, length @ ..] = u32::try_from(payload.len())?.to_be_bytes();
    if zero != 0 {
        bail!("a frame of {} bytes", payload.len());
    }
    Ok([&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat())
}

/// Literal fields that are not indexed, without Huffman coding (RFC 7541, section 6.2.2).
fn block(headers: &[(&[u8], &[u8])]) -> Result<Vec<u8>> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        for text in [name, value] {
            block.extend(length(text.len())?);
            block.extend(*text);
        }
    }
    Ok(block)
}

/// An integer with a prefix of 7 bits (RFC 7541, section 5.1), up to 255.
fn length(length: usize) -> Result<Vec<u8>> {
    match u8::try_from(length) {
        Ok(short @ 0..127) => Ok(vec![short]),
        Ok(longer) if longer - 127 < 128 => Ok(vec![127, longer - 127]),
        _ => {
            let rest = length.checked_sub(127).context("checked above")?;
            let (low, high) = (u8::try_from(rest % 128)?, u8::try_from(rest / 128)?);
            Ok(vec![127, low | 0x80, high])
        }
    }
}

type Frame = (u8, u8, u32, Vec<u8>);

/// The next frame, or none where the connection has ended.
fn read_frame(stream: &mut (impl Read + ?Sized)) -> Option<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let [a, b, c, kind, flags, id @ ..] = head;
    let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?];
    stream.read_exact(&mut payload).ok()?;
    Some((kind, flags, u32::from_be_bytes(id), payload))
}
