//! The application: reads the database, calls two outside APIs, and shows on a page which of its calls went through.

use std::collections::HashMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use postgres::config::SslMode;
use postgres::{Config, NoTls};
use serde_json::{Value, json};
use testbed::Client;
use tiny_http::Request;

use crate::web::{self, Answer};

const PAGE: &str = include_str!("app.html");

/// The outside API that the application has declared.
const DECLARED: &str = "api.partner.example";
/// The one that it has not.
const UNDECLARED: &str = "undeclared.example";

/// How long the database may take to answer.
const DATABASE_LIMIT: Duration = Duration::from_secs(3);

/// Serves the application on port 8000 and its back office, which no policy opens, on port 8002.
pub(crate) fn serve(version: &str) -> Result<()> {
    thread::spawn(|| web::serve(8002, |_| Answer::text(200, "the ledger\n")));
    let version = version.to_owned();
    let tries: Mutex<HashMap<String, u32>> = Mutex::default();
    web::serve(8000, move |request| answer(request, &version, &tries).with("x-version", version.clone()))
}

fn answer(request: &Request, version: &str, tries: &Mutex<HashMap<String, u32>>) -> Answer {
    let (path, query) = request.url().split_once('?').unwrap_or((request.url(), ""));
    match path {
        "/" => Answer { kind: "text/html; charset=utf-8", ..Answer::text(200, PAGE) },
        "/calls" => Answer::json(&calls()),
        "/orders" => match orders() {
            Ok(orders) => Answer::json(&orders),
            Err(error) => Answer::text(502, format!("{error:#}\n")),
        },
        // Needs everyone: the database and the declared host.
        "/checkout" => match orders().and_then(|_| fetch(DECLARED, None)) {
            Ok(answer) => Answer::text(200, answer),
            Err(error) => Answer::text(502, format!("{error:#}\n")),
        },
        "/slow" => {
            thread::sleep(Duration::from_secs(5));
            Answer::text(200, "at last\n")
        }
        // The first two tries of each key fail.
        "/flaky" => match tries.lock().map(|mut tries| {
            let count = tries.entry(query.to_owned()).or_default();
            *count += 1;
            *count
        }) {
            Ok(count @ 3..) => Answer::text(200, format!("try {count}\n")),
            _ => Answer::text(503, "not yet\n"),
        },
        "/pool" if version == "canary" => Answer::text(500, "the canary is sick\n"),
        _ => {
            let caller = web::header(request, "x-forwarded-for").unwrap_or("nobody");
            Answer::text(200, format!("{path} of {version}, asked by {caller}\n"))
        }
    }
}

/// Every call that the application makes, and what came of it.
fn calls() -> Value {
    let call = |name: &str, wanted: bool, outcome: Result<String>| {
        let through = outcome.is_ok();
        let answer = outcome.unwrap_or_else(|error| format!("{error:#}"));
        json!({"call": name, "declared": wanted, "through": through, "answer": answer.trim()})
    };
    json!([
        call(
            "PostgreSQL: SELECT id, item FROM orders",
            true,
            orders().map(|orders| { format!("{} orders", orders.as_array().map_or(0, Vec::len)) })
        ),
        call("https://api.partner.example, declared", true, fetch(DECLARED, None)),
        call("https://undeclared.example, by its name", false, fetch(UNDECLARED, None)),
        call("https://undeclared.example, past DNS", false, fetch(UNDECLARED, Some(DECLARED))),
    ])
}

fn orders() -> Result<Value> {
    let mut client = Config::new()
        .host("postgres")
        .user("shop")
        .dbname("shop")
        .ssl_mode(SslMode::Disable)
        .connect_timeout(DATABASE_LIMIT)
        .connect(NoTls)?;
    let rows = client.query("SELECT id, item FROM orders ORDER BY id", &[])?;
    let order = |row: &postgres::Row| -> Result<Value> {
        Ok(json!({"id": row.try_get::<_, i32>(0)?, "item": row.try_get::<_, String>(1)?}))
    };
    Ok(Value::Array(rows.iter().map(order).collect::<Result<_>>()?))
}

/// Asks a host of the outside by TLS. With `through`, its address is that of another name: DNS is walked past.
fn fetch(host: &str, through: Option<&str>) -> Result<String> {
    let resolved = (through.unwrap_or(host), 443).to_socket_addrs().with_context(|| format!("DNS knows no {host}"))?;
    let address: SocketAddr = resolved.into_iter().find(SocketAddr::is_ipv4).context("DNS gives no IPv4 address")?;
    let response = Client::tls(address, None)?
        .with_sni(Some(host))
        .send(format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").as_bytes())
        .context("the way out is shut")?;
    Ok(String::from_utf8_lossy(&response.body).into_owned())
}
