//! The end of connections in each version of Envoy, however they end: Envoy tells the filter of each, so that
//! `maxConnectionsPerClient` counts it no longer.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use host_tests::envoy_version::{EnvoyVersion, EnvoyVersions};
use serde_json::{Value, json};
use socket2::SockRef;
use tempfile::TempDir;
use testbed::{Configuration, Envoy, Options, ReservedPort, client_hello, response_head, wait};

const LIMIT: Duration = Duration::from_secs(30);

const HOST: &str = "api.example";
const CONNECT: &str = "CONNECT api.example:443 HTTP/1.1\r\nhost: api.example:443\r\n\r\n";

/// The last byte of what makes the service close the connection, or reset it. What a client sends otherwise comes back.
const CLOSE: u8 = 0xfe;
const RESET: u8 = 0xff;

struct Fixture {
    envoy: Envoy,
    _folder: TempDir,
    _closed_port: ReservedPort,
}

/// Starts a service that echoes, and returns its address.
fn start_service() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || listener.incoming().flatten().for_each(|socket| drop(thread::spawn(move || serve(socket)))));
    Ok(address)
}

fn serve(mut socket: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = socket.read(&mut buffer) {
        let bytes = buffer.get(..length).unwrap_or_default();
        match bytes.last() {
            Some(&CLOSE) => return,
            Some(&RESET) => return drop(reset(socket)),
            // A client may be gone.
            _ => drop(socket.write_all(bytes)),
        }
    }
}

/// Closes a connection by a reset.
fn reset(socket: TcpStream) -> Result<()> {
    SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
    close(socket)
}

fn filter(kind: &str) -> Value {
    let configuration = json!({
        "maxConnectionsPerClient": 1,
        "directRemoteAddress": "connection",
        "tunnels": "trust",
        "rules": [{"name": "api", "hosts": [HOST]}]
    });
    json!({"name": "filter", "typed_config": {
        "@type": format!("type.googleapis.com/envoy.extensions.filters.{kind}.wasm.v3.Wasm"),
        "config": testbed::wasm_plugin(
            "egress_allowlist", "egress_allowlist", &testbed::filter_path("egress-allowlist"),
            &testbed::string_value(&configuration.to_string())
        )
    }})
}

fn listener(name: &str, filters: &Value) -> Value {
    let inspector = "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector";
    json!({
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "listener_filters": [{"name": "tls_inspector", "typed_config": {"@type": inspector}}],
        "filter_chains": [{"filters": filters}]
    })
}

/// A listener for TLS that passes through, which is closed after `idle_timeout`.
fn passthrough(name: &str, cluster: &str, idle_timeout: &str) -> Value {
    let proxy = json!({"name": "proxy", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": name, "cluster": cluster, "idle_timeout": idle_timeout
    }});
    let port = json!({"name": "port", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.set_filter_state.v3.Config",
        "on_new_connection": [{
            "object_key": "envoy.upstream.dynamic_port",
            "format_string": {"text_format_source": {"inline_string": "443"}}
        }]
    }});
    listener(name, &json!([port, filter("network"), proxy]))
}

/// A listener for CONNECT and plain requests.
fn proxy(name: &str, cluster: &str, idle_timeout: &str) -> Value {
    let tunnel = json!({"cluster": cluster, "idle_timeout": idle_timeout,
        "upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}]});
    let router = json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"});
    listener(
        name,
        &json!([{"name": "http", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": name,
            "upgrade_configs": [{"upgrade_type": "CONNECT"}],
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                {"match": {"connect_matcher": {}}, "route": tunnel},
                {"match": {"prefix": "/direct"}, "direct_response": {"status": 200}},
                {"match": {"prefix": "/"}, "route": {"cluster": cluster, "timeout": idle_timeout}}
            ]}]},
            "http_filters": [filter("http"), {"name": "router", "typed_config": router}]
        }}]),
    )
}

impl Fixture {
    fn start(version: EnvoyVersion) -> Result<Self> {
        testbed::build_filters()?;
        let folder = tempfile::tempdir()?;
        let closed_port = ReservedPort::new()?;
        let closed = SocketAddr::from((Ipv4Addr::LOCALHOST, closed_port.number()));
        let cluster = |name: &str, address: SocketAddr| {
            let address = json!({"socket_address": {"address": address.ip(), "port_value": address.port()}});
            json!({"name": name, "type": "STATIC", "load_assignment": {"cluster_name": name, "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": address}}]}
            ]}})
        };
        let bootstrap = json!({"static_resources": {
            "listeners": [
                passthrough("tls", "service", "600s"),
                passthrough("idle tls", "service", "0.2s"),
                passthrough("closed tls", "closed", "600s"),
                proxy("http", "service", "600s"),
                proxy("idle http", "service", "0.2s"),
                proxy("closed http", "closed", "600s")
            ],
            "clusters": [cluster("service", start_service()?), cluster("closed", closed)]
        }});
        let binary = testbed::envoy_binary_of(&version.to_string())?;
        let options = Options { binary, folder: folder.path().to_owned(), workers: 1, detached: false };
        let envoy = Envoy::start(&Configuration::new(bootstrap), &options)?;
        Ok(Self { envoy, _folder: folder, _closed_port: closed_port })
    }

    fn connect(&self, listener: &str) -> Result<TcpStream> {
        let socket = TcpStream::connect(self.envoy.listener(listener)?)?;
        socket.set_read_timeout(Some(LIMIT))?;
        Ok(socket)
    }

    /// Opens a connection that passes through, if the filter lets it.
    fn pass(&self, listener: &str) -> Result<Option<TcpStream>> {
        let mut socket = self.connect(listener)?;
        let hello = client_hello(Some(HOST.as_bytes()))?;
        let mut echo = vec![0; hello.len()];
        socket.write_all(&hello)?;
        Ok(socket.read_exact(&mut echo).is_ok().then_some(socket))
    }

    /// Opens a tunnel, if the filter lets it.
    fn tunnel(&self, listener: &str) -> Result<Option<TcpStream>> {
        let mut socket = self.connect(listener)?;
        Ok((response_head(&mut socket, CONNECT.as_bytes())? == 200).then_some(socket))
    }

    /// Sends a request, and returns the connection if the filter lets it through; 503 and 504 are of the service.
    fn request(&self, listener: &str, path: &str) -> Result<Option<TcpStream>> {
        let mut socket = self.connect(listener)?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
        Ok((response_head(&mut socket, request.as_bytes())? != 429).then_some(socket))
    }
}

fn close(socket: TcpStream) -> Result<()> {
    drop(socket);
    Ok(())
}

fn send(mut socket: TcpStream, byte: u8) -> Result<()> {
    socket.write_all(&[byte])?;
    wait_for_close(socket)
}

/// Waits until Envoy closes the connection.
fn wait_for_close(mut socket: TcpStream) -> Result<()> {
    // A reset is an end too; a timeout is none.
    let ended = socket.read_to_end(&mut Vec::new());
    ensure!(ended.is_ok() || ended.is_err_and(|error| error.raw_os_error() == Some(104)), "it stays open");
    Ok(())
}

type Open = fn(&Fixture) -> Result<Option<TcpStream>>;
type End = fn(TcpStream) -> Result<()>;

/// How connections are opened, and how they end.
const ENDS: [(&str, Open, End); 14] = [
    ("TLS, the client closes", |on| on.pass("tls"), close),
    ("TLS, the client resets", |on| on.pass("tls"), reset),
    ("TLS, the service closes", |on| on.pass("tls"), |socket| send(socket, CLOSE)),
    ("TLS, the service resets", |on| on.pass("tls"), |socket| send(socket, RESET)),
    ("TLS, nobody speaks", |on| on.pass("idle tls"), wait_for_close),
    ("a tunnel, the client closes", |on| on.tunnel("http"), close),
    ("a tunnel, the client resets", |on| on.tunnel("http"), reset),
    ("a tunnel, the service closes", |on| on.tunnel("http"), |socket| send(socket, CLOSE)),
    ("a tunnel, the service resets", |on| on.tunnel("http"), |socket| send(socket, RESET)),
    ("a tunnel, nobody speaks", |on| on.tunnel("idle http"), wait_for_close),
    ("a request, answered by Envoy", |on| on.request("http", "/direct"), close),
    ("a request, the service does not answer", |on| on.request("idle http", "/"), close),
    ("a request, nobody listens", |on| on.request("closed http", "/"), close),
    ("a request, the client resets", |on| on.request("http", "/direct"), reset),
];

fn check(version: EnvoyVersion) -> Result<()> {
    let fixture = Fixture::start(version)?;
    for (name, open, end) in ENDS {
        for _ in 0..3 {
            // The client may have one connection open: another is let in only when the one before it has ended.
            let socket = wait::until("a connection", LIMIT, || open(&fixture)).context(name)?;
            end(socket).context(name)?;
        }
    }
    // While one is open, no other is let in.
    let open = wait::until("a connection", LIMIT, || fixture.pass("tls"))?;
    ensure!(fixture.pass("tls")?.is_none(), "a second connection");
    drop(open);
    let open = wait::until("a tunnel", LIMIT, || fixture.tunnel("http"))?;
    ensure!(fixture.tunnel("http")?.is_none() && fixture.request("http", "/direct")?.is_none(), "a second tunnel");
    drop(open);

    // A service that cannot be reached shows in the counters alone.
    let allowed = || fixture.envoy.stat("wasmcustom.sallyport.egress_allowlist.allowed");
    wait::until("the counters", LIMIT, || Ok((allowed()? >= 3 * ENDS.len() as u64 + 2).then_some(())))?;
    let before = allowed()?;
    wait::until("connections to nobody", LIMIT, || {
        ensure!(fixture.pass("closed tls")?.is_none(), "somebody listens");
        Ok((allowed()? >= before + 3).then_some(()))
    })
}

#[test]
fn the_filter_is_told_of_every_end_in_every_version() -> Result<()> {
    for version in EnvoyVersions::load()?.versions {
        check(version).with_context(|| format!("Envoy {version}"))?;
    }
    Ok(())
}
