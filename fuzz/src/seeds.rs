//! Inputs that come from the suites: every case is one, so that new cases are new seeds.

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

use crate::json::Json;

/// Cases of one filter.
pub struct Suites {
    cases: Vec<SuiteCase>,
}

/// One case, with the configuration of its file where it has none.
struct SuiteCase {
    configuration: Json,
    case: Json,
}

impl Suites {
    /// Reads the suites of a filter: `identity-authz`, `baseline-deny` or `egress-allowlist`.
    pub fn read(filter: &str) -> io::Result<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host-tests/suites").join(filter);
        let mut files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        files.sort();
        let mut cases = Vec::new();
        for file in files {
            let text = fs::read_to_string(&file)?;
            let suite: Json = serde_saphyr::from_str(&text).map_err(io::Error::other)?;
            for case in suite.get("cases").map(Json::items).unwrap_or_default() {
                let configuration = case.get("configuration").or(suite.get("configuration"));
                let Some(configuration) = configuration.cloned() else { continue };
                cases.push(SuiteCase { configuration, case: case.clone() });
            }
        }
        Ok(Self { cases })
    }

    /// Returns inputs of a target that reads configurations: each case is a configuration with its request.
    pub fn configurations(&self) -> Vec<Vec<u8>> {
        let input = |one: &SuiteCase| {
            let configuration = match &one.configuration {
                Json::Text(text) => text.clone(),
                object => object.to_string(),
            };
            [configuration.as_bytes(), b"\n", &request_lines(&one.case)].concat()
        };
        distinct(self.cases.iter().map(input))
    }
}

/// Returns each input once, in order.
fn distinct(inputs: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    inputs.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Writes the request of a case as lines. A character up to U+00FF stands for the byte with that value.
fn request_lines(case: &Json) -> Vec<u8> {
    let mut lines = Vec::new();
    let mut line = |key: &str, value: &[u8]| lines.extend([key.as_bytes(), b" ", value, b"\n"].concat());
    if let Some(caller) = case.get("caller") {
        for (key, word) in [
            ("peer", "peer"),
            ("serverName", "sni"),
            ("address", "source"),
            ("destinationPort", "port"),
            ("token", "token"),
        ] {
            if let Some(value) = caller.get(key) {
                line(word, &text_of(value));
            }
        }
        if caller.get("untrusted").is_some() {
            line("peer", b"not-validated");
        }
    }
    if let Some(request) = case.get("request") {
        for key in ["method", "path", "host"] {
            if let Some(value) = request.get(key) {
                line(key, &bytes_of(value));
            }
        }
        for header in request.get("headers").map(Json::items).unwrap_or_default() {
            if let [name, value] = header.items() {
                line("header", &[&bytes_of(name), &b":"[..], &bytes_of(value)].concat());
            }
        }
    }
    if let Some(mark) = case.get("mark") {
        line("mark", &text_of(mark));
    }
    if let Some(passthrough) = case.get("passthrough") {
        if let Some(name) = passthrough.get("serverName") {
            line("sni", &text_of(name));
        }
        line("passthrough", b"");
    }
    lines
}

/// Returns a value as text: a string as it is, another as JSON.
fn text_of(value: &Json) -> Vec<u8> {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned).into_bytes()
}

/// Returns a text whose characters stand for bytes.
fn bytes_of(value: &Json) -> Vec<u8> {
    let byte = |character: char| u8::try_from(character).unwrap_or(b'?');
    value.as_str().unwrap_or_default().chars().map(byte).collect()
}
