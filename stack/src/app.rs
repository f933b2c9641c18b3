//! The application: reads the database, calls two external APIs, and shows on a page which calls succeed.

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

use crate::web::{self, Reply};

const PAGE: &str = include_str!("app.html");

/// The external host that the egress policy allows.
const DECLARED_HOST: &str = "api.partner.example";
/// An external host that no policy allows.
const UNDECLARED_HOST: &str = "undeclared.example";

/// Time limit for a connection to the database.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(3);

/// Serves the application on port 8000, and its back office, which no policy allows, on port 8002.
pub(crate) fn serve(version: &str) -> Result<()> {
    thread::spawn(|| web::serve(8002, |_| Reply::text(200, "the ledger\n")));
    let version = version.to_owned();
    let attempts: Mutex<HashMap<String, u32>> = Mutex::default();
    web::serve(8000, move |request| answer(request, &version, &attempts).with("x-version", version.clone()))
}

fn answer(request: &Request, version: &str, attempts: &Mutex<HashMap<String, u32>>) -> Reply {
    let (path, query) = request.url().split_once('?').unwrap_or((request.url(), ""));
    match path {
        "/" => Reply { media_type: "text/html; charset=utf-8", ..Reply::text(200, PAGE) },
        "/calls" => Reply::json(&calls()),
        "/orders" => match orders() {
            Ok(orders) => Reply::json(&orders),
            Err(error) => Reply::text(502, format!("{error:#}\n")),
        },
        // Depends on every Envoy: uses the database and the declared host.
        "/checkout" => match orders().and_then(|_| fetch(DECLARED_HOST, None)) {
            Ok(answer) => Reply::text(200, answer),
            Err(error) => Reply::text(502, format!("{error:#}\n")),
        },
        "/slow" => {
            thread::sleep(Duration::from_secs(5));
            Reply::text(200, "at last\n")
        }
        // The first two attempts of each key fail.
        "/flaky" => match attempts.lock().map(|mut attempts| {
            let count = attempts.entry(query.to_owned()).or_default();
            *count += 1;
            *count
        }) {
            Ok(count @ 3..) => Reply::text(200, format!("attempt {count}\n")),
            _ => Reply::text(503, "not yet\n"),
        },
        "/pool" if version == "canary" => Reply::text(500, "the canary fails on purpose\n"),
        _ => {
            let caller = web::header(request, "x-forwarded-for").unwrap_or("an unknown client");
            Reply::text(200, format!("{path}, version {version}, requested by {caller}\n"))
        }
    }
}

/// Makes every call to other services, and returns the outcomes.
fn calls() -> Value {
    let call = |name: &str, declared: bool, outcome: Result<String>| {
        let succeeded = outcome.is_ok();
        let answer = outcome.unwrap_or_else(|error| format!("{error:#}"));
        json!({"call": name, "declared": declared, "succeeded": succeeded, "answer": answer.trim()})
    };
    json!([
        call(
            "PostgreSQL: SELECT id, item FROM orders",
            true,
            orders().map(|orders| { format!("{} orders", orders.as_array().map_or(0, Vec::len)) })
        ),
        call("https://api.partner.example, declared", true, fetch(DECLARED_HOST, None)),
        call("https://undeclared.example, by DNS", false, fetch(UNDECLARED_HOST, None)),
        call(
            "https://undeclared.example, by the address of another host",
            false,
            fetch(UNDECLARED_HOST, Some(DECLARED_HOST))
        ),
    ])
}

fn orders() -> Result<Value> {
    let mut client = Config::new()
        .host("postgres")
        .user("shop")
        .dbname("shop")
        .ssl_mode(SslMode::Disable)
        .connect_timeout(DATABASE_TIMEOUT)
        .connect(NoTls)?;
    let rows = client.query("SELECT id, item FROM orders ORDER BY id", &[])?;
    let order = |row: &postgres::Row| -> Result<Value> {
        Ok(json!({"id": row.try_get::<_, i32>(0)?, "item": row.try_get::<_, String>(1)?}))
    };
    Ok(Value::Array(rows.iter().map(order).collect::<Result<_>>()?))
}

/// Sends a request to an external host over TLS. `address_of` names another host whose address to use, which bypasses
/// DNS.
fn fetch(host: &str, address_of: Option<&str>) -> Result<String> {
    let resolved =
        (address_of.unwrap_or(host), 443).to_socket_addrs().with_context(|| format!("{host} does not resolve"))?;
    let address: SocketAddr = resolved.into_iter().find(SocketAddr::is_ipv4).context("the host has no IPv4 address")?;
    let response = Client::tls(address, None)?
        .with_sni(Some(host))
        .send(format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").as_bytes())
        .context("the egress connection is closed")?;
    Ok(String::from_utf8_lossy(&response.body).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_finds_the_decisions_about_the_hosts_that_are_called() {
        for host in [DECLARED_HOST, UNDECLARED_HOST] {
            assert!(PAGE.contains(&format!("authority: \"{host}:443\"")), "{host}");
        }
    }
}
