//! `sallyport who`.

use anyhow::{Result, anyhow, ensure};
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use sallyport_analysis::{
    Access, Asked, Layer, Severity, Source, assumed_trust_domain, check, formats, is_about_access, only_reports,
    spiffe_id, who,
};

use crate::arguments::{AnswerFormat, WhoArguments};
use crate::choice::choose;
use crate::files::read_project_for;
use crate::{NOTHING_FOUND, faults};

/// Width of a table where the terminal's is not known.
const WIDTH: u16 = 120;

/// Lists who may reach a workload, or what a caller may reach.
///
/// # Errors
///
/// Files that cannot be read, and neither a workload nor a caller.
pub(crate) fn run(arguments: &WhoArguments) -> Result<u8> {
    let common = &arguments.common;
    let is_about_workload = arguments.to.is_some() || common.settings.workload.is_some();
    let mut project = read_project_for(common, arguments.to.as_deref())?;
    let layer = arguments.layer.map(Layer::from);
    project.set_layer(layer.unwrap_or_default());
    if let Some(findings) = choose(&mut project, &arguments.choice, Asked::Access, layer)? {
        return Ok(faults::print(findings, &project, arguments.format == AnswerFormat::Json));
    }
    ensure!(
        is_about_workload || arguments.from.is_some() || project.has_chosen(),
        "name a workload by --to or a caller by --from"
    );
    let report = check(&project, &[]);
    let errors: Vec<_> = report.findings.into_iter().filter(|finding| finding.severity == Severity::Error).collect();
    let is_fault = |code: &str| !["missing-default-action", "undecided-target"].contains(&code) || project.has_chosen();
    if errors.iter().any(|finding| is_fault(&finding.code)) {
        return Ok(faults::print(errors, &project, arguments.format == AnswerFormat::Json));
    }
    // Nothing is said of it where the files are for many workloads.
    let undecided = errors.iter().find(|finding| finding.code == "missing-default-action");
    if let Some(finding) = undecided.filter(|_| is_about_workload) {
        anstream::eprintln!("{}", finding.message);
    }
    let contents = project.contents();
    ensure!(
        is_about_access(&contents),
        "the files have nothing for identity-authz, and who lists what AuthorizationPolicy allows"
    );
    if only_reports(&project, &contents) {
        anstream::eprintln!("the filter is in report mode, where everyone gets in: this is what its policies allow");
    }
    let from = arguments.from.as_deref().map(|from| spiffe_id(&project, from)).transpose();
    let from = from.map_err(|error| anyhow!("--from: {error}"))?;
    let rows = who(&project, from.as_deref());
    let assumed = arguments.from.as_deref().and_then(|name| assumed_trust_domain(&project, name));
    if let (true, Some(domain), Some(id)) = (rows.is_empty(), assumed, &from) {
        anstream::eprintln!(
            "--from is taken for {id}; for a caller of another trust domain than {domain} write the whole SPIFFE ID, or say \
             --trust-domain"
        );
    }
    match arguments.format {
        AnswerFormat::Json => anstream::println!("{:#}", formats::json::access(&rows)),
        AnswerFormat::Pretty if rows.is_empty() => anstream::println!("nobody, by any ALLOW rule"),
        AnswerFormat::Pretty => anstream::println!("{}", table(&rows, project.layer(&contents), project.sources())),
    }
    Ok(NOTHING_FOUND)
}

fn table(rows: &[Access], layer: Layer, sources: &[Source]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    let of_requests: &[&str] = if layer == Layer::Http { &["METHODS", "PATHS", "HOSTS"] } else { &[] };
    table.set_header([&["FROM", "TO"], of_requests, &["PORTS", "CONDITIONS", "RULE"]].concat());
    let list = |values: &[String]| if values.is_empty() { "any".to_owned() } else { values.join(", ") };
    for row in rows {
        let rule = match (&row.policy, row.rule) {
            (Some(policy), Some(rule)) => format!("{policy} rule {rule}"),
            _ => "default action".to_owned(),
        };
        let place = row.span.and_then(|span| {
            let source = sources.get(span.source)?;
            Some(format!(" ({}:{})", source.name, source.position(span).line))
        });
        let of_requests: Vec<String> = match layer {
            Layer::Http => [&row.methods, &row.paths, &row.hosts].map(|values| list(values)).into(),
            Layer::Tcp => Vec::new(),
        };
        let first = vec![row.from.clone(), row.to.clone()];
        let last = vec![list(&row.ports), row.conditions.join("; "), rule + &place.unwrap_or_default()];
        table.add_row([first, of_requests, last].concat());
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}
