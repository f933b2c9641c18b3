//! Content of the page: findings, answers to requests, who may reach what.

use sallyport_analysis::{Access, Project, check as check_files, formats, who};
use serde_json::{Value, json};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::answer;
use crate::input::Input;
use crate::kept;
use crate::place::put_place;
use crate::request::{Asked, explain_all, is_outbound};

/// Annotation of a policy that is reported and not enforced.
const DRY_RUN: &str = "istio.io/dry-run";

/// Returns the version of the command that this is the library of.
#[wasm_bindgen]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

/// Checks the files: `{"findings": [...], "passedOver": {...}}`, as `sallyport check --format json` prints it.
#[wasm_bindgen]
pub fn check(input: &str) -> String {
    answer(input, |input| {
        let project = input.project()?;
        if needs_all(&project, input) {
            return Ok(json!({"needs": "all"}));
        }
        Ok(formats::json::report(&check_files(&project, &[]), project.sources()))
    })
}

/// Answers `requests`: `{"answers": [...]}`, each as `sallyport explain --format json` prints it with `column` and the place
/// of `nearest` added; or `{"error": "...", "faults": [...]}` where there is no answer. Requests with `"way": "out"` are
/// those of `sallyport explain --egress`. `{"needs": "all"}` sends both calls to the module with `egress-allowlist`.
#[wasm_bindgen]
pub fn explain(input: &str) -> String {
    answer(input, |input| match needs_all(&*input.project()?, input) {
        true => Ok(json!({"needs": "all"})),
        false => Ok(json!({"answers": explain_all(input, Asked::All)})),
    })
}

/// Lists who may reach what: `{"access": [...]}`, as `sallyport who --format json` prints it with `file`, `line` and
/// `dryRun` added. Rules of a dry run, which the command leaves out, are listed too.
#[wasm_bindgen]
pub fn access(input: &str) -> String {
    answer(input, list_access)
}

/// Reports whether the call is for the module with `egress-allowlist` and the lints of manifests.
fn needs_all(project: &Project, input: &Input) -> bool {
    !cfg!(feature = "egress") && (project.needs_whole() || input.list("requests").iter().any(is_outbound))
}

/// Lists who may reach what as the command prints it, with the place of each rule, and whether it is of a dry run.
fn list_access(input: &Input) -> Result<Value, String> {
    let project = input.project()?;
    let enforced = who(&project, None);
    let key = |row: &Access| Access { conditions: Vec::new(), ..row.clone() };
    let known: Vec<Access> = enforced.iter().map(key).collect();
    let is_new = |row: &Access| !known.contains(&key(row));
    let dry: Vec<Access> = match input.files().iter().any(|(_, text)| text.contains(DRY_RUN)) {
        true => who(&project_as_enforced(input)?, None).into_iter().filter(is_new).collect(),
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

/// Returns the files as if nothing in them were a dry run: with an annotation of the same length, so that places stay.
fn project_as_enforced(input: &Input) -> Result<Project, String> {
    let files: Vec<(&str, String)> =
        input.files().into_iter().map(|(name, text)| (name, text.replace(DRY_RUN, "istio.io/dry-off"))).collect();
    let settings = input.settings(input.setting("workload"))?;
    Ok(kept::read(files.iter().map(|(name, text)| (*name, text.as_str())), settings))
}
