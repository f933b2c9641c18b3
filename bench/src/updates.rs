//! The time that an update takes a worker of a real Envoy away from its requests, by the number of rules.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::{Client, Http2Connection, Identity, http2_request, wait};

use crate::loading::Shape;
use crate::server::{Listener, Server};
use crate::variant::{REQUEST, wasm};

/// Longest time that an update may stall a worker before the page says from how many rules on, in seconds.
pub(crate) const LONGEST_STALL: f64 = 0.5;

/// Times that each size is loaded; the least counts.
const REPEATS: usize = 3;

const LIMIT: Duration = Duration::from_secs(120);

/// The name of the discovered filter, and of its listener.
const FILTER: &str = "updated";

/// The cost of one update.
#[derive(Clone, Debug)]
pub(crate) struct UpdateResult {
    /// The kind of rules.
    pub(crate) shape: Shape,
    /// The number of rules, or of values where one rule has them all.
    pub(crate) rules: usize,
    /// CPU time of the worker, during which it serves nothing else, in seconds.
    pub(crate) seconds: f64,
}

/// Updates a filter of each shape to each size up to `largest`.
pub(crate) fn measure(largest: usize) -> Result<Vec<UpdateResult>> {
    let mut results = Vec::new();
    let mut started: Option<UpdatedFilter> = None;
    for shape in Shape::UPDATED {
        let mut updated = match started.take().filter(|updated| updated.filter == shape.filter()) {
            Some(updated) => updated,
            None => UpdatedFilter::start(shape.filter(), &shape.denies())?,
        };
        for rules in [10, 100, 1_000, 10_000, 100_000].into_iter().filter(|size| *size <= largest) {
            let mut least = f64::INFINITY;
            for _ in 0..REPEATS {
                least = least.min(updated.update(&shape.configuration(rules), true)?.as_secs_f64());
                updated.update(&shape.denies(), false)?;
            }
            results.push(UpdateResult { shape, rules, seconds: least });
        }
        started = Some(updated);
    }
    Ok(results)
}

/// The number of rules from which on an update stalls a worker for longer than [`LONGEST_STALL`], between the sizes that
/// were measured; none if it never did.
#[expect(clippy::cast_precision_loss, reason = "a configuration has far fewer than 2^53 rules")]
pub(crate) fn rules_of_longest_stall(results: &[UpdateResult], shape: Shape) -> Option<f64> {
    let mut before = (0.0, 0.0);
    for result in results.iter().filter(|result| result.shape == shape) {
        let at = (result.rules as f64, result.seconds);
        if at.1 > LONGEST_STALL {
            return Some(before.0 + (at.0 - before.0) * (LONGEST_STALL - before.1) / (at.1 - before.1));
        }
        before = at;
    }
    None
}

/// An Envoy whose one filter is discovered from a file.
pub(crate) struct UpdatedFilter {
    filter: &'static str,
    pub(crate) server: Server,
    connection: Http2Connection,
}

impl UpdatedFilter {
    pub(crate) fn start(filter: &'static str, configuration: &str) -> Result<Self> {
        let server = Server::start(|folder| {
            let watched = folder.join("watched");
            let discovered = json!({"name": FILTER, "config_discovery": {
                "config_source": {
                    "resource_api_version": "V3",
                    "path_config_source": {"path": watched.join("filter.json"), "watched_directory": {"path": watched}}
                },
                "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"]
            }});
            // What cannot be written is a filter that Envoy waits for in vain.
            let _unwritten = fs::create_dir_all(&watched).map(|()| write(folder, filter, configuration));
            vec![Listener { name: FILTER.to_owned(), filters: vec![discovered] }]
        })?;
        let connection = server.client(FILTER, true)?.http2()?;
        Ok(Self { filter, server, connection })
    }

    /// A client of the listener with this certificate.
    pub(crate) fn client(&self, certificate: &Identity) -> Result<Client> {
        self.server.client_of(FILTER, certificate)
    }

    /// Replaces the configuration.
    pub(crate) fn write(&self, configuration: &str) -> Result<()> {
        write(self.server.folder(), self.filter, configuration)
    }

    /// Replaces the configuration, and waits until the request is allowed, or until it is denied. Returns the CPU time of
    /// the worker.
    pub(crate) fn update(&mut self, configuration: &str, allows: bool) -> Result<Duration> {
        let Self { filter, server, connection } = self;
        let request = http2_request(&REQUEST.map(|(name, value)| (name.to_vec(), value.to_vec())))?;
        let mut changed = || connection.are_ok(&[request.as_slice()]);
        ensure!(changed()? == [!allows], "the request was answered as after the update");
        server.cpu_time_of(|| {
            write(server.folder(), filter, configuration)?;
            wait::until("the update", LIMIT, || Ok((changed()? == [allows]).then_some(())))
        })
    }
}

/// Writes a discovery file and moves it into place: Envoy watches for moves.
fn write(folder: &Path, filter: &str, configuration: &str) -> Result<()> {
    let mut resource = wasm(FILTER, FILTER, &testbed::filter_path(filter), configuration);
    if let Value::Object(keys) = &mut resource {
        keys.insert("@type".to_owned(), json!("type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"));
        keys.insert("name".to_owned(), json!(FILTER));
    }
    let watched = folder.join("watched");
    let new = watched.join("filter.json.new");
    fs::write(&new, serde_json::to_vec(&json!({"resources": [resource]}))?)
        .with_context(|| format!("writing {}", new.display()))?;
    Ok(fs::rename(new, watched.join("filter.json"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_stall_lies_between_the_sizes_that_were_measured() {
        let shape = Shape::Hosts;
        let result = |rules, seconds| UpdateResult { shape, rules, seconds };
        let results = [result(1_000, 0.1), result(10_000, 0.3), result(100_000, 2.1)];
        let rules = rules_of_longest_stall(&results, shape).map(f64::round);
        assert_eq!(rules, Some(20_000.0));
        assert_eq!(rules_of_longest_stall(&results[..2], shape), None);
    }
}
