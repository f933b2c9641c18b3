//! A minimal HTTP/2 client (RFC 9113) that sends arbitrary headers and reports how the stream ended.

use std::collections::VecDeque;
use std::io::Read;

use anyhow::{Context, Result, bail, ensure};

use crate::client::Stream;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (RFC 9113, section 6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// Flags.
pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// End of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamOutcome {
    /// A complete response with this body. The status is not decoded: that needs all of HPACK (RFC 7541), and the server's
    /// access log has it.
    Complete(Vec<u8>),
    /// The stream or the connection was reset, or closed.
    Reset,
}

/// Sends a request with these headers, pseudo-headers first, and waits for the end of its stream.
pub(crate) fn exchange(stream: &mut dyn Stream, headers: &[(&[u8], &[u8])]) -> Result<StreamOutcome> {
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[])?);
    bytes.extend(request_frames(1, &field_block(headers)?)?);
    stream.write_all(&bytes)?;
    stream.flush()?;
    let mut body = Vec::new();
    loop {
        let Some((kind, flags, id, payload)) = read_frame(stream) else { return Ok(StreamOutcome::Reset) };
        match (kind, id) {
            (SETTINGS, 0) if flags & ACK == 0 => {
                // If the server has closed already, the frames before say why.
                let _unsent = frame(SETTINGS, ACK, 0, &[]).map(|bytes| stream.write_all(&bytes));
            }
            (DATA, 1) => body.extend(payload),
            (RST_STREAM, 1) | (GOAWAY, 0) => return Ok(StreamOutcome::Reset),
            _ => {}
        }
        if matches!((kind, id), (DATA | HEADERS, 1)) && flags & END_STREAM != 0 {
            return Ok(StreamOutcome::Complete(body));
        }
    }
}

/// A connection for many concurrent requests without bodies, or tunnels.
pub struct Http2Connection {
    stream: Box<dyn Stream>,
    next_stream: u32,
    /// Bytes that were read but not parsed yet.
    unread: VecDeque<u8>,
}

/// Bytes by which the window of a connection is enlarged, to the most that there is (RFC 9113, section 6.9.1): bodies of
/// any number of responses fit.
const LARGER_WINDOW: u32 = 0x7fff_ffff - 65_535;

/// `:status: 200` as an indexed field: entry 8 of the static table (RFC 7541, appendix A).
pub(crate) const STATUS_200: u8 = 0x88;

impl Http2Connection {
    pub(crate) fn new(mut stream: Box<dyn Stream>) -> Result<Self> {
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, &[])?);
        bytes.extend(frame(WINDOW_UPDATE, 0, 0, &LARGER_WINDOW.to_be_bytes())?);
        stream.write_all(&bytes)?;
        stream.flush()?;
        Ok(Self { stream, next_stream: 1, unread: VecDeque::new() })
    }

    /// Sends the same request `count` times concurrently, pseudo-headers first, and waits for all responses. Fails if one
    /// of them is not 200.
    pub fn send(&mut self, headers: &[(&[u8], &[u8])], count: usize) -> Result<()> {
        let block = field_block(headers)?;
        let answers = self.exchange_blocks(std::iter::repeat_n(block.as_slice(), count))?;
        ensure!(answers.iter().all(|is_ok| *is_ok), "a response is not 200");
        Ok(())
    }

    /// Sends [requests](request) concurrently, and waits for all responses. Says for each whether it is 200.
    pub fn are_ok(&mut self, requests: &[&[u8]]) -> Result<Vec<bool>> {
        self.exchange_blocks(requests.iter().copied())
    }

    fn exchange_blocks<'b>(&mut self, blocks: impl Iterator<Item = &'b [u8]>) -> Result<Vec<bool>> {
        let first = self.next_stream;
        let mut bytes = Vec::new();
        let mut answers = Vec::new();
        for block in blocks {
            bytes.extend(request_frames(self.next_stream, block)?);
            self.next_stream += 2;
            answers.push(false);
        }
        self.stream.write_all(&bytes)?;
        self.stream.flush()?;
        let mut finished = 0;
        while finished < answers.len() {
            let (kind, flags, id, payload) = self.next_frame()?;
            match kind {
                SETTINGS if flags & ACK == 0 => {
                    self.stream.write_all(&frame(SETTINGS, ACK, 0, &[])?)?;
                    self.stream.flush()?;
                }
                HEADERS if payload.first() == Some(&STATUS_200) => {
                    let at = id.checked_sub(first).context("a response to an earlier request")? / 2;
                    *answers.get_mut(usize::try_from(at)?).context("a response without a request")? = true;
                }
                RST_STREAM | GOAWAY => bail!("the server reset a stream or the connection"),
                _ => {}
            }
            finished += usize::from(matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0);
        }
        Ok(answers)
    }

    /// Opens `count` tunnels with the same headers, pseudo-headers first, and sends the same bytes in each once it is
    /// open. Fails unless each answer is 200.
    pub fn open_tunnels(&mut self, headers: &[(&[u8], &[u8])], count: usize, bytes: &[u8]) -> Result<()> {
        let block = field_block(headers)?;
        let first = self.next_stream;
        let mut request = Vec::new();
        for _ in 0..count {
            request.extend(frame(HEADERS, END_HEADERS, self.next_stream, &block)?);
            self.next_stream += 2;
        }
        self.stream.write_all(&request)?;
        let mut open = 0;
        while open < count {
            let (kind, flags, id, payload) = self.next_frame()?;
            match kind {
                SETTINGS if flags & ACK == 0 => self.stream.write_all(&frame(SETTINGS, ACK, 0, &[])?)?,
                HEADERS => {
                    ensure!(id >= first && payload.first() == Some(&STATUS_200), "an answer is not 200");
                    self.stream.write_all(&frame(DATA, 0, id, bytes)?)?;
                    open += 1;
                }
                RST_STREAM | GOAWAY => bail!("the server reset a stream or the connection"),
                _ => {}
            }
        }
        Ok(self.stream.flush()?)
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
            ensure!(length > 0, "the connection was closed before all responses were received");
            self.unread.extend(chunk.get(..length).unwrap_or_default());
        }
    }
}

/// Encodes the headers of a request, pseudo-headers first.
pub fn request(headers: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<u8>> {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
    field_block(&headers)
}

/// Most bytes of a frame's payload that every peer accepts (RFC 9113, section 4.2).
const MAX_PAYLOAD: usize = 1 << 14;

/// Returns a field block as a request without a body: HEADERS, and CONTINUATION for what is beyond one frame.
fn request_frames(stream: u32, block: &[u8]) -> Result<Vec<u8>> {
    let mut parts = block.chunks(MAX_PAYLOAD).peekable();
    let (mut kind, mut flags) = (HEADERS, END_STREAM);
    let mut frames = Vec::with_capacity(block.len() + 64);
    while let Some(part) = parts.next() {
        let end = if parts.peek().is_none() { END_HEADERS } else { 0 };
        frames.extend(frame(kind, flags | end, stream, part)?);
        (kind, flags) = (CONTINUATION, 0);
    }
    Ok(frames)
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<Vec<u8>> {
    let [zero, length @ ..] = u32::try_from(payload.len())?.to_be_bytes();
    if zero != 0 {
        bail!("a frame of {} bytes", payload.len());
    }
    Ok([&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat())
}

/// Encodes a field block as literals without indexing and without Huffman coding (RFC 7541, section 6.2.2).
pub(crate) fn field_block(headers: &[(&[u8], &[u8])]) -> Result<Vec<u8>> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        for text in [name, value] {
            block.extend(string_length(text.len())?);
            block.extend(*text);
        }
    }
    Ok(block)
}

/// Encodes a string length with a 7-bit prefix (RFC 7541, section 5.1).
fn string_length(length: usize) -> Result<Vec<u8>> {
    let Some(mut rest) = length.checked_sub(127) else { return Ok(vec![u8::try_from(length)?]) };
    let mut bytes = vec![127];
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128)? | 0x80);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest)?);
    Ok(bytes)
}

type Frame = (u8, u8, u32, Vec<u8>);

/// Reads the next frame; `None` if the stream ends before it is complete.
pub(crate) fn read_frame(stream: &mut (impl Read + ?Sized)) -> Option<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let [a, b, c, kind, flags, id @ ..] = head;
    let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?];
    stream.read_exact(&mut payload).ok()?;
    Some((kind, flags, u32::from_be_bytes(id), payload))
}
