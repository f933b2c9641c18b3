//! A service of a server-first protocol.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Result;

/// A server that greets as SMTP servers do (RFC 5321) and answers every line with 250. Its threads end with the process.
#[derive(Debug)]
pub struct SmtpServer {
    address: SocketAddr,
    peers: Arc<Mutex<Vec<SocketAddr>>>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl SmtpServer {
    /// The greeting that every connection gets.
    pub const GREETING: &'static str = "220 mail.shop.internal ready\r\n";

    /// Starts a server on a free port of 127.0.0.1.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (peers, lines) = (Arc::<Mutex<_>>::default(), Arc::<Mutex<_>>::default());
        let server = Self { address, peers: Arc::clone(&peers), lines: Arc::clone(&lines) };
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (peers, lines) = (Arc::clone(&peers), Arc::clone(&lines));
                thread::spawn(move || converse(&socket, &peers, &lines));
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
        self.peers().len()
    }

    /// The other ends of the connections that got the greeting.
    pub fn peers(&self) -> Vec<SocketAddr> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The lines received so far, of all connections.
    pub fn received_lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn converse(mut socket: &TcpStream, peers: &Mutex<Vec<SocketAddr>>, lines: &Mutex<Vec<String>>) -> Result<()> {
    socket.write_all(SmtpServer::GREETING.as_bytes())?;
    peers.lock().unwrap_or_else(PoisonError::into_inner).push(socket.peer_addr()?);
    for line in BufReader::new(socket).lines() {
        lines.lock().unwrap_or_else(PoisonError::into_inner).push(line?);
        socket.write_all(b"250 ok\r\n")?;
    }
    Ok(())
}
