//! The lines for the log about a configuration: what applies here, what does not, and why.

use crate::authz::identity_authz::Configuration;
use crate::authz::mtls_mode::Applicable;
use crate::authz::policy_name::PolicyName;
use crate::authz::resources::authorization_policy::AuthorizationPolicy;
use crate::authz::resources::workload::{Target, Workload};
use crate::authz::stage::Stage;
use crate::config::enforcement_mode::EnforcementMode;
use crate::config::load_report::LoadReport;
use crate::config::passed_over::PassedOver;

/// The most resources that are named in one line.
const MAX_NAMED: usize = 10;

/// The most namespaces that are named in one line.
const MAX_NAMESPACES: usize = 5;

impl Configuration {
    /// Writes the report on what was loaded, with the warnings about targets.
    pub(super) fn load_report(
        &self,
        applicable: &[&AuthorizationPolicy],
        mutual_tls: &Applicable<'_>,
        warnings: &[String],
        passed_over: PassedOver,
    ) -> LoadReport {
        let mut report = LoadReport::new(self.summary(applicable, mutual_tls.count), passed_over);
        if let Some(line) = self.not_applicable() {
            report.note(&line);
        }
        for line in warnings.iter().chain(&mutual_tls.warnings) {
            report.warn(line);
        }
        if let Some(line) = self.without_workload() {
            report.warn(&line);
        }
        report
    }

    /// Returns one line: resources, how many apply here, and which are enforced or only reported.
    fn summary(&self, applicable: &[&AuthorizationPolicy], peer_authentications: usize) -> String {
        let resources = self.loaded.policies.len() + self.loaded.peer_authentications.len();
        let here = applicable.len() + if self.custom.stage == Stage::Custom { 0 } else { peer_authentications };
        let (enforced, reported) = match self.mode {
            EnforcementMode::Report => (0, here),
            EnforcementMode::Enforce => {
                let dry_run = applicable.iter().filter(|policy| policy.mode == EnforcementMode::Report).count();
                (here - dry_run, dry_run)
            }
        };
        let mode = if self.mode == EnforcementMode::Report { ", mode: report, nothing is denied" } else { "" };
        let (omitted, validation) = (self.path_readings.left_out(), self.certificate_validation.note());
        let custom = self.custom.note(applicable);
        format!(
            "loaded {resources} resources, {here} apply here, {enforced} enforced, {reported} only reported{mode}{omitted}{validation}{custom}"
        )
    }

    /// Calls `look` with the name and the target of each resource.
    fn each_target<'c>(&'c self, look: &mut dyn FnMut(&'c PolicyName, &'c Target)) {
        self.loaded.policies.iter().for_each(|policy| look(&policy.name, &policy.target));
        self.loaded.peer_authentications.iter().for_each(|one| look(&one.name, &one.target));
    }

    /// Names the resources that are for other workloads, and why they are.
    fn not_applicable(&self) -> Option<String> {
        let workload = self.workload.as_ref()?;
        let (mut count, mut namespaces, mut parts) = (0, Names::default(), Vec::new());
        self.each_target(&mut |name, target| {
            let namespace = name.namespace().unwrap_or_default();
            if !target.is_for_others(namespace, &self.root_namespace, workload) {
                return;
            }
            count += 1;
            if namespace != workload.namespace && namespace != self.root_namespace {
                namespaces.add(namespace);
            } else if parts.len() < MAX_NAMED {
                parts.push(reason(name, target, workload));
            }
        });
        let unnamed = count - namespaces.count - parts.len();
        if namespaces.count > 0 {
            parts.push(format!("{} of {}", namespaces.count, namespaces.describe()));
        }
        if unnamed > 0 {
            parts.push(format!("{unnamed} more"));
        }
        (count > 0).then(|| format!("{count} do not apply here: {}", parts.join("; ")))
    }

    /// The warning that policies for different workloads add up, where they do.
    fn without_workload(&self) -> Option<String> {
        if self.workload.is_some() {
            return None;
        }
        let (mut namespaces, mut selects) = (Names::default(), false);
        self.each_target(&mut |name, target| {
            selects |= *target != Target::All;
            if let Some(namespace) = name.namespace().filter(|namespace| *namespace != self.root_namespace) {
                namespaces.add(namespace);
            }
        });
        (selects || namespaces.is_several()).then(|| {
            format!(
                "no workload is set, so the policies of {} all apply here, whatever they select, and what one of them allows is allowed; write workload: {{namespace, labels}}",
                namespaces.describe()
            )
        })
    }
}

/// A resource in reach of the workload, and in what its target differs.
fn reason(name: &PolicyName, target: &Target, workload: &Workload) -> String {
    match target.mismatch(workload) {
        Some(difference) => format!("{name}: {difference}"),
        None => name.to_string(),
    }
}

/// Distinct namespaces, of which some are named.
#[derive(Default)]
struct Names {
    named: Vec<String>,
    more: bool,
    /// Number of resources of these namespaces.
    count: usize,
}

impl Names {
    fn add(&mut self, namespace: &str) {
        self.count += 1;
        if self.named.iter().any(|known| known == namespace) {
            return;
        }
        match self.named.len() < MAX_NAMESPACES {
            true => self.named.push(namespace.to_owned()),
            false => self.more = true,
        }
    }

    fn is_several(&self) -> bool {
        self.named.len() > 1
    }

    fn describe(&self) -> String {
        let namespaces = match self.named.len() {
            0 => return "the root namespace".to_owned(),
            1 => "the namespace",
            _ => "the namespaces",
        };
        let more = if self.more { " and others" } else { "" };
        format!("{namespaces} {}{more}", self.named.join(", "))
    }
}

#[cfg(test)]
mod tests;
