//! A service that speaks first.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Result;

/// A server that greets like one of SMTP (RFC 5321) and answers every line. Its threads end with the process.
#[derive(Debug)]
pub struct MailServer {
    address: SocketAddr,
    greeted: Arc<AtomicUsize>,
    heard: Arc<Mutex<Vec<String>>>,
}

impl MailServer {
    /// What it says to whoever connects.
    pub const GREETING: &'static str = "220 mail.shop.internal ready\r\n";

    /// Starts one on a free port.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (greeted, heard) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::default()));
        let server = Self { address, greeted: Arc::clone(&greeted), heard: Arc::clone(&heard) };
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (greeted, heard) = (Arc::clone(&greeted), Arc::clone(&heard));
                thread::spawn(move || converse(&socket, &greeted, &heard));
            }
        });
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has greeted.
    pub fn greeted(&self) -> usize {
        self.greeted.load(Ordering::Relaxed)
    }

    /// The lines that it has heard, of all connections.
    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn converse(mut socket: &TcpStream, greeted: &AtomicUsize, heard: &Mutex<Vec<String>>) -> Result<()> {
    socket.write_all(MailServer::GREETING.as_bytes())?;
    greeted.fetch_add(1, Ordering::Relaxed);
    for line in BufReader::new(socket).lines() {
        heard.lock().unwrap_or_else(PoisonError::into_inner).push(line?);
        socket.write_all(b"250 ok\r\n")?;
    }
    Ok(())
}
