//! One instance of a module, and the callbacks that a proxy makes into it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Result, bail};
use wasmtime::{Instance, Store, WasmParams, WasmResults};

use super::module::Module;
use super::outcome::{ConnectionOutcome, Refused, RequestOutcome};
use super::profile::Profile;
use super::state::{InjectedAnswer, InjectedFailure, LogLine, MetricKind, State};
use super::stream::{Connection, Request, Stream, StreamKind};

mod tunnel;

pub use tunnel::{TunnelEvent, TunnelOutcome};

/// The values of `proxy_peer_type_t`, which name the side that closed a connection.
const PEER_LOCAL: u32 = 1;
const PEER_REMOTE: u32 = 2;

/// The root context of one plugin configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Root(u32);

/// The side of a connection that sends bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The client, once its TLS handshake is complete.
    Client,
    /// The client ends its half of the connection without a byte.
    SilentClient,
    /// The server.
    Server {
        /// True if the client's TLS handshake is complete by then.
        established: bool,
    },
}

/// An instance with its own memory and host state, like the VM of one Envoy worker.
pub struct Vm {
    store: Store<State>,
    instance: Instance,
    next_context: u32,
}

impl Vm {
    /// Creates an instance and initializes it.
    pub fn start(module: &Module) -> Result<Self> {
        Self::start_in(Profile::Envoy, module)
    }

    /// Creates an instance in another proxy than Envoy.
    pub fn start_in(profile: Profile, module: &Module) -> Result<Self> {
        let state = State { profile, ..State::default() };
        let mut store = Store::new(module.module.engine(), state);
        // Fails for a module that is not metered, which needs no fuel.
        let _unmetered = store.set_fuel(u64::MAX);
        let instance = module.linker.instantiate(&mut store, &module.module)?;
        let mut vm = Self { store, instance, next_context: 0 };
        vm.call_if_exported("_initialize", ())?;
        Ok(vm)
    }

    /// Creates an instance with one plugin. Fails if the plugin refuses its configuration.
    pub fn configured(module: &Module, configuration: &str) -> Result<(Self, Root)> {
        let mut vm = Self::start(module)?;
        let root = vm.configure(configuration.as_bytes())??;
        Ok((vm, root))
    }

    /// Creates a root context and configures it, as Envoy does for a new plugin configuration.
    pub fn configure(&mut self, configuration: &[u8]) -> Result<Result<Root, Refused>> {
        let root = self.new_context();
        let logged = self.store.data().log.len();
        let state = self.store.data_mut();
        state.configuration = configuration.to_vec();
        state.context = root;
        state.roots.insert(root);
        state.configuring = true;
        self.call_if_exported("proxy_on_context_create", (root, 0_u32))?;
        self.call_if_exported_for::<_, u32>("proxy_on_vm_start", (root, 0_u32))?;
        let size = u32::try_from(configuration.len())?;
        let accepted = self.call::<_, u32>("proxy_on_configure", (root, size))?;
        self.store.data_mut().configuring = false;
        if accepted == 1 {
            return Ok(Ok(Root(root)));
        }
        let log = self.store.data().log.get(logged..).unwrap_or_default().to_vec();
        Ok(Err(Refused { log }))
    }

    /// Creates a root context without configuring it.
    pub fn unconfigured(&mut self) -> Result<Root> {
        let root = self.new_context();
        let state = self.store.data_mut();
        state.context = root;
        state.roots.insert(root);
        self.call_if_exported("proxy_on_context_create", (root, 0_u32))?;
        Ok(Root(root))
    }

    /// Runs one request: creates its context, passes the request headers and, if there is a response, its headers, and
    /// deletes the context.
    pub fn request(&mut self, root: Root, connection: Connection, request: Request) -> Result<RequestOutcome> {
        let count = u32::try_from(request.0.len())?;
        let fuel = self.store.get_fuel().unwrap_or_default();
        let stream = self.open(root, connection, request, StreamKind::Http)?;
        let continues = self.pass_headers(stream, (count, true))?;
        self.finish(stream, continues, fuel)
    }

    /// Ends a request that continues or not, since which the fuel went down from `fuel`.
    fn finish(&mut self, stream: u32, continues: bool, fuel: u64) -> Result<RequestOutcome> {
        self.respond(stream, continues)?;
        let host_calls = std::mem::take(&mut self.store.data_mut().host_calls);
        let ended = self.end(stream)?;
        Ok(RequestOutcome {
            continues: continues && ended.response.is_none(),
            response: ended.response,
            response_headers: ended.response_headers.unwrap_or_default(),
            filter_state: to_strings(ended.filter_state),
            host_calls,
            instructions: fuel - self.store.get_fuel().unwrap_or_default(),
        })
    }

    /// Passes the response headers: the filter's own, or the upstream's if the request continues. A request that was
    /// paused without a response gets none.
    fn respond(&mut self, stream: u32, continues: bool) -> Result<()> {
        let Some(request) = self.store.data_mut().streams.get_mut(&stream) else { bail!("no stream {stream}") };
        let headers = match &request.response {
            Some(response) => response.headers_with_status(),
            None if continues => vec![(b":status".to_vec(), b"200".to_vec())],
            None => return Ok(()),
        };
        let count = u32::try_from(headers.len())?;
        request.response_headers = Some(headers);
        let action = self.call_if_exported_for::<_, u32>("proxy_on_response_headers", (stream, count, 1_u32))?;
        if let Some(stream) = self.store.data_mut().streams.get_mut(&stream) {
            stream.response_headers_released = action.unwrap_or(0) == 0;
        }
        Ok(())
    }

    /// Runs a request that an earlier filter answered: Envoy creates its context for the access log and deletes it
    /// again.
    pub fn bypassed_request(&mut self, root: Root, connection: Connection) -> Result<()> {
        let stream = self.open(root, connection, Request::default(), StreamKind::Http)?;
        self.end(stream).map(|_| ())
    }

    /// Runs many requests, of which number n comes over `connection(n)`, without recording their host calls. Returns
    /// the number of requests that continue.
    pub fn soak(
        &mut self,
        root: Root,
        requests: u64,
        request: &Request,
        connection: impl Fn(u64) -> Connection,
    ) -> Result<u64> {
        self.store.data_mut().unrecorded = true;
        let headers =
            self.instance.get_typed_func::<(u32, u32, u32), u32>(&mut self.store, "proxy_on_request_headers")?;
        let count = u32::try_from(request.0.len())?;
        let mut continued = 0;
        for number in 0..requests {
            let stream = self.open(root, connection(number), request.clone(), StreamKind::Http)?;
            let action = headers.call(&mut self.store, (stream, count, 1))?;
            continued += u64::from(action == 0);
            self.end(stream)?;
        }
        self.store.data_mut().unrecorded = false;
        Ok(continued)
    }

    /// Runs one connection in a network filter: opens it, passes its first bytes unless the filter closed it, and ends
    /// it.
    pub fn connection(&mut self, root: Root, connection: Connection, first: Speaker) -> Result<ConnectionOutcome> {
        self.exchange(root, connection, &[first]).map(|(outcome, _)| outcome)
    }

    /// Runs one connection in a network filter on which these sides speak in turn. Returns for each turn whether the
    /// filter forwarded the bytes; a turn on a closed connection is not forwarded to the filter and counts as false.
    pub fn exchange(
        &mut self,
        root: Root,
        connection: Connection,
        turns: &[Speaker],
    ) -> Result<(ConnectionOutcome, Vec<bool>)> {
        let stream = self.open(root, connection, Request::default(), StreamKind::Tcp { closed: false })?;
        // Envoy calls onNewConnection before the TLS handshake.
        self.establish(stream, false);
        let paused = self.call_if_exported_for::<_, u32>("proxy_on_new_connection", stream)?;
        let continues = paused.unwrap_or(0) == 0;
        let closed = |vm: &Self| {
            vm.store.data().streams.get(&stream).is_some_and(|stream| stream.kind == StreamKind::Tcp { closed: true })
        };
        let mut forwarded = Vec::with_capacity(turns.len());
        for turn in turns {
            if closed(self) {
                forwarded.push(false);
                continue;
            }
            // The client's data follows its handshake; a server may speak before that is complete.
            let (callback, established) = match *turn {
                Speaker::Client | Speaker::SilentClient => ("proxy_on_downstream_data", true),
                Speaker::Server { established } => ("proxy_on_upstream_data", established),
            };
            let (size, ends) = if *turn == Speaker::SilentClient { (0_u32, 1_u32) } else { (1, 0) };
            self.establish(stream, established);
            let paused = self.call_if_exported_for::<_, u32>(callback, (stream, size, ends))?;
            forwarded.push(paused.unwrap_or(0) == 0);
        }
        let host_calls = std::mem::take(&mut self.store.data_mut().host_calls);
        let closed = closed(self);
        let ended = self.end(stream)?;
        let data_forwarded = forwarded.first() == Some(&true);
        let outcome = ConnectionOutcome {
            continues,
            closed,
            data_forwarded,
            filter_state: to_strings(ended.filter_state),
            host_calls,
        };
        Ok((outcome, forwarded))
    }

    fn establish(&mut self, stream: u32, established: bool) {
        if let Some(stream) = self.store.data_mut().streams.get_mut(&stream) {
            stream.established = established;
        }
    }

    /// Creates the context of a stream.
    fn open(&mut self, root: Root, connection: Connection, request: Request, kind: StreamKind) -> Result<u32> {
        let stream = self.new_context();
        let state = self.store.data_mut();
        let fresh = Stream {
            connection,
            request,
            headers_released: false,
            response_headers_released: false,
            body: None,
            filter_state: BTreeMap::new(),
            response: None,
            response_headers: None,
            kind,
            established: true,
        };
        state.streams.insert(stream, fresh);
        state.context = stream;
        state.host_calls.clear();
        self.call_if_exported("proxy_on_context_create", (stream, root.0))?;
        Ok(stream)
    }

    /// Deletes the context of a stream.
    fn end(&mut self, stream: u32) -> Result<Stream> {
        let kind = self.store.data().streams.get(&stream).map(|stream| stream.kind);
        if let Some(StreamKind::Tcp { closed }) = kind {
            let peer = if closed { PEER_LOCAL } else { PEER_REMOTE };
            self.call_if_exported("proxy_on_downstream_connection_close", (stream, peer))?;
        }
        self.call_if_exported("proxy_on_log", stream)?;
        self.call_if_exported_for::<_, u32>("proxy_on_done", stream)?;
        self.call_if_exported("proxy_on_delete", stream)?;
        let Some(ended) = self.store.data_mut().streams.remove(&stream) else { bail!("no stream {stream}") };
        Ok(ended)
    }

    /// Fires the timer of a root context.
    pub fn tick(&mut self, root: Root) -> Result<()> {
        self.store.data_mut().context = root.0;
        self.call_if_exported("proxy_on_tick", root.0)
    }

    /// Updates a configuration as Envoy does: configures the new one before it deletes the old one. Returns the root
    /// context of the new one.
    pub fn update(&mut self, root: Root, configuration: &[u8]) -> Result<Result<Root, Refused>> {
        let next = match self.configure(configuration)? {
            Ok(next) => next,
            refused => return Ok(refused),
        };
        self.delete(root)?;
        self.tick(next)?;
        Ok(Ok(next))
    }

    /// Deletes a root context, as an update of its configuration does.
    pub fn delete(&mut self, root: Root) -> Result<()> {
        self.store.data_mut().context = root.0;
        self.call_if_exported_for::<_, u32>("proxy_on_done", root.0)?;
        self.call_if_exported("proxy_on_delete", root.0)?;
        self.store.data_mut().roots.remove(&root.0);
        Ok(())
    }

    /// Makes host calls fail from now on; `None` ends that.
    pub fn inject_failure(&mut self, failure: Option<InjectedFailure>) {
        self.store.data_mut().injected_failure = failure;
    }

    /// Makes host calls return these bytes from now on; `None` ends that.
    pub fn inject_answer(&mut self, answer: Option<InjectedAnswer>) {
        self.store.data_mut().injected_answer = answer;
    }

    /// Stops recording host calls, for a soak test: [`ConnectionOutcome::host_calls`] and
    /// [`RequestOutcome::host_calls`] stay empty, and no call fails.
    pub fn stop_recording(&mut self) {
        self.store.data_mut().unrecorded = true;
    }

    /// Stops the clock at this time since the Unix epoch.
    pub fn stop_clock(&mut self, at: Duration) {
        self.store.data_mut().time = Some(at);
    }

    /// Returns the counters that are not zero.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        self.metrics(MetricKind::Counter).filter(|(_, value)| *value > 0).collect()
    }

    /// Returns the gauges.
    pub fn gauges(&self) -> BTreeMap<String, u64> {
        self.metrics(MetricKind::Gauge).collect()
    }

    fn metrics(&self, kind: MetricKind) -> impl Iterator<Item = (String, u64)> {
        let metrics = self.store.data().metrics.iter().filter(move |metric| metric.kind == kind);
        metrics.map(|metric| (metric.name.clone(), metric.value))
    }

    /// Returns the names of all defined counters.
    pub fn defined_counters(&self) -> Vec<String> {
        self.metrics(MetricKind::Counter).map(|(name, _)| name).collect()
    }

    /// Returns the attributes that the module has asked for, as in `connection.mtls`.
    pub fn attributes(&self) -> &BTreeSet<String> {
        &self.store.data().attributes
    }

    /// Returns the period of the timer in milliseconds; 0 means never.
    pub fn tick_period(&self) -> u32 {
        self.store.data().tick_period
    }

    /// Returns the lines logged so far.
    pub fn log(&self) -> &[LogLine] {
        &self.store.data().log
    }

    /// Returns the number of instructions executed so far; 0 unless the module is metered.
    pub fn instructions(&self) -> u64 {
        u64::MAX - self.store.get_fuel().unwrap_or(u64::MAX)
    }

    /// Makes the linear memory as large as it would be if it held so many MiB more.
    pub fn grow_memory(&mut self, mib: u64) -> Result<()> {
        let Some(memory) = self.instance.get_memory(&mut self.store, "memory") else { bail!("no memory") };
        memory.grow(&mut self.store, mib << 4).map(drop).map_err(Into::into)
    }

    /// Returns the size of the linear memory in bytes.
    pub fn memory(&mut self) -> usize {
        self.instance.get_memory(&mut self.store, "memory").map_or(0, |memory| memory.data_size(&self.store))
    }

    fn new_context(&mut self) -> u32 {
        self.next_context += 1;
        self.next_context
    }

    fn call<P: WasmParams, R: WasmResults>(&mut self, name: &str, parameters: P) -> Result<R> {
        let function = self.instance.get_typed_func::<P, R>(&mut self.store, name)?;
        function
            .call(&mut self.store, parameters)
            .map_err(|error| anyhow::Error::from(error).context(format!("in {name}")))
    }

    fn call_if_exported<P: WasmParams>(&mut self, name: &str, parameters: P) -> Result<()> {
        self.call_if_exported_for::<P, ()>(name, parameters).map(|_| ())
    }

    fn call_if_exported_for<P: WasmParams, R: WasmResults>(&mut self, name: &str, parameters: P) -> Result<Option<R>> {
        match self.instance.get_func(&mut self.store, name) {
            Some(_) => self.call(name, parameters).map(Some),
            None => Ok(None),
        }
    }
}

fn to_strings(bytes: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, String> {
    bytes.into_iter().map(|(key, value)| (key, String::from_utf8_lossy(&value).into_owned())).collect()
}
