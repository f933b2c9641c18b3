//! `sallyport render`.

mod metrics;
mod output;
mod watch;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use sallyport_analysis::{Asked, Place, Project, RenderError, RenderedFilter, Rendering, render, workloads};

use crate::arguments::RenderArguments;
use crate::choice::choose;
use crate::files::read_project;
use crate::{FOUND, NOTHING_FOUND, WRONG_USE, faults};

/// Renders the files, once or on each change.
///
/// # Errors
///
/// Wrong use, files that cannot be read, and folders that cannot be written.
pub(crate) fn run(arguments: &RenderArguments) -> Result<u8> {
    refuse_output_among_input(arguments)?;
    match arguments.watch {
        true => watch::run(arguments),
        false => match once(arguments, &mut output::Printed::default())? {
            Outcome::Rendered(_) => Ok(NOTHING_FOUND),
            Outcome::Refused => Ok(FOUND),
            Outcome::WrongUse => Ok(WRONG_USE),
        },
    }
}

/// Outcome of a rendering.
#[derive(Debug)]
enum Outcome {
    /// The files are written, with these filters.
    Rendered(Vec<RenderedFilter>),
    /// A filter refuses the files, and nothing is written.
    Refused,
    /// The call makes no sense.
    WrongUse,
}

/// Fails if what is written would be read the next time.
fn refuse_output_among_input(arguments: &RenderArguments) -> Result<()> {
    let Some(output) = &arguments.output else { return Ok(()) };
    let output = std::path::absolute(output)?;
    for folder in arguments.common.files.iter().filter(|path| path.is_dir()) {
        if output.starts_with(std::path::absolute(folder)?) {
            bail!("--output is in {}, whose files are read; name a folder beside it", folder.display());
        }
    }
    Ok(())
}

/// Renders the files. Where they are refused, nothing is written.
fn once(arguments: &RenderArguments, printed: &mut output::Printed) -> Result<Outcome> {
    let mut project = read_project(&arguments.common)?;
    if let Some(findings) = choose(&mut project, &arguments.choice, Asked::Rendering, None)? {
        faults::print(findings, &project, false);
        return Ok(Outcome::Refused);
    }
    pick_workload(&mut project)?;
    let settings = arguments.settings()?;
    match render(&project, &settings) {
        Ok(rendering) => {
            write(arguments, settings.place, &rendering, printed)?;
            Ok(Outcome::Rendered(rendering.filters))
        }
        Err(RenderError::Refused(findings)) => {
            faults::print(findings, &project, false);
            Ok(Outcome::Refused)
        }
        Err(RenderError::WrongUse(message)) => {
            anstream::eprintln!("sallyport: {message}");
            Ok(Outcome::WrongUse)
        }
    }
}

/// Takes the workload of the one manifest among the files, if no flag and no configuration file has one.
fn pick_workload(project: &mut Project) -> Result<()> {
    let found = workloads(project);
    match found.as_slice() {
        [] => {}
        // A workload has a manifest more than once where several deploy it.
        [(_, workload), others @ ..] if others.iter().all(|(_, other)| other == workload) => {
            project.set_workload(workload.clone());
        }
        several => {
            let names: Vec<String> = several.iter().map(|(name, workload)| format!("  {workload}  ({name})")).collect();
            bail!("several workloads are among the files, say which with --workload:\n{}", names.join("\n"));
        }
    }
    Ok(())
}

fn write(
    arguments: &RenderArguments,
    place: Place,
    rendering: &Rendering,
    printed: &mut output::Printed,
) -> Result<()> {
    let Some(folder) = &arguments.output else {
        let is_discovery = place == Place::Ecds;
        if is_discovery && rendering.files.len() > 1 {
            let names: Vec<&str> = rendering.files.iter().map(|file| file.name.as_str()).collect();
            bail!("{} files result ({}), name a folder with --output", names.len(), names.join(", "));
        }
        printed.print(&rendering.notes);
        let texts: Vec<&str> = rendering.files.iter().map(|file| file.text.as_str()).collect();
        anstream::print!("{}", texts.join("---\n"));
        return Ok(());
    };
    let mut lines = rendering.notes.clone();
    // Kubernetes hands the configuration over in another form, with another number.
    if matches!(place, Place::EnvoyFilter | Place::Ecds | Place::Bootstrap) {
        let line = |one: &RenderedFilter| format!("{}: gauge loaded {}", one.filter.name(), one.loaded);
        lines.extend(rendering.filters.iter().map(line));
    }
    if arguments.watch {
        lines.extend(missing_modules(arguments, &rendering.filters));
    }
    printed.print(&lines);
    output::write(folder, &rendering.files)
}

/// Returns a line for each module that is not where the files say, on the machine of the command.
fn missing_modules(arguments: &RenderArguments, filters: &[RenderedFilter]) -> Vec<String> {
    let folder = Path::new(&arguments.modules);
    let paths = filters.iter().map(|one| folder.join(one.filter.name()).with_extension("wasm"));
    let line = |path: PathBuf| {
        format!(
            "{} is not on this machine; where Envoy does not find it, it refuses the files: see --modules",
            path.display()
        )
    };
    paths.filter(|path| !path.exists()).map(line).collect()
}
