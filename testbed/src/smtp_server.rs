//! A service of a server-first protocol.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Result;

/// A server that greets as SMTP servers do (RFC 5321) and answers every line with 250. Its threads end with the process.
#[derive(Debug)]
pub struct SmtpServer {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl SmtpServer {
    /// The greeting that every connection gets.
    pub const GREETING: &'static str = "220 mail.shop.internal ready\r\n";

    /// Starts a server on a free port of 127.0.0.1.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (connections, lines) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::default()));
        let server = Self { address, connections: Arc::clone(&connections), lines: Arc::clone(&lines) };
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (connections, lines) = (Arc::clone(&connections), Arc::clone(&lines));
                thread::spawn(move || converse(&socket, &connections, &lines));
            }
        });
        Ok(server)
    }

    /// The address of the listening socket.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of connections that got the greeting.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The lines received so far, of all connections.
    pub fn received_lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn converse(mut socket: &TcpStream, connections: &AtomicUsize, lines: &Mutex<Vec<String>>) -> Result<()> {
    socket.write_all(SmtpServer::GREETING.as_bytes())?;
    connections.fetch_add(1, Ordering::Relaxed);
    for line in BufReader::new(socket).lines() {
        lines.lock().unwrap_or_else(PoisonError::into_inner).push(line?);
        socket.write_all(b"250 ok\r\n")?;
    }
    Ok(())
}
