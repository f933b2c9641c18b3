//! Answers of the library as JSON, with places for the page to light up.

use sallyport_analysis::{
    Access, BootstrapSettings, Explanation, Layer, Place, RenderError, RenderSettings, Source, Span, formats,
    render as render_files, who,
};
use serde_json::{Value, json};

use crate::faults;
use crate::input::Input;

/// Returns an explanation as the command prints it, with `column`, and the place of the rule that came nearest.
pub(crate) fn explanation(explanation: &Explanation, sources: &[Source]) -> Value {
    let mut json = formats::json::explanation(explanation, sources);
    put_place(&mut json, explanation.span, sources);
    if let Some(nearest) = json.get_mut("nearest").filter(|nearest| nearest.is_object()) {
        put_place(nearest, explanation.nearest.as_ref().and_then(|nearest| nearest.span), sources);
    }
    json
}

/// Lists who may reach what as the command prints it, with the place of each rule, and whether it is of a dry run.
pub(crate) fn access(input: &Input) -> Result<Value, String> {
    let project = input.project()?;
    let enforced = who(&project, None);
    let key = |row: &Access| Access { conditions: Vec::new(), ..row.clone() };
    let known: Vec<Access> = enforced.iter().map(key).collect();
    let is_new = |row: &Access| !known.contains(&key(row));
    let dry: Vec<Access> = match input.has_dry_runs() {
        true => who(&input.project_as_enforced()?, None).into_iter().filter(is_new).collect(),
        false => Vec::new(),
    };
    let mut json = formats::json::access(&[enforced.as_slice(), dry.as_slice()].concat());
    let printed = json.get_mut("access").and_then(Value::as_array_mut);
    for (index, (printed, row)) in printed.into_iter().flatten().zip(enforced.iter().chain(&dry)).enumerate() {
        put_place(printed, row.span, project.sources());
        if let Some(object) = printed.as_object_mut() {
            object.insert("dryRun".to_owned(), json!(index >= enforced.len()));
        }
    }
    Ok(json)
}

fn put_place(json: &mut Value, span: Option<Span>, sources: &[Source]) {
    let place = span.and_then(|span| sources.get(span.source).map(|source| (source, source.position(span))));
    let (Some(object), Some((source, position))) = (json.as_object_mut(), place) else { return };
    object.insert("file".to_owned(), json!(source.name));
    object.insert("line".to_owned(), json!(position.line));
    object.insert("column".to_owned(), json!(position.column));
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
pub(crate) fn render(input: &Input) -> Result<Value, String> {
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
