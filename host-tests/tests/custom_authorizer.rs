//! Action CUSTOM in a real Envoy, by `envoy-config/custom.yaml`: the authorizer answers, DENY and ALLOW go on with what it
//! added, and whatever becomes of the mark, nobody reaches what a CUSTOM policy guards without the authorizer.

use std::fs;

use anyhow::{Context, Result, ensure};
use host_tests::config_file::{File, MANAGER, Proxy};
use serde_json::{Value, json};
use testbed::{Client, Response, access_log};

const GATEWAY: &str = "spiffe://cluster.local/ns/edge/sa/gateway";
const FRONTEND: &str = "spiffe://cluster.local/ns/shop/sa/frontend";

/// The headers of who has logged in.
const ALICE: &str = "cookie: session=alice\r\n";
const SUPPORT: &str = "cookie: session=support\r\n";

const MARK: &str = "sallyport.identity_authz.mark";
const AUTHORIZER: &str = "sallyport.ext_authz";
const DECIDE: &str = "sallyport.identity_authz";

/// The stand-in for the authorizer, its cluster, and the endpoint of that.
const LOGIN: &str = "/static_resources/listeners/1";
const LOGIN_CLUSTER: &str = "/static_resources/clusters/1";
const LOGIN_ENDPOINT: &str = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint";

/// The filter state of the mark.
const MARK_STATE: &str = "wasm.sallyport.identity_authz.custom";

/// The file, with the stand-in for the authorizer on a socket in its folder and an answer in place of the service.
fn file() -> Result<File> {
    let mut file = File::read("custom.yaml", &["workload"])?;
    let socket = json!({"pipe": {"path": file.folder.path().join("login.socket")}});
    set(file.configuration.at(LOGIN)?, "", "address", socket.clone())?;
    set(file.configuration.at(LOGIN_CLUSTER)?, LOGIN_ENDPOINT, "address", socket)?;
    *file.configuration.at(&format!("{MANAGER}/route_config/virtual_hosts/0/routes/0"))? = json!({
        "match": {"prefix": "/"},
        "direct_response": {"status": 200, "body": {"inline_string": "reached"}}
    });
    Ok(file)
}

/// Sends a request with these header lines to a listener.
fn send(proxy: &Proxy, listener: &str, caller: &str, path: &str, headers: &str) -> Result<Response> {
    let client = Client::tls(proxy.envoy.listener(listener)?, Some(&proxy.identity(caller)?))?;
    client.send(format!("GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n{headers}\r\n").as_bytes())
}

#[test]
fn the_authorizer_answers_first_and_policies_go_on_with_what_it_added() -> Result<()> {
    let proxy = file()?.start()?;
    let ask = |caller: &str, path: &str, headers: &str| send(&proxy, "ingress", caller, path, headers);
    let named = format!("{ALICE}x-auth-request-email: support@example.com\r\n");
    let rows = [
        ("who has not logged in", GATEWAY, "/account", "", 302),
        ("who has not logged in, by another spelling", GATEWAY, "/account;x", "", 302),
        ("who has logged in", GATEWAY, "/account", ALICE, 200),
        ("a DENY that asks for what the authorizer adds", GATEWAY, "/account/refunds", ALICE, 403),
        ("a DENY that spares what the authorizer adds", GATEWAY, "/account/refunds", SUPPORT, 200),
        ("a client that names the user itself", GATEWAY, "/account/refunds", &named, 403),
        ("no ALLOW for who has logged in", FRONTEND, "/account", ALICE, 403),
        ("a path that no CUSTOM policy names", FRONTEND, "/orders", "", 200),
        ("no ALLOW for a path that no CUSTOM policy names", GATEWAY, "/orders", ALICE, 403),
    ];
    for (name, caller, path, headers, expected) in rows {
        let status = ask(caller, path, headers)?.status;
        ensure!(status == expected, "{name}: {status}, expected {expected}");
    }
    let response = ask(GATEWAY, "/account", "")?;
    let location = response.header("location").map(String::from_utf8_lossy);
    ensure!(location.as_deref() == Some("https://login.example.com/start?rd=/account"), "{response:?}");
    for (path, mark) in [("/account", "oauth2-proxy"), ("/orders", "none")] {
        let log = proxy.folder.path().join("envoy.out");
        let entry = access_log::find(&log, |entry| entry["request"] == json!(format!("GET {path}")))?;
        ensure!(entry["custom"] == json!(mark), "{entry}");
    }
    Ok(())
}

/// Changes the HTTP filters of the listener.
type Change = fn(&mut Vec<Value>) -> Result<()>;

/// A setting that is wrong, and what comes of it.
struct Mistake {
    name: &'static str,
    change: Change,
    /// The answers to the gateway at `/account` without and with a login, and to the frontend at `/orders` without and
    /// with a login.
    answers: [u16; 4],
    /// A part of the reason for the last denial, where there is one.
    reason: &'static str,
}

const NO_MARK: &str = "no mark for the CUSTOM policy shop/login; put an instance of this filter with stage: custom before \
                       ext_authz, and ext_authz before this one";

const MISTAKES: [Mistake; 13] = [
    Mistake { name: "none", change: |_| Ok(()), answers: [302, 200, 200, 200], reason: "" },
    Mistake {
        name: "the instance that marks is missing",
        change: |filters| take(filters, MARK).map(|_| ()),
        answers: [302, 403, 302, 403],
        reason: NO_MARK,
    },
    Mistake {
        name: "the instance that marks is disabled",
        change: |filters| set(filter(filters, MARK)?, "", "disabled", json!(true)),
        answers: [302, 403, 302, 403],
        reason: NO_MARK,
    },
    Mistake {
        name: "the instance that marks stands behind ext_authz",
        change: |filters| place_behind(filters, MARK, AUTHORIZER),
        answers: [302, 200, 302, 200],
        reason: "",
    },
    Mistake {
        name: "the instance that marks stands behind the one that decides",
        change: |filters| place_behind(filters, MARK, DECIDE),
        answers: [302, 403, 302, 403],
        reason: NO_MARK,
    },
    Mistake {
        name: "ext_authz stands behind the instance that decides",
        change: |filters| place_behind(filters, AUTHORIZER, DECIDE),
        answers: [302, 200, 200, 200],
        reason: "",
    },
    Mistake {
        name: "the mark is empty",
        change: |filters| replace(filters, fixed_mark(MARK_STATE, "%REQ(x-not-there)%")),
        answers: [302, 403, 302, 403],
        reason: "the mark `` is no list of providers of customProviders",
    },
    Mistake {
        name: "the mark names another provider",
        change: |filters| replace(filters, fixed_mark(MARK_STATE, "somebody")),
        answers: [302, 403, 302, 403],
        reason: "the mark `somebody` is no list of providers of customProviders",
    },
    Mistake {
        name: "the mark is set under another key",
        change: |filters| replace(filters, fixed_mark("wasm.sallyport.identity_authz.costum", "none")),
        answers: [302, 403, 302, 403],
        reason: NO_MARK,
    },
    Mistake {
        name: "the key of the matcher is mistyped",
        change: |filters| {
            let input = format!("{MATCHER}/matcher_list/matchers/0/predicate/single_predicate/input/typed_config");
            set(filter(filters, AUTHORIZER)?, &input, "key", json!("wasm.custom"))
        },
        answers: [302, 200, 302, 200],
        reason: "",
    },
    Mistake {
        name: "the instance that marks knows no CUSTOM policy",
        change: |filters| set(filter(filters, MARK)?, CONFIGURATION, "resources", json!([])),
        answers: [403, 403, 200, 200],
        reason: "CUSTOM policy shop/login matches with rule 0 and the mark does not name its provider oauth2-proxy",
    },
    Mistake {
        name: "the instance that marks may not set filter state",
        change: |filters| {
            let allowed = CAPABILITIES.map(|name| (name.to_owned(), json!({})));
            let allowed: serde_json::Map<_, _> = allowed.into_iter().collect();
            let restriction = json!({"allowed_capabilities": allowed});
            let filter = filter(filters, MARK)?;
            set(filter, "/typed_config/config/vm_config", "vm_id", json!("restricted"))?;
            set(filter, "/typed_config/config", "capability_restriction_config", restriction)
        },
        answers: [403; 4],
        reason: "",
    },
    Mistake {
        name: "the instance that marks traps",
        change: |filters| {
            let filter = filter(filters, MARK)?;
            set(filter, "/typed_config/config/vm_config", "vm_id", json!("trap"))?;
            let module = at(filter, "/typed_config/config/vm_config/code/local/filename")?;
            *module = json!(module.as_str().map(|path| path.replace("identity-authz", "trap")));
            Ok(())
        },
        answers: [503; 4],
        reason: "",
    },
];

/// Callbacks and host functions that a module needs to be loaded and to deny.
const CAPABILITIES: [&str; 7] = [
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_request_headers",
    "proxy_get_buffer_bytes",
    "proxy_get_property",
    "proxy_log",
    "proxy_send_local_response",
];

/// A module whose `proxy_on_request_headers` traps.
const TRAP: &[u8] = b"\0asm\x01\0\0\0\
    \x01\x10\x03\x60\0\0\x60\x01\x7f\x01\x7f\x60\x03\x7f\x7f\x7f\x01\x7f\
    \x03\x04\x03\0\x01\x02\
    \x05\x03\x01\0\x01\
    \x07\x5a\x04\x06memory\x02\0\x17proxy_abi_version_0_2_1\0\0\x18proxy_on_memory_allocate\0\x01\
    \x18proxy_on_request_headers\0\x02\
    \x0a\x0d\x03\x02\0\x0b\x04\0\x41\0\x0b\x03\0\0\x0b";

/// The configuration of an instance of `identity-authz`, and the matcher around `ext_authz`.
const CONFIGURATION: &str = "/typed_config/config/configuration/value";
const MATCHER: &str = "/typed_config/xds_matcher";

fn at<'v>(value: &'v mut Value, pointer: &str) -> Result<&'v mut Value> {
    value.pointer_mut(pointer).with_context(|| format!("no {pointer}"))
}

fn list<'v>(value: &'v mut Value, pointer: &str) -> Result<&'v mut Vec<Value>> {
    at(value, pointer)?.as_array_mut().with_context(|| format!("no list {pointer}"))
}

/// Sets a key of an object, which need not be there.
fn set(value: &mut Value, object: &str, key: &str, new: Value) -> Result<()> {
    at(value, object)?.as_object_mut().with_context(|| format!("no object {object}"))?.insert(key.to_owned(), new);
    Ok(())
}

fn position(filters: &[Value], name: &str) -> Result<usize> {
    let is_named = |filter: &Value| filter.get("name") == Some(&json!(name));
    filters.iter().position(is_named).with_context(|| format!("no filter {name}"))
}

fn filter<'f>(filters: &'f mut [Value], name: &str) -> Result<&'f mut Value> {
    let position = position(filters, name)?;
    filters.get_mut(position).context("no filter")
}

fn take(filters: &mut Vec<Value>, name: &str) -> Result<Value> {
    Ok(filters.remove(position(filters, name)?))
}

fn place_behind(filters: &mut Vec<Value>, name: &str, other: &str) -> Result<()> {
    let moved = take(filters, name)?;
    let behind = position(filters, other)? + 1;
    filters.insert(behind, moved);
    Ok(())
}

fn replace(filters: &mut [Value], replacement: Value) -> Result<()> {
    *filter(filters, MARK)? = replacement;
    Ok(())
}

/// A filter that sets filter state to a text instead of the instance that marks.
fn fixed_mark(key: &str, text: &str) -> Value {
    json!({"name": MARK, "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config",
        "on_request_headers": [{
            "object_key": key,
            "factory_key": "envoy.string",
            "format_string": {"text_format_source": {"inline_string": text}, "omit_empty_values": true}
        }]
    }})
}

#[test]
fn whatever_becomes_of_the_mark_nobody_gets_past_the_authorizer() -> Result<()> {
    let mut file = file()?;
    fs::write(file.folder.path().join("trap.wasm"), TRAP)?;
    let listeners = list(file.configuration.at("/static_resources")?, "/listeners")?;
    let ingress = listeners.first().context("no listener")?.clone();
    for mistake in &MISTAKES {
        let mut listener = ingress.clone();
        listener["name"] = json!(mistake.name);
        (mistake.change)(list(&mut listener, "/filter_chains/0/filters/0/typed_config/http_filters")?)?;
        listeners.push(listener);
    }
    let proxy = file.start()?;
    for mistake in &MISTAKES {
        check(&proxy, mistake).with_context(|| mistake.name)?;
    }
    Ok(())
}

fn check(proxy: &Proxy, mistake: &Mistake) -> Result<()> {
    let mut answers = Vec::new();
    for (caller, path) in [(GATEWAY, "/account"), (FRONTEND, "/orders")] {
        for headers in ["", ALICE] {
            let path = format!("{path}?{}", mistake.name.replace(' ', "-"));
            answers.push(send(proxy, mistake.name, caller, &path, headers)?.status);
        }
    }
    ensure!(answers == mistake.answers, "{answers:?}, expected {:?}", mistake.answers);
    if mistake.reason.is_empty() {
        return Ok(());
    }
    let query = format!("?{}", mistake.name.replace(' ', "-"));
    let text = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_denial = |entry: &Value| text(entry, "request").ends_with(&query) && !text(entry, "reason").is_empty();
    let entry = access_log::find(&proxy.folder.path().join("envoy.out"), is_denial)?;
    ensure!(text(&entry, "reason").contains(mistake.reason), "{entry}");
    Ok(())
}

/// Makes `ext_authz` be skipped on either of these marks.
fn skip_on(authorizer: &mut Value, marks: [&str; 2]) -> Result<()> {
    let predicate = at(authorizer, &format!("{MATCHER}/matcher_list/matchers/0/predicate"))?;
    let input = at(predicate, "/single_predicate/input")?.clone();
    let on = |mark: &str| json!({"single_predicate": {"input": input, "value_match": {"exact": mark}}});
    *predicate = json!({"or_matcher": {"predicate": marks.map(on)}});
    Ok(())
}

/// The file with a second provider, `opa`, whose authorizer lets those through who send `x-opa: yes`.
fn file_of_two_providers() -> Result<File> {
    let mut file = file()?;
    let opa = json!({
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"name": "opa", "namespace": "shop"},
        "spec": {
            "action": "CUSTOM", "provider": {"name": "opa"},
            "rules": [{"to": [{"operation": {"paths": ["/account/refunds", "/orders/opa"]}}]}]
        }
    });
    let filters = list(file.configuration.at(MANAGER)?, "/http_filters")?;
    for name in [MARK, DECIDE] {
        let filter = filter(filters, name)?;
        set(filter, CONFIGURATION, "customProviders", json!(["oauth2-proxy", "opa"]))?;
        list(filter, &format!("{CONFIGURATION}/resources"))?.push(opa.clone());
    }
    let login = filter(filters, AUTHORIZER)?;
    let mut second = login.clone();
    skip_on(login, ["none", "opa"])?;
    skip_on(&mut second, ["none", "oauth2-proxy"])?;
    set(&mut second, "", "name", json!("sallyport.ext_authz.opa"))?;
    let authorizer = at(&mut second, "/typed_config/extension_config/typed_config")?;
    set(authorizer, "/http_service/server_uri", "cluster", json!("opa"))?;
    set(authorizer, "", "allowed_headers", json!({"patterns": [{"exact": "x-opa"}]}))?;
    let behind = position(filters, AUTHORIZER)? + 1;
    filters.insert(behind, second);
    add_opa(&mut file)?;
    Ok(file)
}

/// Adds the stand-in for the second authorizer, and its cluster.
fn add_opa(file: &mut File) -> Result<()> {
    let socket = json!({"pipe": {"path": file.folder.path().join("opa.socket")}});
    let mut listener = file.configuration.at(LOGIN)?.clone();
    set(&mut listener, "", "name", json!("opa"))?;
    set(&mut listener, "", "address", socket.clone())?;
    let host = "/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0";
    let routes = json!([
        {
            "match": {"prefix": "/", "headers": [{"name": "x-opa", "string_match": {"exact": "yes"}}]},
            "direct_response": {"status": 200}
        },
        {"match": {"prefix": "/"}, "direct_response": {"status": 401}}
    ]);
    set(&mut listener, host, "routes", routes)?;
    let mut cluster = file.configuration.at(LOGIN_CLUSTER)?.clone();
    set(&mut cluster, "", "name", json!("opa"))?;
    set(&mut cluster, LOGIN_ENDPOINT, "address", socket)?;
    let resources = file.configuration.at("/static_resources")?;
    list(resources, "/listeners")?.push(listener);
    list(resources, "/clusters")?.push(cluster);
    Ok(())
}

#[test]
fn a_request_that_matches_policies_of_two_providers_needs_both_authorizers() -> Result<()> {
    let proxy = file_of_two_providers()?.start()?;
    let opa = "x-opa: yes\r\n";
    let both = format!("{SUPPORT}{opa}");
    let rows = [
        (GATEWAY, "/account", "", 302),
        (GATEWAY, "/account", SUPPORT, 200),
        (GATEWAY, "/account/refunds", "", 302),
        (GATEWAY, "/account/refunds", opa, 302),
        (GATEWAY, "/account/refunds", SUPPORT, 401),
        (GATEWAY, "/account/refunds", &both, 200),
        (FRONTEND, "/orders/opa", SUPPORT, 401),
        (FRONTEND, "/orders/opa", opa, 200),
        (FRONTEND, "/orders", "", 200),
    ];
    for (caller, path, headers, expected) in rows {
        let status = send(&proxy, "ingress", caller, path, headers)?.status;
        ensure!(status == expected, "{path} with {headers:?}: {status}, expected {expected}");
    }
    Ok(())
}
