//! Plugins of a VM, by root context, and the callbacks by which the host reaches them.

use std::cell::{Cell, RefCell};
use std::num::NonZeroU32;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use sallyport_policy::{ConfigErrors, fingerprint};

use crate::abi::Bytes;
use crate::host::{Host, Level};
use crate::memory_limit;
use crate::stream::request::Side;
use crate::version::set_gauges;

/// Filter with one configuration.
///
/// A VM can hold several at once, each under its root context: two listeners with the same `vm_id`, or the old and
/// the new configuration during an update.
pub trait Plugin: Sized + 'static {
    /// Name in filter state, counters and log lines, as in `identity_authz`.
    const NAME: &'static str;

    /// Host that it calls.
    type Host: Host;

    /// State of a stream that it follows beyond the headers; `()` for a filter that follows none.
    type Stream: 'static;

    /// Reads a configuration. An error keeps the proxy from starting, or from taking the update.
    fn configure(host: Self::Host, configuration: Bytes) -> Result<Self, ConfigErrors>;

    /// Decides a request at its headers.
    fn on_request_headers(&self) -> Action;

    /// Called once a second on every worker, and once more before the plugin goes away.
    fn on_tick(&self);
}

/// Filter that also decides connections before their first byte.
pub trait ConnectionPlugin: Plugin {
    /// Decides a new connection. [`Action::Pause`] closes it, and no upstream is connected to. Returns a state to be kept
    /// until the connection ends.
    fn on_new_connection(&self) -> (Action, Option<Self::Stream>);
}

/// Filter that also decides streams by what the client sends after the headers.
pub trait BodyPlugin: ConnectionPlugin {
    /// Decides a request at its headers. Returns a state for a stream that is to be followed.
    fn on_request(&self) -> (Action, Option<Self::Stream>);

    /// Decides the bytes of a stream that is followed. [`Action::Pause`] holds them: at the next call there are `held`
    /// bytes, those of earlier calls included. `ended` is true if no more follow; trailers end a stream with 0 bytes.
    fn on_request_body(&self, stream: &mut Self::Stream, held: usize, ended: bool) -> Action;

    /// Takes note that a stream that is followed has ended.
    fn on_end(&self, stream: Self::Stream);
}

/// Filter that also decides connections at their first bytes from either side.
///
/// Only then is the client's certificate known: Envoy announces a connection to network filters before its TLS
/// handshake.
pub trait BytesPlugin: Plugin {
    /// Decides a connection. [`Action::Pause`] closes it, and no byte goes on in either direction.
    ///
    /// `is_probe` says that the side ended its half of the connection without a byte, as probes of a port do: there is
    /// nothing that a denial would keep out, so none is reported.
    fn on_first_bytes(&self, from: Side, is_probe: bool) -> Action;
}

/// Next step of the proxy with a request or connection (`proxy_action_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Proceed to the next filter.
    Continue = 0,
    /// Stop: the stream was answered or closed.
    Pause = 1,
}

/// Interval at which counters are flushed and log budgets renewed.
const TICK_MILLISECONDS: u32 = 1000;

/// Plugins of one VM. [`filter!`](crate::filter) makes one.
pub struct Vm<P: Plugin> {
    host: P::Host,
    /// Sorted by root context.
    plugins: RefCell<Vec<(u32, Box<P>)>>,
    /// True if a configuration was loaded here, whether it is still there or not.
    has_loaded: Cell<bool>,
    /// Context that was created last, and its root context. Envoy creates a context right before it hands over the
    /// request's headers or announces the connection. A request that was answered before this filter is never handed
    /// over.
    pending_context: Cell<Option<(u32, NonZeroU32)>>,
    /// Connections of network filters, by context.
    connections: RefCell<HashMap<u32, ConnectionPhase, FxBuildHasher>>,
    /// Streams that are followed, by context, each with its root context.
    streams: RefCell<HashMap<u32, (u32, P::Stream), FxBuildHasher>>,
}

/// Phase of a connection of a network filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectionPhase {
    /// No byte has come; holds the root context that will decide.
    Undecided(u32),
    /// Allowed.
    Allowed,
    /// Denied, and not gone yet.
    Denied,
}

impl<P: Plugin> Vm<P> {
    /// Makes a VM without plugins.
    pub const fn new(host: P::Host) -> Self {
        Self {
            host,
            plugins: RefCell::new(Vec::new()),
            has_loaded: Cell::new(false),
            pending_context: Cell::new(None),
            connections: RefCell::new(HashMap::with_hasher(FxBuildHasher)),
            streams: RefCell::new(HashMap::with_hasher(FxBuildHasher)),
        }
    }

    /// Handles `proxy_on_context_create`. A root context has no parent.
    pub fn on_context_create(&self, context: u32, parent: u32) {
        if let Some(root) = NonZeroU32::new(parent) {
            self.pending_context.set(Some((context, root)));
        }
    }

    /// Handles `proxy_on_configure`. Returns false to reject the configuration of the root context.
    ///
    /// Returns true without a plugin where the VM has no memory left for one: streams without a plugin are denied.
    pub fn on_configure(&self, context: u32, size: usize) -> bool {
        let configuration = match self.host.configuration(size) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.log(Level::Error, &format!("the configuration could not be read: {}", error.status()));
                return false;
            }
        };
        // Updates that follow each other sooner than a tick would pile up otherwise.
        self.drop_stale_plugins(context);
        if self.has_loaded.get()
            && let Some(shortage) = memory_limit::shortage(self.host.memory_pages())
        {
            self.remove(context);
            self.log(Level::Critical, &shortage);
            return true;
        }
        let fingerprint = fingerprint(&configuration);
        match P::configure(self.host, configuration) {
            Ok(plugin) => {
                if !self.has_loaded.get()
                    && let Some(excess) = memory_limit::excess(self.host.memory_pages())
                {
                    self.log(Level::Error, &format!("configuration refused, it {excess}"));
                    return false;
                }
                self.has_loaded.set(true);
                set_gauges(self.host, P::NAME, fingerprint);
                self.insert(context, plugin);
                if self.host.set_tick_period(TICK_MILLISECONDS).is_err() {
                    self.log(Level::Warn, "this proxy has no timers, counters stand still");
                }
                true
            }
            Err(errors) => {
                let count = errors.count();
                let faults = if count == 1 { "fault" } else { "faults" };
                self.log(Level::Error, &format!("configuration refused, {count} {faults}:"));
                for line in errors.named_lines() {
                    self.host.log(Level::Error, &line);
                }
                false
            }
        }
    }

    fn remove(&self, context: u32) {
        self.plugins.borrow_mut().retain(|(root, _)| *root != context);
    }

    fn insert(&self, context: u32, plugin: P) {
        self.remove(context);
        let mut plugins = self.plugins.borrow_mut();
        let index = plugins.partition_point(|(root, _)| *root < context);
        plugins.insert(index, (context, Box::new(plugin)));
    }

    /// Handles `proxy_on_request_headers`. Denies a stream whose plugin is not known.
    pub fn on_request_headers(&self, context: u32) -> Action {
        let action = self.root_of(context).and_then(|root| self.with_plugin(root, P::on_request_headers));
        action.unwrap_or_else(|| self.refuse_request())
    }

    /// Denies a request whose plugin is not known.
    fn refuse_request(&self) -> Action {
        self.log(Level::Error, "a request came to a filter without a configuration");
        // Without a reply the request stays paused: denied either way.
        let _unsent = self.host.reply_denied(503, "sallyport_not_configured", "");
        Action::Pause
    }

    /// Handles `proxy_on_tick` of a root context.
    pub fn on_tick(&self, context: u32) {
        let _unknown = self.with_plugin(context, P::on_tick);
        self.drop_stale_plugins(context);
    }

    /// Drops the plugins whose root context no longer exists.
    ///
    /// The callback that announces its end is called at the end of every request too, and each call costs, so the module
    /// does not export it.
    fn drop_stale_plugins(&self, current: u32) {
        if self.plugins.borrow().len() < 2 {
            return;
        }
        let is_stale = |(root, _): &mut (u32, Box<P>)| *root != current && !self.host.context_exists(*root);
        let stale: Vec<_> = self.plugins.borrow_mut().extract_if(.., is_stale).collect();
        self.host.set_effective_context(current);
        stale.iter().for_each(|(_, plugin)| plugin.on_tick());
    }

    /// Calls `callback` with the plugin of a root context, `None` if there is none. No plugin is added or dropped
    /// meanwhile: no host function that a plugin calls makes the proxy configure another.
    fn with_plugin<T>(&self, root: u32, callback: impl FnOnce(&P) -> T) -> Option<T> {
        let plugins = self.plugins.try_borrow().ok()?;
        let index = plugins.binary_search_by_key(&root, |(root, _)| *root).ok()?;
        plugins.get(index).map(|(_, plugin)| callback(plugin))
    }

    /// Root context of `context` if that was created last; each is asked for once.
    #[inline(always)]
    fn root_of(&self, context: u32) -> Option<u32> {
        self.pending_context.take().filter(|(pending, _)| *pending == context).map(|(_, root)| root.get())
    }

    fn log(&self, level: Level, message: &str) {
        self.host.log(level, &format!("sallyport {}: {message}", P::NAME));
    }
}

impl<P: ConnectionPlugin> Vm<P> {
    /// Handles `proxy_on_new_connection`. Denies a connection whose plugin is not known.
    pub fn on_new_connection(&self, context: u32) -> Action {
        let root = self.root_of(context);
        self.decide_connection(context, root, |plugin| {
            let (action, stream) = plugin.on_new_connection();
            self.follow(context, root, stream);
            action
        })
    }

    /// Handles `proxy_on_downstream_data`. If closing a connection fails, Envoy goes on to the next filter with its
    /// bytes.
    pub fn on_downstream_data(&self, context: u32) -> Action {
        match self.phase(context) {
            Some(ConnectionPhase::Allowed) => Action::Continue,
            Some(ConnectionPhase::Undecided(_) | ConnectionPhase::Denied) | None => self.close(),
        }
    }
}

impl<P: BodyPlugin> Vm<P> {
    /// Handles `proxy_on_request_headers` as [`on_request_headers`](Self::on_request_headers) does, and follows the
    /// streams that the plugin wants to.
    pub fn on_request(&self, context: u32) -> Action {
        let root = self.root_of(context);
        let Some((root, (action, stream))) = root.and_then(|root| Some((root, self.with_plugin(root, P::on_request)?)))
        else {
            return self.refuse_request();
        };
        self.follow(context, Some(root), stream);
        action
    }

    /// Handles `proxy_on_request_body`, and `proxy_on_request_trailers` as the end without bytes.
    pub fn on_request_body(&self, context: u32, held: usize, ended: bool) -> Action {
        match self.streams.borrow_mut().get_mut(&context) {
            None => Action::Continue,
            Some((root, stream)) => {
                let decide = |plugin: &P| plugin.on_request_body(stream, held, ended);
                self.with_plugin(*root, decide).unwrap_or(Action::Pause)
            }
        }
    }

    /// Handles `proxy_on_delete`: a stream that is followed has ended.
    pub fn on_delete(&self, context: u32) {
        let ended = self.streams.borrow_mut().remove(&context);
        if let Some((root, stream)) = ended {
            let _unknown = self.with_plugin(root, |plugin| plugin.on_end(stream));
        }
    }
}

impl<P: BytesPlugin> Vm<P> {
    /// Handles `proxy_on_new_connection`. The first bytes will decide.
    pub fn on_connection(&self, context: u32) -> Action {
        if let Some(root) = self.root_of(context) {
            self.connections.borrow_mut().insert(context, ConnectionPhase::Undecided(root));
        }
        Action::Continue
    }

    /// Handles `proxy_on_downstream_data` and `proxy_on_upstream_data`. The first bytes decide, or their end without any.
    pub fn on_bytes(&self, context: u32, from: Side, size: usize) -> Action {
        let root = match self.phase(context) {
            Some(ConnectionPhase::Allowed) => return Action::Continue,
            Some(ConnectionPhase::Denied) => return self.close(),
            Some(ConnectionPhase::Undecided(root)) => Some(root),
            None => None,
        };
        self.decide_connection(context, root, |plugin| plugin.on_first_bytes(from, size == 0))
    }
}

impl<P: Plugin> Vm<P> {
    /// Handles `proxy_on_downstream_connection_close`. What is followed of the connection ends with
    /// [`on_delete`](Vm::on_delete), which Envoy calls however a connection ends.
    pub fn on_connection_close(&self, context: u32) {
        self.connections.borrow_mut().remove(&context);
    }

    /// Closes a connection of a filter that stands among the network filters and is for HTTP alone.
    pub fn refuse_connection(&self) -> Action {
        self.log(Level::Error, "this filter is for HTTP, put it into http_filters; a connection was closed");
        self.close()
    }

    /// Keeps the state of a stream until it ends.
    fn follow(&self, context: u32, root: Option<u32>, stream: Option<P::Stream>) {
        if let Some((root, stream)) = root.zip(stream) {
            self.streams.borrow_mut().insert(context, (root, stream));
        }
    }

    fn phase(&self, context: u32) -> Option<ConnectionPhase> {
        self.connections.borrow().get(&context).copied()
    }

    fn decide_connection(&self, context: u32, root: Option<u32>, decide: impl FnOnce(&P) -> Action) -> Action {
        let action = root.and_then(|root| self.with_plugin(root, decide)).unwrap_or_else(|| {
            self.log(Level::Error, "a connection came to a filter without a configuration");
            Action::Pause
        });
        let phase = match action {
            Action::Continue => ConnectionPhase::Allowed,
            Action::Pause => ConnectionPhase::Denied,
        };
        self.connections.borrow_mut().insert(context, phase);
        match action {
            Action::Continue => Action::Continue,
            Action::Pause => self.close(),
        }
    }

    /// Closes the current connection. If that fails it stays paused: denied either way.
    fn close(&self) -> Action {
        if let Err(error) = self.host.close_downstream() {
            self.log(Level::Error, &format!("a connection could not be closed: {}", error.status()));
        }
        Action::Pause
    }
}

#[cfg(test)]
mod tests;
