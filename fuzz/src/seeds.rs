//! Inputs that come from the suites: every case is one, so that new cases are new seeds.

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

use crate::json::{Json, map_entry};

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

    /// Returns lists of path patterns, each with the path of its case.
    pub fn paths(&self) -> Vec<Vec<u8>> {
        let inputs = self.cases.iter().flat_map(|one| {
            let path = request_value(&one.case, "path").unwrap_or_else(|| b"/".to_vec());
            let mut lists = Vec::new();
            collect_lists(&one.configuration, &["paths", "notPaths"], &mut lists);
            lists.into_iter().map(move |list| {
                let patterns = list.iter().flat_map(|pattern| [&text_of(pattern)[..], b"\n"].concat());
                patterns.chain(path.iter().copied()).collect()
            })
        });
        distinct(inputs)
    }

    /// Returns metadata messages with the tokens of the cases.
    pub fn metadata(&self) -> Vec<Vec<u8>> {
        let payloads = self.tokens_of_cases().map(Json::to_proto_value);
        let keys = ["payload", "corp"];
        distinct(payloads.zip(keys.into_iter().cycle()).map(|(payload, key)| {
            let structure = map_entry(key, &payload);
            [map_entry("envoy.filters.http.jwt_authn", &structure), map_entry("other", &structure)].concat()
        }))
    }

    /// Returns tokens with a condition on each of their claims.
    pub fn tokens(&self) -> Vec<Vec<u8>> {
        distinct(self.tokens_of_cases().map(|token| {
            let mut input = token.to_string().into_bytes();
            let Json::Object(claims) = token else { return input };
            for (claim, value) in claims {
                let one = value.items().first().unwrap_or(value);
                input.extend([b"\n", claim.as_bytes(), b"=", &text_of(one)].concat());
            }
            input
        }))
    }

    fn tokens_of_cases(&self) -> impl Iterator<Item = &Json> {
        self.cases.iter().filter_map(|one| one.case.get("caller")?.get("token"))
    }

    /// Returns forwarded certificates behind each other.
    pub fn forwarded_certificates(&self) -> Vec<Vec<u8>> {
        let headers = self.cases.iter().flat_map(|one| headers_of(&one.case));
        let values: Vec<_> = headers
            .filter(|(name, _)| name.eq_ignore_ascii_case(b"x-forwarded-client-cert"))
            .map(|(_, value)| value)
            .collect();
        let next = values.iter().skip(1).chain(values.first());
        distinct(values.iter().zip(next).map(|(one, other)| [&one[..], b"\n", other].concat()))
    }

    /// Returns the requests of the cases in the encoding of a header map.
    pub fn header_maps(&self) -> Vec<Vec<u8>> {
        distinct(self.cases.iter().map(|one| {
            let mut headers = headers_of(&one.case);
            for (key, name) in [("method", ":method"), ("host", ":authority"), ("path", ":path")] {
                if let Some(value) = request_value(&one.case, key) {
                    headers.insert(0, (name.as_bytes().to_vec(), value));
                }
            }
            header_map(&headers)
        }))
    }

    /// Returns the authorities and server names of the cases.
    pub fn destinations(&self) -> Vec<Vec<u8>> {
        let hosts = self.cases.iter().filter_map(|one| request_value(&one.case, "host"));
        let names = self.cases.iter().filter_map(|one| one.case.get("passthrough")?.get("serverName").map(text_of));
        distinct(hosts.chain(names))
    }
}

/// Returns ClientHellos behind the authority of a tunnel, whole and in small records.
pub fn tunnels() -> Vec<Vec<u8>> {
    let mut inputs = Vec::new();
    for (authority, names) in [
        ("api.test:443", &["api.test"][..]),
        ("api.test:443", &["API.test."]),
        ("api.test:443", &["other.test"]),
        ("api.test:443", &["api.test", "other.test"]),
        ("api.test:443", &[]),
        ("192.0.2.1:443", &[]),
        ("api.test:22", &["api.test"]),
    ] {
        let message = client_hello(names);
        for size in [1, 40, 16_384] {
            let records = message.chunks(size).flat_map(|fragment| [&[22, 3, 1][..], &prefixed(2, fragment)].concat());
            inputs.push([authority.as_bytes(), b"\n"].concat().into_iter().chain(records).collect());
        }
    }
    inputs.push(b"api.test:22\nSSH-2.0-x\r\n".to_vec());
    inputs.push(b"api.test:22\n\x80\x2e\x01\x03\x01".to_vec());
    inputs
}

/// Writes a ClientHello with these server names, each in an extension of its own.
fn client_hello(names: &[&str]) -> Vec<u8> {
    let extension = |kind: [u8; 2], content: &[u8]| [&kind[..], &prefixed(2, content)].concat();
    let mut extensions = extension([0, 10], &[0, 2, 0, 29]);
    for name in names {
        extensions.extend(extension([0, 0], &prefixed(2, &[&[0][..], &prefixed(2, name.as_bytes())].concat())));
    }
    extensions.extend(extension([0, 43], &[2, 3, 4]));
    let fields = [&[3, 3][..], &[7; 32], &prefixed(1, &[9; 32]), &prefixed(2, &[0x13, 1]), &prefixed(1, &[0])].concat();
    [&[1][..], &prefixed(3, &[fields, prefixed(2, &extensions)].concat())].concat()
}

/// Writes bytes after their length in `width` bytes.
fn prefixed(width: usize, bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len().to_be_bytes();
    let start = length.len().saturating_sub(width);
    [length.get(start..).unwrap_or_default(), bytes].concat()
}

/// Writes headers as the host does: a count, the lengths of each pair, then each name and value with a NUL behind it.
fn header_map(headers: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let number = |number: usize| u32::try_from(number).unwrap_or_default().to_le_bytes();
    let lengths = headers.iter().flat_map(|(name, value)| [number(name.len()), number(value.len())]);
    let lengths: Vec<u8> = [number(headers.len())].into_iter().chain(lengths).flatten().collect();
    let texts = headers.iter().flat_map(|(name, value)| [name.as_slice(), b"\0", value, b"\0"].concat());
    lengths.into_iter().chain(texts).collect()
}

/// Collects the lists under some keys, wherever they are.
fn collect_lists<'j>(json: &'j Json, keys: &[&str], found: &mut Vec<&'j [Json]>) {
    match json {
        Json::List(items) => items.iter().for_each(|item| collect_lists(item, keys, found)),
        Json::Object(entries) => {
            for (key, value) in entries {
                match value {
                    Json::List(items) if keys.contains(&key.as_str()) => found.push(items),
                    _ => collect_lists(value, keys, found),
                }
            }
        }
        _ => {}
    }
}

/// Returns a value of the request of a case.
fn request_value(case: &Json, key: &str) -> Option<Vec<u8>> {
    case.get("request")?.get(key).map(bytes_of)
}

/// Returns the headers of a case, names in lower case.
fn headers_of(case: &Json) -> Vec<(Vec<u8>, Vec<u8>)> {
    let headers = case.get("request").and_then(|request| request.get("headers")).map(Json::items).unwrap_or_default();
    let pair = |header: &Json| match header.items() {
        [name, value] => Some((bytes_of(name).to_ascii_lowercase(), bytes_of(value))),
        _ => None,
    };
    headers.iter().filter_map(pair).collect()
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
        for (name, value) in headers_of(case) {
            line("header", &[&name, &b":"[..], &value].concat());
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
