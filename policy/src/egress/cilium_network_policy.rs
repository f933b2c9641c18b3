//! CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy (`cilium.io/v2`): the outside hosts that they allow, by
//! `toFQDNs` and `serverNames`.
//!
//! What else they allow is passed over, because what is not opened is closed here. What they deny is refused, because
//! what is not closed would be open.

pub(crate) mod egress_rule;
pub(crate) mod selector;
pub(crate) mod to_ports;

use crate::authz::policy_name::PolicyName;
use crate::config::error_code::ErrorCode;
use crate::config::reader::{ConfigNode, Object};
use crate::egress::cilium_network_policy::egress_rule::read_egress;
use crate::egress::cilium_network_policy::selector::{PrincipalTest, Selection, read_selector};
use crate::egress::context::EgressContext;
use crate::egress::entry::Entry;
use crate::egress::load_notes::{LoadNotes, Topic};

/// The most items of a list.
const MAX_ITEMS: usize = 1_000_000;

/// Hosts that workloads may reach.
pub(crate) struct CiliumNetworkPolicy {
    pub(crate) name: PolicyName,
    pub(crate) specs: Vec<Spec>,
}

/// One of the rules of a policy: for whom, and what it opens.
pub(crate) struct Spec {
    pub(crate) tests: Vec<PrincipalTest>,
    pub(crate) entries: Vec<Entry>,
}

impl CiliumNetworkPolicy {
    /// Reads the object of a resource whose kind is known. One without a namespace is for the whole cluster.
    pub(crate) fn read(
        resource: &Object<'_>,
        name: &PolicyName,
        context: &EgressContext<'_>,
        notes: &mut LoadNotes,
    ) -> Option<Self> {
        // Where Cilium's own examples have it; its API server drops it.
        resource.optional("description");
        let spec = resource.optional("spec");
        let specs = resource.optional("specs");
        if spec.is_none() && specs.is_none() {
            resource.error_as(
                ErrorCode::MissingField,
                "has neither spec nor specs, write endpointSelector and egress under spec",
            );
        }
        let mut read = SpecReader { name, context, notes, specs: Vec::new() };
        let mut complete = spec.is_none_or(|node| read.add(&node).is_some());
        if let Some(specs) = &specs {
            for item in specs.items_up_to(MAX_ITEMS)? {
                complete &= read.add(&item).is_some();
            }
        }
        complete.then_some(Self { name: name.clone(), specs: read.specs })
    }
}

/// Reader of the specs of one policy.
struct SpecReader<'r, 'c> {
    name: &'r PolicyName,
    context: &'r EgressContext<'c>,
    notes: &'r mut LoadNotes,
    specs: Vec<Spec>,
}

impl SpecReader<'_, '_> {
    fn add(&mut self, node: &ConfigNode<'_>) -> Option<()> {
        let spec = node.object()?;
        if let Some(description) = spec.optional("description") {
            description.text();
        }
        for key in ["labels", "log"] {
            spec.optional(key);
        }
        for key in ["ingress", "ingressDeny"] {
            if spec.optional(key).is_some() {
                self.notes.pass_over_cilium(key);
            }
        }
        if let Some(denied) = spec.optional("egressDeny")
            && denied.items()?.next().is_some()
        {
            denied.error_as(ErrorCode::Unsupported, "denies, and what this filter left out of it would be open; write rules with action: DENY for hosts, keep the rest in the cluster and remove it here");
        }
        if let Some(node) = spec.optional("enableDefaultDeny")
            && !read_default_deny(&node)?
        {
            self.notes.add(Topic::DefaultDenyOff, self.name);
        }
        let selection = self.read_selection(node, &spec);
        let egress = match (spec.optional("egress"), &selection) {
            // Machines may use what no workload does.
            (_, Some(Selection::Nodes)) | (None, _) => Some(Vec::new()),
            (Some(node), _) => self.read_egress(&node),
        };
        spec.finish();
        self.select(selection?, egress?);
        Some(())
    }

    fn read_selection(&mut self, node: &ConfigNode<'_>, spec: &Object<'_>) -> Option<Selection> {
        match (spec.optional("endpointSelector"), spec.optional("nodeSelector")) {
            (Some(endpoints), None) => read_selector(&endpoints, self.name.namespace(), self.context),
            (None, Some(_)) => Some(Selection::Nodes),
            (Some(_), Some(_)) | (None, None) => {
                node.error("needs one of endpointSelector and nodeSelector: whom it is for");
                None
            }
        }
    }

    fn read_egress(&mut self, node: &ConfigNode<'_>) -> Option<Vec<Entry>> {
        let items = node.items_up_to(MAX_ITEMS)?;
        let repeated = &self.context.repeated_names;
        let rules: Vec<_> = items.map(|item| read_egress(&item, self.name, self.notes, repeated)).collect();
        Some(rules.into_iter().collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Adds a spec if it opens something to someone.
    fn select(&mut self, selection: Selection, entries: Vec<Entry>) {
        match selection {
            Selection::Nodes => self.notes.pass_over_cilium("nodeSelector"),
            _ if entries.is_empty() => {}
            Selection::Principals(tests) => self.specs.push(Spec { tests, entries }),
            Selection::Nobody => self.notes.add(Topic::PicksNobody, self.name),
        }
    }
}

/// Returns false where what no policy allows is left open.
fn read_default_deny(node: &ConfigNode<'_>) -> Option<bool> {
    let object = node.object()?;
    object.optional("ingress");
    let egress = object.optional("egress").map_or(Some(true), |node| node.bool());
    object.finish();
    egress
}
