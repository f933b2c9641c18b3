//! Parts of a configuration that this filter does not carry out, for the log at load.

use crate::authz::policy_name::PolicyName;
use crate::collections::map::OrderedMap;

/// The most names of one line.
const MAX_NAMES_SHOWN: usize = 8;

/// Names of resources that one line is about: their number and the first of them.
#[derive(Debug, Default)]
struct Named {
    count: usize,
    first: Vec<String>,
    last: Option<PolicyName>,
}

impl Named {
    /// Adds a resource, once where it is named several times in a row.
    fn add(&mut self, name: &PolicyName) {
        if self.last.as_ref() == Some(name) {
            return;
        }
        self.last = Some(name.clone());
        self.count += 1;
        if self.first.len() < MAX_NAMES_SHOWN {
            self.first.push(name.to_string());
        }
    }

    /// Returns `text` with the names after it; nothing where there are none.
    fn line(&self, text: &str) -> Option<String> {
        let more = match self.count - self.first.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        (self.count > 0).then(|| format!("{text}: {}{more}", self.first.join(", ")))
    }
}

/// Subjects of a line each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Topic {
    /// A ServiceEntry without `exportTo`, where that is its own namespace.
    OwnNamespace,
    /// `enableDefaultDeny: {egress: false}`.
    DefaultDenyOff,
    /// A selector that picks none of the listed workloads.
    PicksNobody,
    /// Egress to the world that names no host.
    WithoutHosts,
    /// Hosts beside a restriction that this filter cannot carry out.
    Restricted,
}

impl Topic {
    const ALL: [Self; 5] =
        [Self::OwnNamespace, Self::DefaultDenyOff, Self::PicksNobody, Self::WithoutHosts, Self::Restricted];

    /// Reports whether what the author allowed is not allowed here.
    fn is_warning(self) -> bool {
        matches!(self, Self::WithoutHosts | Self::Restricted | Self::PicksNobody)
    }

    fn text(self) -> &'static str {
        match self {
            Self::OwnNamespace => {
                "without exportTo a ServiceEntry is for its own namespace here, and for all in Istio, as with \
                 serviceEntryExport: all"
            }
            Self::DefaultDenyOff => "enableDefaultDeny leaves open what no policy allows, and here that is denied",
            Self::PicksNobody => {
                "the endpointSelector picks none of the workloads that are listed under workloads, so the policy applies \
                 to none"
            }
            Self::WithoutHosts => {
                "opens the world without naming hosts, which opens nothing here; list them in toFQDNs or serverNames"
            }
            Self::Restricted => {
                "allows hosts under rules of layer 7, a listener or authentication, which this filter does not carry \
                 out, so those hosts are not opened here"
            }
        }
    }
}

/// Parts that are left to others or open nothing, gathered while resources are read. Bounded: numbers, and a few names.
#[derive(Debug, Default)]
pub(crate) struct LoadNotes {
    topics: OrderedMap<Topic, Named>,
    /// ServiceEntries with keys for Envoy, and those keys.
    for_envoy: Named,
    envoy_keys: OrderedMap<&'static str, ()>,
    /// Numbers of what opens no outside host, by what it is.
    entry_parts: OrderedMap<&'static str, usize>,
    cilium_parts: OrderedMap<&'static str, usize>,
}

impl LoadNotes {
    /// Notes a resource under a topic.
    pub(crate) fn add(&mut self, topic: Topic, name: &PolicyName) {
        self.topics.entry_or_insert_with(topic, Named::default, |named| named.add(name));
    }

    /// Notes a key of a ServiceEntry that says where Envoy sends to or what it verifies.
    pub(crate) fn add_for_envoy(&mut self, key: &'static str, name: &PolicyName) {
        self.envoy_keys.insert(key, ());
        self.for_envoy.add(name);
    }

    /// Counts a ServiceEntry or a part of one that opens nothing.
    pub(crate) fn pass_over_entry(&mut self, what: &'static str) {
        self.entry_parts.entry_or_insert_with(what, || 0, |count| *count += 1);
    }

    /// Counts a part of a Cilium policy that is not about outside hosts.
    pub(crate) fn pass_over_cilium(&mut self, what: &'static str) {
        self.cilium_parts.entry_or_insert_with(what, || 0, |count| *count += 1);
    }

    /// Returns the lines about what is left to others.
    pub(crate) fn lines(&self) -> Vec<String> {
        let keys: Vec<_> = self.envoy_keys.entries().iter().map(|(key, ())| *key).collect();
        let for_envoy = format!(
            "hosts and ports of a ServiceEntry count here, the rest ({}) is for Envoy's clusters",
            keys.join(", ")
        );
        [
            self.for_envoy.line(&for_envoy),
            counted("ServiceEntries or parts of them that open nothing here", &self.entry_parts),
            counted("parts of Cilium policies that are not about outside hosts", &self.cilium_parts),
        ]
        .into_iter()
        .flatten()
        .chain(self.topic_lines(false))
        .collect()
    }

    /// Returns the lines about what its author allowed and this filter denies.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.topic_lines(true).collect()
    }

    fn topic_lines(&self, warnings: bool) -> impl Iterator<Item = String> {
        Topic::ALL
            .into_iter()
            .filter(move |topic| topic.is_warning() == warnings)
            .filter_map(|topic| self.topics.get(&topic)?.line(topic.text()))
    }
}

/// Returns a line that counts parts by what they are.
fn counted(what: &str, parts: &OrderedMap<&'static str, usize>) -> Option<String> {
    let parts: Vec<_> = parts.entries().iter().map(|(part, count)| format!("{count} {part}")).collect();
    (!parts.is_empty()).then(|| format!("passed over, {what}: {}", parts.join(", ")))
}
