//! A filter whose VM traps, in a real Envoy: what falls, what stays, and how it comes back.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{Client, Configuration, Envoy, Options, Stream, round_trip, wait};

const LIMIT: Duration = Duration::from_secs(30);

/// The base interval between two reloads of a VM, which is Envoy's default.
const BACKOFF: Duration = Duration::from_secs(1);

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n";
const SLOW: &[u8] = b"GET /slow HTTP/1.1\r\nhost: shop\r\n\r\n";
const TRAP: &[u8] = b"GET / HTTP/1.1\r\nhost: shop\r\nx-trap: 1\r\n\r\n";

/// A plugin with the module `trap-on-demand`, and further keys of the `PluginConfig`.
fn trapping(name: &str, vm_id: &str, keys: &Value) -> Value {
    plugin(name, vm_id, keys, &testbed::guest_path("trap-on-demand"), "")
}

fn plugin(name: &str, vm_id: &str, keys: &Value, module: &Path, configuration: &str) -> Value {
    let mut plugin = testbed::wasm_plugin(name, vm_id, module, &testbed::string_value(configuration));
    if let (Value::Object(plugin), Value::Object(keys)) = (&mut plugin, keys) {
        plugin.extend(keys.clone());
    }
    plugin
}

fn http(name: &str, plugin: &Value) -> Value {
    let filter = json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm", "config": plugin});
    let router = json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"});
    listener(
        name,
        &json!([{"name": "http", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": name,
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                {"match": {"prefix": "/slow"}, "route": {"cluster": "slow"}},
                {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
            ]}]},
            "http_filters": [{"name": "filter", "typed_config": filter}, {"name": "router", "typed_config": router}]
        }}]),
    )
}

fn tcp(name: &str, plugin: &Value) -> Value {
    let filter =
        json!({"@type": "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm", "config": plugin});
    let echo = json!({"@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"});
    listener(name, &json!([{"name": "filter", "typed_config": filter}, {"name": "echo", "typed_config": echo}]))
}

fn listener(name: &str, filters: &Value) -> Value {
    json!({
        "name": name,
        "stat_prefix": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": filters}]
    })
}

struct Fixture {
    envoy: Envoy,
    slow: TcpListener,
    _folder: TempDir,
}

impl Fixture {
    fn start(listeners: &[Value], workers: usize) -> Result<Self> {
        testbed::build_guests()?;
        let folder = tempfile::tempdir()?;
        let slow = TcpListener::bind(("127.0.0.1", 0))?;
        let address = json!({"address": "127.0.0.1", "port_value": slow.local_addr()?.port()});
        let bootstrap = json!({"static_resources": {"listeners": listeners, "clusters": [{
            "name": "slow",
            "type": "STATIC",
            "load_assignment": {"cluster_name": "slow", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": {"socket_address": address}}}
            ]}]}
        }]}});
        let options =
            Options { binary: testbed::envoy_binary()?, folder: folder.path().to_owned(), workers, detached: false };
        Ok(Self { envoy: Envoy::start(&Configuration::new(bootstrap), &options)?, slow, _folder: folder })
    }

    fn client(&self, listener: &str) -> Result<Client> {
        Ok(Client::plaintext(self.envoy.listener(listener)?))
    }

    fn status(&self, listener: &str, request: &[u8]) -> Result<u16> {
        Ok(self.client(listener)?.send(request)?.status)
    }

    fn reloads(&self, name: &str) -> Result<[u64; 3]> {
        let stat = |what: &str| self.envoy.stat(&format!("wasm.{name}.vm_reload_{what}"));
        Ok([stat("success")?, stat("backoff")?, stat("failure")?])
    }
}

fn is_echoed(stream: &mut dyn Stream) -> bool {
    let mut answer = [0; 4];
    stream.write_all(b"ping").and_then(|()| stream.flush()).is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && &answer == b"ping"
}

/// Sends a request over a connection that stays open. Returns the status.
fn ask(stream: &mut dyn Stream, request: &[u8]) -> Result<u16> {
    Ok(round_trip(stream, request)?.status)
}

/// Opens a connection through a network filter that lets it through.
fn echoing(client: &Client) -> Result<Box<dyn Stream>> {
    let mut stream = client.connect()?;
    ensure!(is_echoed(&mut *stream), "the service does not answer");
    Ok(stream)
}

#[test]
fn a_trap_takes_with_it_what_is_open_and_lets_nothing_through() -> Result<()> {
    for keys in [json!({}), json!({"failure_policy": "FAIL_CLOSED"}), slow_reload()] {
        let listeners = [http("http", &trapping("http", "vm", &keys)), tcp("tcp", &trapping("tcp", "vm", &keys))];
        let fixture = Fixture::start(&listeners, 1)?;
        let (http, tcp) = (fixture.client("http")?, fixture.client("tcp")?);

        let mut kept_open = http.connect()?;
        ensure!(ask(&mut *kept_open, GET)? == 200, "before the trap");
        let mut allowed = echoing(&tcp)?;
        let mut undecided = tcp.connect()?;
        let mut waiting = http.connect()?;
        waiting.write_all(SLOW)?;
        let (mut service, _) = fixture.slow.accept()?;
        let mut request = [0; 4096];
        ensure!(service.read(&mut request)? > 0, "the service got no request");

        ensure!(http.send(TRAP)?.status == 503, "{keys}: the request that traps");
        service.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret")?;
        let answer = round_trip(&mut *waiting, b"")?;
        ensure!(
            answer.status == 503 && answer.body.is_empty(),
            "{keys}: a request that waits for its service: {answer:?}"
        );
        ensure!(ask(&mut *kept_open, GET)? == 503, "{keys}: a connection that is kept open");
        ensure!(http.send(GET)?.status == 503, "{keys}: a new connection");
        ensure!(!is_echoed(&mut *allowed), "{keys}: a connection that was let through");
        ensure!(!is_echoed(&mut *undecided), "{keys}: a connection that was not decided");
        ensure!(!tcp.is_echoed(b"ping")?, "{keys}: a new connection at layer 4");
    }
    Ok(())
}

#[test]
fn without_reload_a_vm_stays_down() -> Result<()> {
    for keys in [json!({}), json!({"failure_policy": "FAIL_CLOSED"})] {
        let listeners = [http("http", &trapping("http", "vm", &keys)), tcp("tcp", &trapping("tcp", "vm", &keys))];
        let fixture = Fixture::start(&listeners, 1)?;
        ensure!(fixture.client("http")?.send(TRAP)?.status == 503, "{keys}: the request that traps");
        // Three times as long as a reload would take.
        let trapped = Instant::now();
        while trapped.elapsed() < 3 * BACKOFF {
            ensure!(fixture.client("http")?.send(GET)?.status == 503, "{keys}: after {:?}", trapped.elapsed());
            ensure!(!fixture.client("tcp")?.is_echoed(b"ping")?, "{keys}: after {:?}", trapped.elapsed());
        }
        ensure!(fixture.reloads("http")? == [0, 0, 0] && fixture.reloads("tcp")? == [0, 0, 0], "{keys}: a reload");
    }
    Ok(())
}

#[test]
fn with_fail_open_everything_passes_a_vm_that_trapped() -> Result<()> {
    let keys = json!({"failure_policy": "FAIL_OPEN"});
    let listeners = [http("http", &trapping("http", "vm", &keys)), tcp("tcp", &trapping("tcp", "vm", &keys))];
    let fixture = Fixture::start(&listeners, 1)?;
    fixture.client("http")?.send(TRAP)?;
    // No filter is called, which would trap again.
    ensure!(fixture.client("http")?.send(TRAP)?.status == 200, "a request that would trap");
    ensure!(fixture.client("tcp")?.is_echoed(b"ping")?, "a connection");
    Ok(())
}

/// A plugin that is reloaded only long after a test has ended.
fn slow_reload() -> Value {
    reload("600s")
}

fn reload(base_interval: &str) -> Value {
    json!({"failure_policy": "FAIL_RELOAD", "reload_config": {"backoff": {"base_interval": base_interval}}})
}

#[test]
fn with_reload_a_vm_is_back_with_the_first_request_after_the_interval() -> Result<()> {
    for (keys, interval) in [(json!({"failure_policy": "FAIL_RELOAD"}), BACKOFF), (reload("3s"), 3 * BACKOFF)] {
        let fixture = Fixture::start(&[http("http", &trapping("http", "vm", &keys))], 1)?;
        let client = fixture.client("http")?;
        // Returns when the first request was sent that the new VM let through, and when it was answered.
        let recovers = || -> Result<(Instant, Instant)> {
            ensure!(client.send(TRAP)?.status == 503, "{keys}: the request that traps");
            wait::until("the VM to be back", LIMIT, || {
                let sent = Instant::now();
                Ok((client.send(GET)?.status == 200).then(|| (sent, Instant::now())))
            })
        };
        let ((first, _), (_, second)) = (recovers()?, recovers()?);
        let between = second - first;
        ensure!(between >= interval, "{keys}: {between:?} between two reloads");
        let [success, backoff, failure] = fixture.reloads("http")?;
        ensure!([success, failure] == [2, 0] && backoff > 0, "{keys}: {success}, {backoff}, {failure}");
    }
    Ok(())
}

#[test]
fn a_vm_that_has_run_for_longer_than_the_interval_is_back_at_once() -> Result<()> {
    let keys = json!({"failure_policy": "FAIL_RELOAD"});
    let fixture = Fixture::start(&[http("http", &trapping("http", "vm", &keys))], 1)?;
    let client = fixture.client("http")?;
    // Envoy draws each interval between the base interval and one and a half of it.
    let started = Instant::now();
    while started.elapsed() < 2 * BACKOFF {
        ensure!(client.send(GET)?.status == 200, "before the trap");
    }
    ensure!(client.send(TRAP)?.status == 503, "the request that traps");
    ensure!(client.send(GET)?.status == 200, "the next request");
    ensure!(fixture.reloads("http")? == [1, 0, 0], "{:?}", fixture.reloads("http")?);
    Ok(())
}

#[test]
fn connections_come_back_as_requests_do() -> Result<()> {
    let keys = json!({"failure_policy": "FAIL_RELOAD"});
    let trap = plugin("trap", "vm", &keys, &testbed::guest_path("trap-on-demand"), "first bytes");
    let fixture = Fixture::start(&[tcp("trap", &trap), tcp("tcp", &trapping("tcp", "vm", &keys))], 1)?;
    let mut allowed = echoing(&fixture.client("tcp")?)?;
    ensure!(!fixture.client("trap")?.is_echoed(b"ping")?, "the connection that traps");
    ensure!(!is_echoed(&mut *allowed), "a connection that was let through");
    wait::until("the VM to be back", LIMIT, || Ok(fixture.client("tcp")?.is_echoed(b"ping")?.then_some(())))?;
    ensure!(fixture.reloads("tcp")?.first() == Some(&1), "{:?}", fixture.reloads("tcp")?);
    Ok(())
}

#[test]
fn plugins_of_one_vm_fall_together_and_others_stay() -> Result<()> {
    testbed::build_filters()?;
    let keys = slow_reload();
    let policy = r#"{"defaultAction": "ALLOW", "resources": []}"#;
    let other_module = plugin("module", "shared", &keys, &testbed::filter_path("identity-authz"), policy);
    let listeners = [
        http("trapping", &trapping("trapping", "shared", &keys)),
        http("neighbour", &trapping("neighbour", "shared", &keys)),
        tcp("tcp", &trapping("tcp", "shared", &keys)),
        http("own", &trapping("own", "own", &keys)),
        http("module", &other_module),
    ];
    let fixture = Fixture::start(&listeners, 1)?;
    ensure!(fixture.status("trapping", TRAP)? == 503, "the request that traps");
    ensure!(fixture.status("neighbour", GET)? == 503, "another plugin of the same vm_id and module");
    ensure!(!fixture.client("tcp")?.is_echoed(b"ping")?, "a network filter of the same vm_id and module");
    ensure!(fixture.status("own", GET)? == 200, "the same module with another vm_id");
    ensure!(fixture.status("module", GET)? == 200, "another module with the same vm_id");
    Ok(())
}

#[test]
fn each_plugin_of_a_vm_comes_back_by_itself() -> Result<()> {
    let keys = json!({"failure_policy": "FAIL_RELOAD"});
    let listeners =
        [http("trapping", &trapping("trapping", "vm", &keys)), http("idle", &trapping("idle", "vm", &keys))];
    let fixture = Fixture::start(&listeners, 1)?;
    ensure!(fixture.status("trapping", TRAP)? == 503, "the request that traps");
    for (name, reloads) in [("trapping", [1, 0]), ("idle", [1, 1])] {
        wait::until("the plugin to be back", LIMIT, || Ok((fixture.status(name, GET)? == 200).then_some(())))?;
        let found = [fixture.reloads("trapping")?, fixture.reloads("idle")?].map(|[success, ..]| success);
        ensure!(found == reloads, "{name}: {found:?} reloads");
    }
    Ok(())
}

#[test]
fn the_other_workers_stay() -> Result<()> {
    let fixture = Fixture::start(&[http("http", &trapping("http", "vm", &slow_reload()))], 2)?;
    let client = fixture.client("http")?;
    let active = |worker: &str| fixture.envoy.stat(&format!("listener.http.worker_{worker}.downstream_cx_active"));
    let mut connections = Vec::new();
    wait::until("two connections on each worker", LIMIT, || {
        let mut connection = client.connect()?;
        ensure!(ask(&mut *connection, GET)? == 200, "before the trap");
        connections.push(connection);
        Ok((active("0")? > 1 && active("1")? > 1).then_some(()))
    })?;
    let expected = [active("0")?, active("1")?];
    let mut trapping = connections.pop().context("no connection")?;
    ensure!(ask(&mut *trapping, TRAP)? == 503, "the request that traps");
    let mut answers = [0, 0];
    for connection in &mut connections {
        match ask(&mut **connection, GET)? {
            200 => answers[0] += 1,
            503 => answers[1] += 1,
            status => bail!("{status}"),
        }
    }
    // All of one worker have fallen, the one that trapped among them, and all of the other get their answers.
    let fallen = answers[1] + 1;
    ensure!(
        expected == [answers[0], fallen] || expected == [fallen, answers[0]],
        "{answers:?} after the trap, the workers had {expected:?} connections"
    );
    Ok(())
}

/// Envoy tries each configuration in a VM of its own, and loads them into one VM on a worker.
#[test]
fn a_configuration_that_traps_on_a_worker_alone_leaves_its_filter_out() -> Result<()> {
    let module = testbed::guest_path("trap-on-demand");
    let filter = |name: &str| {
        http(name, &plugin(name, "shared", &json!({"failure_policy": "FAIL_RELOAD"}), &module, "one alone"))
    };
    let fixture = Fixture::start(&[filter("first"), filter("second")], 1)?;
    let told = "Failed to configure thread-local Wasm plugin";
    ensure!(fixture.envoy.log()?.contains(told), "{}", fixture.envoy.log()?);
    let status = fixture.status("second", TRAP)?;
    ensure!(status == 200, "the filter is there, or it is denied: {status}");
    Ok(())
}
