//! A server that keeps every byte that it gets.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Result;

/// Bytes by connection, in the order in which the connections came.
type Received = Arc<Mutex<Vec<Vec<u8>>>>;

/// A TCP server that greets, keeps what it gets, and answers the head of each request of HTTP/1.1 with 200. Its threads
/// end with the process.
#[derive(Debug)]
pub struct Recorder {
    address: SocketAddr,
    received: Received,
}

impl Recorder {
    /// Starts a server on a free port of 127.0.0.1, which sends `greeting` on each connection.
    pub fn start(greeting: &'static str) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let received = Received::default();
        let kept = Arc::clone(&received);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let index = {
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.push(Vec::new());
                    kept.len() - 1
                };
                let kept = Arc::clone(&kept);
                thread::spawn(move || record(socket, greeting, &kept, index));
            }
        });
        Ok(Self { address, received })
    }

    /// The address of the listening socket.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The bytes of each connection so far.
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn record(mut socket: TcpStream, greeting: &str, received: &Received, index: usize) -> Result<()> {
    socket.write_all(greeting.as_bytes())?;
    let mut chunk = [0; 4096];
    loop {
        let length = socket.read(&mut chunk)?;
        if length == 0 {
            return Ok(());
        }
        let ends_head = {
            let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(bytes) = received.get_mut(index) else { return Ok(()) };
            bytes.extend(chunk.get(..length).unwrap_or_default());
            bytes.ends_with(b"\r\n\r\n")
        };
        if ends_head {
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
        }
    }
}
