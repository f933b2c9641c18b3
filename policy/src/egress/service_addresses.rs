//! `spec.addresses` of ServiceEntries, and the host that an address leads to.
//!
//! Ambient workloads send a CONNECT to the address that DNS gave them for a host, not to the host.

use std::fmt;
use std::net::IpAddr;

use smallvec::SmallVec;

use crate::authz::fields::ip_block::{Index, IpBlock};
use crate::authz::policy_name::PolicyName;
use crate::collections::map::OrderedMap;
use crate::egress::authority::Host;
use crate::egress::host_pattern::DestinationPattern;
use crate::matcher::value_ids::{Matched, ValueId};

/// The most entries that are kept for a block: an address that two list leads nowhere, whatever others do.
const MAX_KEPT: usize = 2;

/// A ServiceEntry that lists addresses, and its host.
struct Listing {
    entry: PolicyName,
    host: Result<Host, WithoutHost>,
}

/// Reason why a ServiceEntry has not one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WithoutHost {
    /// It has several.
    Several,
    /// Its host is a pattern.
    Pattern,
}

/// Positions of [`Listing`]s.
type Positions = SmallVec<[u32; MAX_KEPT]>;

/// Collects addresses; [`finish`](Self::finish) makes the index.
#[derive(Default)]
pub(crate) struct ServiceAddressesBuilder {
    listings: Vec<Listing>,
    blocks: OrderedMap<IpBlock, Positions>,
}

/// Addresses and networks of ServiceEntries, for lookup.
pub(crate) struct ServiceAddresses {
    listings: Vec<Listing>,
    index: Index,
    /// The blocks by their [`ValueId`].
    blocks: Vec<(IpBlock, Positions)>,
}

/// Destination of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lead<'a> {
    /// No ServiceEntry lists it.
    Unlisted,
    /// One ServiceEntry lists it, and has this one host.
    Host(&'a PolicyName, &'a Host),
    /// These two list it.
    Ambiguous(&'a PolicyName, &'a PolicyName),
    /// The one that lists it has several hosts.
    SeveralHosts(&'a PolicyName),
    /// The host of the one that lists it is a pattern.
    Pattern(&'a PolicyName),
    /// The one that lists it lists a network.
    Network(&'a PolicyName),
}

impl ServiceAddressesBuilder {
    /// Adds the addresses of an entry.
    pub(crate) fn add(&mut self, entry: &PolicyName, hosts: &[DestinationPattern], blocks: Vec<IpBlock>) {
        if blocks.is_empty() {
            return;
        }
        let position = u32::try_from(self.listings.len()).unwrap_or(u32::MAX);
        self.listings.push(Listing { entry: entry.clone(), host: only_host(hosts) });
        for block in blocks {
            self.blocks.entry_or_insert_with(block, Positions::new, |listed_by| {
                if listed_by.len() < MAX_KEPT && listed_by.last() != Some(&position) {
                    listed_by.push(position);
                }
            });
        }
    }

    /// Makes the index.
    pub(crate) fn finish(self) -> ServiceAddresses {
        let blocks = self.blocks.into_entries();
        let index = Index::new(blocks.iter().map(|(block, _)| *block).zip((0..).map(ValueId)));
        ServiceAddresses { listings: self.listings, index, blocks }
    }
}

/// Returns the host that all items of a list name.
fn only_host(hosts: &[DestinationPattern]) -> Result<Host, WithoutHost> {
    match hosts {
        [first, rest @ ..] if rest.iter().any(|other| other != first) => Err(WithoutHost::Several),
        [DestinationPattern::Exactly(host), ..] => Ok(host.clone()),
        _ => Err(WithoutHost::Pattern),
    }
}

impl ServiceAddresses {
    /// Looks an address up.
    pub(crate) fn lead(&self, address: IpAddr) -> Lead<'_> {
        let mut matched = Matched::new();
        self.index.lookup(Some(address), &mut matched);
        let block = |ValueId(id): &ValueId| usize::try_from(*id).ok().and_then(|id| self.blocks.get(id));
        let blocks: SmallVec<[_; 2]> = matched.iter().filter_map(block).collect();
        let mut positions = blocks.iter().flat_map(|(_, listed_by)| listed_by);
        let Some(first) = positions.next() else { return Lead::Unlisted };
        let listing = |position: &u32| usize::try_from(*position).ok().and_then(|at| self.listings.get(at));
        let Some(Listing { entry, host }) = listing(first) else { return Lead::Unlisted };
        if let Some(other) = positions.find(|other| *other != first).and_then(listing) {
            return Lead::Ambiguous(entry, &other.entry);
        }
        match host {
            Err(WithoutHost::Several) => Lead::SeveralHosts(entry),
            Err(WithoutHost::Pattern) => Lead::Pattern(entry),
            Ok(_) if !blocks.iter().any(|(block, _)| block.is_address()) => Lead::Network(entry),
            Ok(host) => Lead::Host(entry, host),
        }
    }
}

/// Says where an address leads, after "this address" is the subject.
impl fmt::Display for Lead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlisted => f.write_str("no ServiceEntry lists this address"),
            Self::Host(entry, host) => write!(f, "ServiceEntry {entry} lists this address for {host}"),
            Self::Ambiguous(one, other) => {
                write!(f, "this address leads to no host, since ServiceEntries {one} and {other} list it")
            }
            Self::SeveralHosts(entry) => {
                write!(f, "this address leads to no host, since ServiceEntry {entry} lists it for several hosts")
            }
            Self::Pattern(entry) => {
                write!(f, "this address leads to no host, since the host of ServiceEntry {entry} is a pattern")
            }
            Self::Network(entry) => {
                write!(
                    f,
                    "this address leads to no host, since ServiceEntry {entry} lists a network and not the address"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::host_pattern::HostSyntax;

    fn addresses(entries: &[(&str, &[&str], &[&str])]) -> ServiceAddresses {
        let mut builder = ServiceAddressesBuilder::default();
        for (name, hosts, blocks) in entries {
            let host = |text: &&str| DestinationPattern::parse(text, HostSyntax::ServiceEntry, true).expect("a host");
            let hosts: Vec<_> = hosts.iter().map(host).collect();
            let blocks = blocks.iter().map(|text| IpBlock::parse(text).expect("a block")).collect();
            builder.add(&PolicyName::of_resource("shop", name), &hosts, blocks);
        }
        builder.finish()
    }

    #[test]
    fn rows() {
        let addresses = addresses(&[
            ("one", &["db.test"], &["240.0.0.1", "2001:db8::1", "::ffff:240.0.0.9", "240.0.0.8/32"]),
            ("same", &["same.test", "SAME.test."], &["240.0.0.2", "240.0.0.2", "240.0.0.2/31"]),
            ("several", &["a.test", "b.test"], &["240.0.0.4"]),
            ("pattern", &["*.a.test"], &["240.0.0.5"]),
            ("network", &["net.test"], &["192.0.2.0/24", "2001:db8:1::/48"]),
            ("twice", &["twice.test"], &["240.0.0.6", "192.0.2.7"]),
            ("again", &["twice.test"], &["240.0.0.6"]),
            ("third", &["other.test"], &["240.0.0.6"]),
            ("address", &["192.0.3.1"], &["240.0.0.7"]),
        ]);
        let several = "this address leads to no host, since ";
        let rows = [
            ("240.0.0.1", "ServiceEntry shop/one lists this address for db.test".to_owned()),
            ("::ffff:240.0.0.1", "ServiceEntry shop/one lists this address for db.test".to_owned()),
            ("2001:db8::1", "ServiceEntry shop/one lists this address for db.test".to_owned()),
            ("240.0.0.9", "ServiceEntry shop/one lists this address for db.test".to_owned()),
            ("240.0.0.8", "ServiceEntry shop/one lists this address for db.test".to_owned()),
            ("240.0.0.2", "ServiceEntry shop/same lists this address for same.test".to_owned()),
            ("240.0.0.7", "ServiceEntry shop/address lists this address for 192.0.3.1".to_owned()),
            ("240.0.0.3", format!("{several}ServiceEntry shop/same lists a network and not the address")),
            ("240.0.0.4", format!("{several}ServiceEntry shop/several lists it for several hosts")),
            ("240.0.0.5", format!("{several}the host of ServiceEntry shop/pattern is a pattern")),
            ("240.0.0.6", format!("{several}ServiceEntries shop/twice and shop/again list it")),
            ("192.0.2.9", format!("{several}ServiceEntry shop/network lists a network and not the address")),
            ("192.0.2.7", format!("{several}ServiceEntries shop/network and shop/twice list it")),
            ("240.0.0.10", "no ServiceEntry lists this address".to_owned()),
            ("2001:db8::2", "no ServiceEntry lists this address".to_owned()),
        ];
        for (address, expected) in rows {
            assert_eq!(addresses.lead(address.parse().expect("an address")).to_string(), expected, "{address}");
        }
    }
}
