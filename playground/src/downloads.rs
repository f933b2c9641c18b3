//! Files that the page writes, the configuration for each place and the requests as policy tests, and its reader of curl.

use sallyport_analysis::{
    BootstrapSettings, Layer, Place, RenderError, RenderSettings, parse_curl, render as render_files,
};
use serde_json::{Value, json};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::input::Input;
use crate::{answer, faults, test_file};

/// Renders the files for `place` and `workload`: `{"files": [{"name", "text"}], "notes": [...]}` or `{"error", "faults"}`.
#[wasm_bindgen]
pub fn render(input: &str) -> String {
    answer(input, rendered)
}

/// Writes `requests` as files for `sallyport test`, with the answers of now: `{"files": [{"name", "text"}]}`. Requests to
/// outside hosts are left out.
#[wasm_bindgen]
pub fn test_files(input: &str) -> String {
    answer(input, |input| Ok(json!({"files": test_file::write(input)})))
}

/// Reads a call of curl: `{"method", "host", "path", "port", "headers"}`, with `authority` where it is by TLS.
#[wasm_bindgen]
pub fn curl(line: &str) -> String {
    let read = parse_curl(line).map(|curl| {
        json!({
            "method": curl.method,
            "host": curl.host,
            "path": curl.path,
            "port": curl.port,
            "sni": curl.server_name,
            "authority": curl.is_tls.then_some(curl.authority),
            "headers": curl.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>(),
        })
    });
    read.unwrap_or_else(|error| json!({"error": error.to_string()})).to_string()
}

/// The places that the page offers.
const PLACES: [Place; 6] = [
    Place::EnvoyFilter,
    Place::Ecds,
    Place::Bootstrap,
    Place::WasmPlugin,
    Place::TrafficExtension,
    Place::EnvoyGateway,
];

/// Renders the files for one place, with the defaults of the command.
fn rendered(input: &Input) -> Result<Value, String> {
    let name = input.text("place").unwrap_or_default();
    let place =
        PLACES.into_iter().find(|place| place.name() == name).ok_or_else(|| format!("unknown place `{name}`"))?;
    let project = input.project()?;
    let address = |host: &str, port| (host.to_owned(), port);
    let settings = RenderSettings {
        place,
        layer: Layer::Http,
        modules: "/etc/sallyport".to_owned(),
        image: input.text("image").map(str::to_owned),
        bootstrap: BootstrapSettings {
            listen: address("0.0.0.0", 8443),
            upstream: address("127.0.0.1", 8080),
            admin: address("127.0.0.1", 9901),
            certificates: "/etc/sallyport".to_owned(),
            discovery: None,
        },
        keeps_jwt_authn: false,
    };
    match render_files(&project, &settings) {
        Ok(rendering) => {
            let files: Vec<Value> =
                rendering.files.iter().map(|file| json!({"name": file.name, "text": file.text})).collect();
            Ok(json!({"files": files, "notes": rendering.notes}))
        }
        Err(RenderError::Refused(findings)) => Ok(faults(findings, &project)),
        Err(RenderError::WrongUse(message)) => Err(message),
    }
}
