//! Connections that clients have open at the same time, on one worker.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use sallyport_policy::{AttributeError, EgressRequest};

/// Client: who asks if that is proven, else the address of the connection's other end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Client {
    Principal(Box<str>),
    Address(Option<IpAddr>),
}

impl Client {
    fn of(request: &mut dyn EgressRequest) -> Result<Self, AttributeError> {
        if let Some(id) = request.peer()?.id() {
            return Ok(Self::Principal(id.principal().into()));
        }
        request.source_ip().map(Self::Address)
    }
}

/// Open connections by client; those of clients that have none take no memory.
type Counts = Rc<RefCell<HashMap<Client, u32, FxBuildHasher>>>;

/// Limit of what one client may have open at the same time: tunnels, requests and connections that pass through.
#[derive(Debug)]
pub struct ClientLimit {
    most: u32,
    open: Counts,
}

/// Connection that counts until it is dropped.
#[derive(Debug)]
pub struct OpenConnection {
    client: Client,
    open: Counts,
}

impl ClientLimit {
    /// Makes a limit of `most` connections.
    pub fn new(most: u32) -> Self {
        Self { most, open: Counts::default() }
    }

    /// The most connections.
    pub fn most(&self) -> u32 {
        self.most
    }

    /// Counts one more connection of a client, `None` if it has the most already.
    ///
    /// Fails if the proxy does not tell who the client is.
    pub fn open(&self, request: &mut dyn EgressRequest) -> Result<Option<OpenConnection>, AttributeError> {
        let client = Client::of(request)?;
        let mut open = self.open.borrow_mut();
        let count = open.entry(client.clone()).or_insert(0);
        if *count >= self.most {
            return Ok(None);
        }
        *count += 1;
        Ok(Some(OpenConnection { client, open: Rc::clone(&self.open) }))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let mut open = self.open.borrow_mut();
        match open.get_mut(&self.client) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                open.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests;
