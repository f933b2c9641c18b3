//! What a VM holds: the plugins by root context, and the callbacks by which the proxy reaches them.

use std::cell::{Cell, RefCell};
use std::num::NonZeroU32;
use std::panic;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use sallyport_policy::ConfigErrors;

use crate::abi::{self, Bytes};
use crate::host::{self, Level};
use crate::stream::request::Side;

/// A filter with one configuration.
///
/// A VM can hold several at once, each under its root context: two listeners with the same `vm_id`, or the old and
/// the new configuration during an update.
pub trait Plugin: Sized + 'static {
    /// The filter's name in filter state, counters and log lines, as in `identity_authz`.
    const NAME: &'static str;

    /// Reads a configuration. A refusal keeps the proxy from starting, or from taking the update.
    fn configure(configuration: Bytes) -> Result<Self, ConfigErrors>;

    /// Decides a request at its headers.
    fn on_request_headers(&self) -> Action;

    /// Called once a second on every worker, and once more before the plugin goes away.
    fn on_tick(&self);
}

/// A filter that also decides connections, before their first byte.
pub trait ConnectionPlugin: Plugin {
    /// Decides a new connection. [`Action::Pause`] closes it, and nothing is connected to on its behalf.
    fn on_new_connection(&self) -> Action;
}

/// A filter that also decides connections, at their first bytes from either side.
///
/// Only then is the client's certificate known: Envoy makes the network filters aware of a connection before the TLS
/// handshake.
pub trait BytesPlugin: Plugin {
    /// Decides a connection. [`Action::Pause`] closes it, and no byte goes on in either direction.
    fn on_first_bytes(&self, from: Side) -> Action;
}

/// What the proxy does with a request next (`proxy_action_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The request goes on.
    Continue = 0,
    /// The request stays here: it has been answered.
    Pause = 1,
}

/// How often counters are flushed and log limits renewed.
const TICK_MILLISECONDS: u32 = 1000;

/// The plugins of one VM. [`filter!`](crate::filter) makes one.
pub struct Vm<P> {
    /// In the order of their root contexts.
    plugins: RefCell<Vec<(u32, Box<P>)>>,
    /// The context that was made last and its root context. Envoy makes a context right before it says what it is of: a
    /// request's headers, or a new connection. Of a request that was answered before this filter it says nothing.
    pending_context: Cell<Option<(u32, NonZeroU32)>>,
    /// The connections of network filters that are there, by context.
    connections: RefCell<HashMap<u32, Known, FxBuildHasher>>,
}

/// What is known of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// Nothing is decided; this is its root context.
    Root(u32),
    /// It was let through.
    Open,
    /// It was turned away and is still there.
    Shut,
}

impl<P: Plugin> Vm<P> {
    /// A VM before anything was configured.
    #[expect(clippy::new_without_default, reason = "it is made in a constant")]
    pub const fn new() -> Self {
        Self {
            plugins: RefCell::new(Vec::new()),
            pending_context: Cell::new(None),
            connections: RefCell::new(HashMap::with_hasher(FxBuildHasher)),
        }
    }

    /// A context came to be; a root context has no parent.
    pub fn on_context_create(&self, context: u32, parent: u32) {
        if let Some(root) = NonZeroU32::new(parent) {
            self.pending_context.set(Some((context, root)));
        }
    }

    /// Reads the configuration of a root context. False refuses it.
    pub fn on_configure(&self, context: u32, size: usize) -> bool {
        let plugin = match host::configuration(size) {
            Ok(bytes) => P::configure(bytes),
            Err(failed) => {
                let name = P::NAME;
                host::log(
                    Level::Error,
                    &format!("sallyport {name}: the configuration could not be read: {}", failed.answer()),
                );
                return false;
            }
        };
        match plugin {
            Ok(plugin) => {
                let mut plugins = self.plugins.borrow_mut();
                plugins.retain(|(root, _)| *root != context);
                let place = plugins.partition_point(|(root, _)| *root < context);
                plugins.insert(place, (context, Box::new(plugin)));
                if host::set_tick_period(TICK_MILLISECONDS).is_err() {
                    host::log(
                        Level::Warn,
                        &format!("sallyport {}: this proxy has no timers, counters stand still", P::NAME),
                    );
                }
                true
            }
            Err(refusal) => {
                let count = refusal.count();
                let faults = if count == 1 { "fault" } else { "faults" };
                host::log(Level::Error, &format!("sallyport {}: configuration refused, {count} {faults}:", P::NAME));
                for line in refusal.lines() {
                    host::log(Level::Error, &line);
                }
                false
            }
        }
    }

    /// The headers of a request are there. A stream whose plugin is not known is turned away.
    pub fn on_request_headers(&self, context: u32) -> Action {
        let decided = self.root_of(context).and_then(|root| self.ask(root, P::on_request_headers));
        decided.unwrap_or_else(|| {
            host::log(Level::Error, &format!("sallyport {}: a request came before any configuration", P::NAME));
            // Without an answer the request stays paused: shut either way.
            let _unsent = host::reply_denied(503, "sallyport_not_configured", "");
            Action::Pause
        })
    }

    /// A second has gone by.
    pub fn on_tick(&self, context: u32) {
        let _unknown = self.ask(context, P::on_tick);
        self.drop_stale_plugins(context);
    }

    /// Lets go of the plugins whose root context is no more.
    ///
    /// The callback that would say so comes at the end of every request too, and each is a crossing.
    fn drop_stale_plugins(&self, ticking: u32) {
        if self.plugins.borrow().len() < 2 {
            return;
        }
        let is_gone = |(root, _): &mut (u32, Box<P>)| *root != ticking && !host::context_exists(*root);
        let gone: Vec<_> = self.plugins.borrow_mut().extract_if(.., is_gone).collect();
        host::set_effective_context(ticking);
        gone.iter().for_each(|(_, plugin)| plugin.on_tick());
    }

    /// What the plugin of a root context says. While it does, none is made and none goes away: no host function that a
    /// plugin calls makes the proxy configure another.
    fn ask<T>(&self, root: u32, question: impl FnOnce(&P) -> T) -> Option<T> {
        let plugins = self.plugins.borrow();
        let place = plugins.binary_search_by_key(&root, |(root, _)| *root).ok()?;
        plugins.get(place).map(|(_, plugin)| question(plugin))
    }

    /// The root context of the context that was made last, which is asked for it once.
    #[inline(always)]
    fn root_of(&self, context: u32) -> Option<u32> {
        self.pending_context
            .take()
            .filter(|(pending_context, _)| *pending_context == context)
            .map(|(_, root)| root.get())
    }
}

impl<P: ConnectionPlugin> Vm<P> {
    /// A connection came to be. One whose plugin is not known is turned away.
    pub fn on_new_connection(&self, context: u32) -> Action {
        self.decide(context, self.root_of(context), P::on_new_connection)
    }

    /// Bytes came from the client. Where closing has failed, Envoy would go on to the next filter with them.
    pub fn on_downstream_data(&self, context: u32) -> Action {
        match self.known(context) {
            Some(Known::Open) => Action::Continue,
            Some(Known::Root(_) | Known::Shut) | None => self.close(),
        }
    }
}

impl<P: BytesPlugin> Vm<P> {
    /// A connection came to be; its first bytes will decide.
    pub fn on_connection(&self, context: u32) -> Action {
        if let Some(root) = self.root_of(context) {
            self.connections.borrow_mut().insert(context, Known::Root(root));
        }
        Action::Continue
    }

    /// Bytes came, from either side. The first ones decide.
    pub fn on_bytes(&self, context: u32, from: Side) -> Action {
        let root = match self.known(context) {
            Some(Known::Open) => return Action::Continue,
            Some(Known::Shut) => return self.close(),
            Some(Known::Root(root)) => Some(root),
            None => None,
        };
        self.decide(context, root, |plugin| plugin.on_first_bytes(from))
    }
}

impl<P: Plugin> Vm<P> {
    /// A connection of a network filter is over.
    pub fn on_connection_close(&self, context: u32) {
        self.connections.borrow_mut().remove(&context);
    }

    fn known(&self, context: u32) -> Option<Known> {
        self.connections.borrow().get(&context).copied()
    }

    fn decide(&self, context: u32, root: Option<u32>, decide: impl FnOnce(&P) -> Action) -> Action {
        let action = root.and_then(|root| self.ask(root, decide)).unwrap_or_else(|| {
            host::log(Level::Error, &format!("sallyport {}: a connection came before any configuration", P::NAME));
            Action::Pause
        });
        let known = match action {
            Action::Continue => Known::Open,
            Action::Pause => Known::Shut,
        };
        self.connections.borrow_mut().insert(context, known);
        if action == Action::Pause {
            self.close();
        }
        action
    }

    /// Closes a connection; what has come stays here in any case.
    fn close(&self) -> Action {
        if let Err(failed) = host::close_downstream() {
            host::log(
                Level::Error,
                &format!("sallyport {}: a connection could not be closed: {}", P::NAME, failed.answer()),
            );
        }
        Action::Pause
    }
}

/// A filter for HTTP alone stands among the network filters: nothing of a connection is decided, so none goes on.
pub fn refuse_connection<P: Plugin>() -> Action {
    host::log(
        Level::Error,
        &format!("sallyport {}: this filter is for HTTP, put it into http_filters; a connection was closed", P::NAME),
    );
    // A connection that cannot be closed stays paused: shut either way.
    let _open = host::close_downstream();
    Action::Pause
}

/// Called before anything else: a panic is a bug, and says where before it ends the VM.
pub fn on_initialize() {
    panic::set_hook(Box::new(|info| host::log(Level::Critical, &format!("sallyport: {info}"))));
}

/// Memory for the host to write into.
pub fn on_memory_allocate(size: usize) -> *mut u8 {
    abi::allocate(size)
}

/// Exports a [`Plugin`] as a Proxy-Wasm module: the callbacks of ABI 0.2.1 that an HTTP filter of ours uses, and
/// one that refuses connections, should it stand among the network filters. With `connections` it exports a
/// [`ConnectionPlugin`], with `bytes` a [`BytesPlugin`], which Envoy can load as a network filter too.
#[macro_export]
macro_rules! filter {
    ($plugin:ty) => {
        $crate::filter!(@export $plugin, {
            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_new_connection(_context: u32) -> u32 {
                $crate::refuse_connection::<$plugin>() as u32
            }
        });
    };
    ($plugin:ty, connections) => {
        $crate::filter!(@export $plugin, {
            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_new_connection(context: u32) -> u32 {
                VM.with(|vm| vm.on_new_connection(context)) as u32
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_downstream_data(context: u32, _size: usize, _end_of_stream: u32) -> u32 {
                VM.with(|vm| vm.on_downstream_data(context)) as u32
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_downstream_connection_close(context: u32, _by: u32) {
                VM.with(|vm| vm.on_connection_close(context));
            }
        });
    };
    ($plugin:ty, bytes) => {
        $crate::filter!(@export $plugin, {
            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_new_connection(context: u32) -> u32 {
                VM.with(|vm| vm.on_connection(context)) as u32
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_downstream_data(context: u32, _size: usize, _end_of_stream: u32) -> u32 {
                VM.with(|vm| vm.on_bytes(context, $crate::Side::Downstream)) as u32
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_upstream_data(context: u32, _size: usize, _end_of_stream: u32) -> u32 {
                VM.with(|vm| vm.on_bytes(context, $crate::Side::Upstream)) as u32
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_downstream_connection_close(context: u32, _by: u32) {
                VM.with(|vm| vm.on_connection_close(context));
            }
        });
    };
    (@export $plugin:ty, { $($more:item)* }) => {
        mod exports {
            #![expect(
                unsafe_code,
                reason = "the proxy finds callbacks by their names, which must be exported as they are"
            )]

            use super::*;

            thread_local! {
                static VM: $crate::Vm<$plugin> = const { $crate::Vm::new() };
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_abi_version_0_2_1() {}

            #[unsafe(no_mangle)]
            extern "C" fn _initialize() {
                $crate::on_initialize();
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
                $crate::on_memory_allocate(size)
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_context_create(context: u32, parent: u32) {
                VM.with(|vm| vm.on_context_create(context, parent));
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_configure(context: u32, size: usize) -> bool {
                VM.with(|vm| vm.on_configure(context, size))
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_request_headers(context: u32, _headers: usize, _end_of_stream: u32) -> u32 {
                VM.with(|vm| vm.on_request_headers(context)) as u32
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_tick(context: u32) {
                VM.with(|vm| vm.on_tick(context));
            }

            $($more)*
        }
    };
}
