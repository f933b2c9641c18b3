//! Why a policy is not for a workload, in words.

use crate::authz::resources::workload::{Target, TargetKind, Workload};
use crate::config::reader::closest_match;

impl Target {
    /// Says in what a target in reach of the workload differs from it; `None` if it does not differ.
    pub(crate) fn mismatch(&self, workload: &Workload) -> Option<String> {
        match self {
            Self::All => None,
            Self::Labels(wanted) => {
                let own = workload.labels.as_ref()?;
                let mut differing: Vec<_> =
                    wanted.iter().filter(|(key, value)| own.get(*key) != Some(*value)).collect();
                // The first by name, so that each worker says the same.
                differing.sort_unstable();
                let (key, value) = differing.first()?;
                let has = match own.get(*key) {
                    Some(other) => format!("`{key}: {other}`"),
                    None => match closest_match(key, own.keys().map(String::as_str)) {
                        Some(like) => format!("no label `{key}`, but `{like}`"),
                        None => format!("no label `{key}`"),
                    },
                };
                Some(format!("its selector asks for `{key}: {value}`, this workload has {has}"))
            }
            Self::Objects(references) => {
                let reference = references.first()?;
                let kind = TargetKind::NAMED.iter().find(|(_, kind)| *kind == reference.kind)?.0;
                let own = match workload.own(reference.kind) {
                    Some(name) => format!("this is `{name}`"),
                    None => "this is none".to_owned(),
                };
                Some(format!("it is for the {kind} `{}`, {own}", reference.name))
            }
        }
    }
}
