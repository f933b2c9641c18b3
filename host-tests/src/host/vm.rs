//! One instance of a module, and the callbacks that a proxy makes into it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use wasmtime::{Config, Engine, Instance, Linker, Store, WasmParams, WasmResults};

use super::imports;
use super::state::{Crossing, Fault, LogLine, State};
use super::stream::{Connection, Kind, LocalResponse, Request, Stream};

/// A compiled module; instances are made of it.
#[derive(Clone)]
pub struct Module {
    module: wasmtime::Module,
    linker: Linker<State>,
}

impl Module {
    /// Compiles a `.wasm` file.
    pub fn load(path: &Path) -> Result<Self> {
        Self::load_with(path, &Config::new())
    }

    /// As [`load`](Self::load), and counts the instructions that a request takes: the same on every machine, however
    /// busy it is.
    pub fn load_metered(path: &Path) -> Result<Self> {
        Self::load_with(path, Config::new().consume_fuel(true))
    }

    fn load_with(path: &Path, configuration: &Config) -> Result<Self> {
        let engine = Engine::new(configuration)?;
        let module = wasmtime::Module::from_file(&engine, path)?;
        let mut linker = Linker::new(&engine);
        imports::define(&mut linker, &module)?;
        Ok(Self { module, linker })
    }
}

/// `proxy_peer_type_t`: who has closed a connection.
const CLOSED_HERE: u32 = 1;
const CLOSED_THERE: u32 = 2;

/// A root context with its plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Root(u32);

/// A configuration that the plugin did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What it has logged about that.
    pub log: Vec<LogLine>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused:")?;
        self.log.iter().try_for_each(|line| write!(f, "\n{}", line.message))
    }
}

impl std::error::Error for Refused {}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it goes on to the next filter.
    pub goes_on: bool,
    /// What the filter has answered, if it has.
    pub response: Option<LocalResponse>,
    /// The headers of the answer, the filter's own or the upstream's, after the filter has seen them.
    pub response_headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The filter state that it has set.
    pub filter_state: BTreeMap<String, String>,
    /// The host calls that it has made, in their order.
    pub crossings: Vec<Crossing>,
    /// How many instructions the module has run for it, if it is metered.
    pub instructions: u64,
}

/// What became of a connection in a network filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// Whether the filter let the connection go on to the next filter when it came to be.
    pub goes_on: bool,
    /// Whether the filter has closed it.
    pub closed: bool,
    /// Whether the first bytes go on to the other side: it is not closed, and the filter lets them through.
    pub bytes_go_on: bool,
    /// The filter state that it has set.
    pub filter_state: BTreeMap<String, String>,
    /// The host calls that it has made, in their order.
    pub crossings: Vec<Crossing>,
}

/// Which side of a connection speaks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// The client, once its TLS is established.
    Client,
    /// The service.
    Server {
        /// Whether the client's TLS is established by then.
        established: bool,
    },
}

/// One instance with its own memory and its own host state, as one Envoy worker has it.
pub struct Vm {
    store: Store<State>,
    instance: Instance,
    next_context: u32,
}

impl Vm {
    /// Makes an instance and initializes it.
    pub fn start(module: &Module) -> Result<Self> {
        let mut store = Store::new(module.module.engine(), State::default());
        // A store that is not metered has no fuel to set.
        let _unmetered = store.set_fuel(u64::MAX);
        let instance = module.linker.instantiate(&mut store, &module.module)?;
        let mut vm = Self { store, instance, next_context: 0 };
        vm.call_if_exported("_initialize", ())?;
        Ok(vm)
    }

    /// Makes an instance with one plugin. Fails where that does not take its configuration.
    pub fn configured(module: &Module, configuration: &str) -> Result<(Self, Root)> {
        let mut vm = Self::start(module)?;
        let root = vm.configure(configuration.as_bytes())??;
        Ok((vm, root))
    }

    /// Creates a root context and configures it.
    pub fn configure(&mut self, configuration: &[u8]) -> Result<Result<Root, Refused>> {
        let root = self.new_context();
        let lines = self.store.data().log.len();
        let state = self.store.data_mut();
        state.configuration = configuration.to_vec();
        state.current = root;
        state.roots.insert(root);
        state.configuring = true;
        self.call_if_exported("proxy_on_context_create", (root, 0_u32))?;
        self.call_if_exported_for::<_, u32>("proxy_on_vm_start", (root, 0_u32))?;
        let size = u32::try_from(configuration.len())?;
        let taken = self.call::<_, u32>("proxy_on_configure", (root, size))?;
        self.store.data_mut().configuring = false;
        if taken == 1 {
            return Ok(Ok(Root(root)));
        }
        let log = self.store.data().log.get(lines..).unwrap_or_default().to_vec();
        Ok(Err(Refused { log }))
    }

    /// Creates a root context that is never configured.
    pub fn unconfigured(&mut self) -> Result<Root> {
        let root = self.new_context();
        let state = self.store.data_mut();
        state.current = root;
        state.roots.insert(root);
        self.call_if_exported("proxy_on_context_create", (root, 0_u32))?;
        Ok(Root(root))
    }

    /// Plays one request: context, headers, the headers of the answer, and the end of the context.
    pub fn request(&mut self, root: Root, connection: Connection, request: Request) -> Result<Outcome> {
        let count = u32::try_from(request.0.len())?;
        let fuel = self.store.get_fuel().unwrap_or_default();
        let stream = self.open(root, connection, request, Kind::Http)?;
        let action = self.call::<_, u32>("proxy_on_request_headers", (stream, count, 1_u32))?;
        self.answer(stream, action == 0)?;
        let crossings = std::mem::take(&mut self.store.data_mut().crossings);
        let ended = self.end(stream)?;
        Ok(Outcome {
            goes_on: action == 0 && ended.response.is_none(),
            response: ended.response,
            response_headers: ended.response_headers.unwrap_or_default(),
            filter_state: texts(ended.filter_state),
            crossings,
            instructions: fuel - self.store.get_fuel().unwrap_or_default(),
        })
    }

    /// Shows a filter the headers of the answer: its own, or the upstream's where the request goes on. Nobody answers a
    /// request that was paused.
    fn answer(&mut self, stream: u32, goes_on: bool) -> Result<()> {
        let Some(stream_of_request) = self.store.data_mut().streams.get_mut(&stream) else { return Ok(()) };
        let headers = match &stream_of_request.response {
            Some(response) => response.all_headers(),
            None if goes_on => vec![(b":status".to_vec(), b"200".to_vec())],
            None => return Ok(()),
        };
        let count = u32::try_from(headers.len())?;
        stream_of_request.response_headers = Some(headers);
        self.call_if_exported_for::<_, u32>("proxy_on_response_headers", (stream, count, 1_u32)).map(|_| ())
    }

    /// Plays the end of a request that was answered before it reached the filter: Envoy makes its context for the access
    /// log, and says no more of it.
    pub fn unseen_request(&mut self, root: Root, connection: Connection) -> Result<()> {
        let stream = self.open(root, connection, Request::default(), Kind::Http)?;
        self.end(stream).map(|_| ())
    }

    /// Plays many requests, each by a connection that `connection` makes of its number, and looks at nothing but whether
    /// they go on; host calls do not fail meanwhile. Returns how many did.
    pub fn soak(
        &mut self,
        root: Root,
        requests: u64,
        request: &Request,
        connection: impl Fn(u64) -> Connection,
    ) -> Result<u64> {
        self.store.data_mut().quiet = true;
        let headers =
            self.instance.get_typed_func::<(u32, u32, u32), u32>(&mut self.store, "proxy_on_request_headers")?;
        let count = u32::try_from(request.0.len())?;
        let mut gone_on = 0;
        for number in 0..requests {
            let stream = self.open(root, connection(number), request.clone(), Kind::Http)?;
            let action = headers.call(&mut self.store, (stream, count, 1))?;
            gone_on += u64::from(action == 0);
            self.end(stream)?;
        }
        self.store.data_mut().quiet = false;
        Ok(gone_on)
    }

    /// Plays one connection of a network filter: it comes to be, its first bytes come unless it was closed, and it ends.
    pub fn connection(&mut self, root: Root, connection: Connection, first: First) -> Result<Passage> {
        self.converse(root, connection, &[first]).map(|(passage, _)| passage)
    }

    /// Plays one connection of a network filter on which these speak in their turns, if anybody does; says of each turn
    /// whether its bytes go on to the other side. Nobody speaks on a connection that is closed.
    pub fn converse(&mut self, root: Root, connection: Connection, turns: &[First]) -> Result<(Passage, Vec<bool>)> {
        let stream = self.open(root, connection, Request::default(), Kind::Connection { closed: false })?;
        // Envoy makes the network filters aware of a connection before the handshake.
        self.establish(stream, false);
        let paused = self.call_if_exported_for::<_, u32>("proxy_on_new_connection", stream)?;
        let goes_on = paused.unwrap_or(0) == 0;
        let closed = |vm: &Self| {
            vm.store.data().streams.get(&stream).is_some_and(|stream| stream.kind == Kind::Connection { closed: true })
        };
        let mut passed = Vec::with_capacity(turns.len());
        for turn in turns {
            if closed(self) {
                passed.push(false);
                continue;
            }
            // Envoy asks the filters from the first one on, and those that did not stop it before are made aware now.
            let (callback, established) = match *turn {
                First::Client => ("proxy_on_downstream_data", true),
                First::Server { established } => ("proxy_on_upstream_data", established),
            };
            self.establish(stream, established);
            let paused = self.call_if_exported_for::<_, u32>(callback, (stream, 1_u32, 0_u32))?;
            passed.push(paused.unwrap_or(0) == 0);
        }
        let crossings = std::mem::take(&mut self.store.data_mut().crossings);
        let closed = closed(self);
        let ended = self.end(stream)?;
        let bytes_go_on = passed.first() == Some(&true);
        let passage = Passage { goes_on, closed, bytes_go_on, filter_state: texts(ended.filter_state), crossings };
        Ok((passage, passed))
    }

    fn establish(&mut self, stream: u32, established: bool) {
        if let Some(stream) = self.store.data_mut().streams.get_mut(&stream) {
            stream.established = established;
        }
    }

    /// Makes the context of a stream.
    fn open(&mut self, root: Root, connection: Connection, request: Request, kind: Kind) -> Result<u32> {
        let stream = self.new_context();
        let state = self.store.data_mut();
        let fresh = Stream {
            connection,
            request,
            filter_state: BTreeMap::new(),
            response: None,
            response_headers: None,
            kind,
            established: true,
        };
        state.streams.insert(stream, fresh);
        state.current = stream;
        state.crossings.clear();
        self.call_if_exported("proxy_on_context_create", (stream, root.0))?;
        Ok(stream)
    }

    /// Ends the context of a stream.
    fn end(&mut self, stream: u32) -> Result<Stream> {
        let kind = self.store.data().streams.get(&stream).map(|stream| stream.kind);
        if let Some(Kind::Connection { closed }) = kind {
            let by = if closed { CLOSED_HERE } else { CLOSED_THERE };
            self.call_if_exported("proxy_on_downstream_connection_close", (stream, by))?;
        }
        self.call_if_exported("proxy_on_log", stream)?;
        self.call_if_exported_for::<_, u32>("proxy_on_done", stream)?;
        self.call_if_exported("proxy_on_delete", stream)?;
        let Some(ended) = self.store.data_mut().streams.remove(&stream) else { bail!("the stream {stream} is gone") };
        Ok(ended)
    }

    /// Lets the timer of a root context fire.
    pub fn tick(&mut self, root: Root) -> Result<()> {
        self.store.data_mut().current = root.0;
        self.call_if_exported("proxy_on_tick", root.0)
    }

    /// Updates a configuration as Envoy does: the new one is there before the old one goes. The new one's root context.
    pub fn update(&mut self, root: Root, configuration: &[u8]) -> Result<Result<Root, Refused>> {
        let next = match self.configure(configuration)? {
            Ok(next) => next,
            refused => return Ok(refused),
        };
        self.delete(root)?;
        self.tick(next)?;
        Ok(Ok(next))
    }

    /// Ends a root context, as an update of its configuration does.
    pub fn delete(&mut self, root: Root) -> Result<()> {
        self.store.data_mut().current = root.0;
        self.call_if_exported_for::<_, u32>("proxy_on_done", root.0)?;
        self.call_if_exported("proxy_on_delete", root.0)?;
        self.store.data_mut().roots.remove(&root.0);
        Ok(())
    }

    /// Makes host calls fail from now on, or no more.
    pub fn fail(&mut self, fault: Option<Fault>) {
        self.store.data_mut().fault = fault;
    }

    /// Writes host calls down no more, for a soak: [`Passage::crossings`] and [`Outcome::crossings`] stay empty, and no
    /// call fails.
    pub fn hush(&mut self) {
        self.store.data_mut().quiet = true;
    }

    /// Stops the clock at a time since the Unix epoch.
    pub fn stop_clock(&mut self, at: Duration) {
        self.store.data_mut().time = Some(at);
    }

    /// The counters that are not zero.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        self.store.data().metrics.iter().filter(|(_, value)| *value > 0).cloned().collect()
    }

    /// The names of all counters that were defined.
    pub fn defined_counters(&self) -> Vec<String> {
        self.store.data().metrics.iter().map(|(name, _)| name.clone()).collect()
    }

    /// How often the timer is to fire, in milliseconds; 0 is never.
    pub fn tick_period(&self) -> u32 {
        self.store.data().tick_period
    }

    /// What was logged so far.
    pub fn log(&self) -> &[LogLine] {
        &self.store.data().log
    }

    /// How many instructions the module has run so far, if it is metered.
    pub fn instructions(&self) -> u64 {
        u64::MAX - self.store.get_fuel().unwrap_or(u64::MAX)
    }

    /// The size of the linear memory, in bytes.
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

fn texts(bytes: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, String> {
    bytes.into_iter().map(|(key, value)| (key, String::from_utf8_lossy(&value).into_owned())).collect()
}
