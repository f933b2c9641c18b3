//! Filters that are called by the name of another filter than the module that they run.

use crate::finding::Finding;
use crate::lints::{Lint, Linter, warning};

pub(super) const WRONG_MODULE: Lint = Lint {
    code: "wrong-module",
    title: "A filter runs the module of another filter than its name says",
    fix: "write the path of the module that is meant, or the name of its filter",
};

pub(super) fn lint(linter: &Linter<'_>) -> Vec<Finding> {
    let misnamed = linter.project.plugins().iter().filter_map(|plugin| Some((plugin, plugin.misnamed?)));
    let finding = |(plugin, (span, called)): (&crate::plugin::Plugin, (_, crate::settings::Filter))| {
        let message = format!(
            "this is the module of {}, and the filter is called {}: Envoy runs the module, which reads the configuration",
            plugin.filter.name(),
            called.name()
        );
        warning(WRONG_MODULE, span, message, WRONG_MODULE.fix)
    };
    misnamed.map(finding).collect()
}
