//! The examples of `envoy-config/` in a real Envoy, whose filters are read from files as docs/operations.md says.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::{Client, Configuration, Envoy, access_log, wait};

use crate::samples::Samples;

pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Metrics and log entries of an example that ran.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    /// Every metric that was exported at some time.
    pub(crate) samples: Samples,
    /// The entries of its access logs.
    pub(crate) log: Vec<Value>,
    pub(crate) scenes: Vec<crate::rules::Scene>,
}

/// The filters of a bootstrap as files that Envoy watches.
#[derive(Debug)]
pub(crate) struct Filters {
    folder: PathBuf,
    /// The file of each filter, by path.
    files: BTreeMap<PathBuf, Value>,
}

impl Filters {
    /// Moves the filters of Sallyport out of a bootstrap into files below `folder`.
    pub(crate) fn discovered(configuration: &mut Configuration, folder: &Path) -> Result<Self> {
        let folder = folder.join("watched");
        fs::create_dir(&folder)?;
        let mut filters = Self { folder, files: BTreeMap::new() };
        let bootstrap = configuration.at("")?;
        filters.take(bootstrap)?;
        ensure!(!filters.files.is_empty(), "the file has no filter of ours");
        let keys = bootstrap.as_object_mut().context("no object")?;
        keys.insert("node".to_owned(), json!({"id": "orders-1", "cluster": "orders"}));
        Ok(filters)
    }

    fn take(&mut self, value: &mut Value) -> Result<()> {
        let kind = value.pointer("/typed_config/@type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let name = value.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        if name.starts_with("sallyport.") && kind.ends_with(".wasm.v3.Wasm") {
            let mut resource = value.clone();
            let keys = resource.as_object_mut().context("no object")?;
            keys.insert("@type".to_owned(), json!("type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"));
            let path = self.folder.join(format!("{}.yaml", self.files.len()));
            let source = json!({"path": path, "watched_directory": {"path": self.folder}});
            *value = json!({"name": name, "config_discovery": {
                "config_source": {"resource_api_version": "V3", "path_config_source": source},
                "type_urls": [kind]
            }});
            let file = json!({"resources": [resource]});
            self.put(&path, &file)?;
            self.files.insert(path, file);
            return Ok(());
        }
        match value {
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.take(item)),
            Value::Object(entries) => entries.values_mut().try_for_each(|entry| self.take(entry)),
            _ => Ok(()),
        }
    }

    /// Moves a new file into the place of the one before.
    fn put(&self, path: &Path, file: &Value) -> Result<()> {
        let new = self.folder.join("new");
        fs::write(&new, file.to_string())?;
        Ok(fs::rename(new, path)?)
    }

    /// Changes the configuration of every filter of this name for good.
    pub(crate) fn change(&mut self, filter: &str, change: impl Fn(&mut Value) -> Result<()>) -> Result<()> {
        for (path, file) in self.changed(filter, change)? {
            self.put(&path, &file)?;
            self.files.insert(path, file);
        }
        Ok(())
    }

    /// Writes files that a filter refuses.
    pub(crate) fn spoil(&self, filter: &str) -> Result<()> {
        let spoilt = self.changed(filter, |configuration| {
            let keys = configuration.as_object_mut().context("no object")?;
            keys.insert("misspelt".to_owned(), json!(true));
            Ok(())
        })?;
        spoilt.iter().try_for_each(|(path, file)| self.put(path, file))
    }

    fn changed(&self, filter: &str, change: impl Fn(&mut Value) -> Result<()>) -> Result<Vec<(PathBuf, Value)>> {
        let named = self.files.iter().filter(|(_, file)| file.pointer("/resources/0/name") == Some(&json!(filter)));
        let changed = named.map(|(path, file)| {
            let mut file = file.clone();
            let configuration = file.pointer_mut("/resources/0/typed_config/config/configuration/value");
            change(configuration.context("no configuration")?)?;
            Ok((path.clone(), file))
        });
        let changed = changed.collect::<Result<Vec<_>>>()?;
        ensure!(!changed.is_empty(), "no filter has the name {filter}");
        Ok(changed)
    }
}

/// Waits for counters of Envoy to be this high, summed, and scrapes its metrics.
pub(crate) fn scrape_when(envoy: &Envoy, counters: &[&str], least: u64) -> Result<Samples> {
    let mut found = 0;
    wait::until(&format!("{counters:?} to be {least}"), LIMIT, || {
        found = counters.iter().map(|name| envoy.stat(name)).sum::<Result<u64>>()?;
        Ok((found >= least).then_some(()))
    })
    .with_context(|| format!("they are {found}"))?;
    Samples::scrape(envoy)
}

/// Waits until an access log has an entry with each of these keys, and returns all entries.
pub(crate) fn log_with(folder: &Path, keys: &[&str]) -> Result<Vec<Value>> {
    let log = folder.join("envoy.out");
    for key in keys {
        access_log::find(&log, |entry| entry.get(key).is_some_and(|value| !value.is_null()))
            .with_context(|| format!("no entry with {key}"))?;
    }
    Ok(access_log::entries(&fs::read_to_string(log)?).collect())
}

/// Sends a request over TLS and resets the connection when it is answered: an answer that is not read is still in the
/// socket when that is closed. Waits until Envoy has seen the end of all connections of this connection manager.
pub(crate) fn reset(envoy: &Envoy, manager: &str, client: &Client, request: &str) -> Result<()> {
    let completed = || envoy.stat(&format!("http.{manager}.downstream_rq_completed"));
    let before = completed()?;
    let mut stream = client.connect()?;
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    wait::until("the request to be answered", LIMIT, || Ok((completed()? > before).then_some(())))?;
    drop(stream);
    let active = format!("http.{manager}.downstream_cx_active");
    wait::until("the connection to end", LIMIT, || Ok((envoy.stat(&active)? == 0).then_some(())))
}
