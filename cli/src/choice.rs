//! Choice of the filter that answers, where the files carry configurations of filters.

use anyhow::{Result, bail};
use sallyport_analysis::{Asked, ChoiceError, FilterChoice, Finding, Layer, Project};

use crate::arguments::ChoiceArguments;

/// Chooses the configurations that are asked, and prints what is to be known of it. Returns the findings for which none can
/// be asked.
///
/// # Errors
///
/// A call that does not say which of several is meant.
pub(crate) fn choose(
    project: &mut Project,
    arguments: &ChoiceArguments,
    asked: Asked,
    layer: Option<Layer>,
) -> Result<Option<Vec<Finding>>> {
    let choice = FilterChoice { asked, at: arguments.filter_at.as_deref(), layer };
    match project.choose_filters(&choice) {
        Ok(notes) => notes.iter().for_each(|note| anstream::eprintln!("{note}")),
        Err(ChoiceError::WrongUse(message)) => bail!("{message}"),
        Err(ChoiceError::Refused(findings)) => return Ok(Some(findings)),
    }
    Ok(None)
}
