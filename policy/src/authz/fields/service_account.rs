//! `source.serviceAccounts`: the namespace and the service account that the peer's SPIFFE ID names.

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

use crate::authz::engine::field::{AnyFieldValues, FieldIndex, FieldValues, MatchField};
use crate::authz::fields::peer_index::PeerIndex;
use crate::authz::fields::reader::{ConditionReader, FieldContext, FieldReader};
use crate::collections::map::OrderedMap;
use crate::config::error_code::ErrorCode;
use crate::config::reader::ConfigNode;
use crate::config::string_list::read_values;
use crate::identity::spiffe_id::SpiffeId;
use crate::matcher::value_ids::{Matched, ValueId};

/// Istio's limit on `serviceAccounts` (istio/api `security/v1beta1/authorization_policy.proto`).
const MAX_SERVICE_ACCOUNTS: usize = 16;

/// The most characters that Istio takes (istio/api `security/v1beta1/authorization_policy.proto`).
const MAX_LENGTH: usize = 320;

/// A service account, written `namespace/name`, in any trust domain.
///
/// Istio turns it into `spiffe://.+/ns/<namespace>/(.+/|)sa/<name>(/.+)?` (Istio 1.31,
/// `pilot/pkg/security/authz/model/generator.go`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ServiceAccount(String);

impl ServiceAccount {
    /// Parses `namespace/name`, or `name` in the namespace of the policy where it has one.
    pub(crate) fn parse(text: &str, namespace: Option<&str>) -> Result<Self, String> {
        if text.contains('*') {
            return Err(format!(
                "bad service account `{text}`: Istio takes no star here, use principals or namespaces"
            ));
        }
        let good = |part: &str| {
            !matches!(part, "" | "." | "..")
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        };
        let whole = match (text.split_once('/'), namespace) {
            (Some(_), _) => text.to_owned(),
            (None, Some(namespace)) => format!("{namespace}/{text}"),
            (None, None) => {
                return Err(format!(
                    "bad service account `{text}`: write its namespace before it, as in `shop/{text}`"
                ));
            }
        };
        match whole.split_once('/') {
            Some((namespace, name)) if good(namespace) && good(name) && whole.len() <= MAX_LENGTH => Ok(Self(whole)),
            _ => Err(format!("bad service account `{text}`: expected namespace/name, as in `shop/web`")),
        }
    }
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) struct Index(OrderedMap<Box<[u8]>, ValueId>);

impl Index {
    pub(crate) fn new(accounts: impl Iterator<Item = (ServiceAccount, ValueId)>) -> Self {
        Self(accounts.map(|(account, id)| (account.0.into_bytes().into(), id)).collect())
    }
}

impl PeerIndex for Index {
    fn lookup_id(&self, id: &SpiffeId, matched: &mut Matched) {
        for account in accounts(id) {
            matched.extend(self.0.get(account.as_slice()).copied());
        }
    }
}

/// Returns each pair of the segment after a segment `ns` and the segment after a later `sa`; usually one.
fn accounts(id: &SpiffeId) -> impl Iterator<Item = Vec<u8>> {
    let segments = || id.principal().split('/');
    let marked = move |marker: &'static str| {
        segments().zip(segments().skip(1)).enumerate().filter(move |(_, (segment, _))| *segment == marker)
    };
    // The first segment is the trust domain.
    marked("ns").filter(|(at, _)| *at > 0).flat_map(move |(at, (_, namespace))| {
        marked("sa")
            .filter(move |(later, _)| *later >= at + 2)
            .map(move |(_, (_, name))| format!("{namespace}/{name}").into_bytes())
    })
}

/// The service account of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceServiceAccount;

impl MatchField for SourceServiceAccount {
    type Pattern = ServiceAccount;

    const RANK: u8 = 12;
    const CONNECTION_SCOPED: bool = true;

    fn subject(&self) -> Cow<'static, str> {
        "service account".into()
    }

    fn index(self, patterns: Vec<(ServiceAccount, ValueId)>) -> Box<dyn FieldIndex> {
        Box::new(Index::new(patterns.into_iter()))
    }
}

/// `source.serviceAccounts` and `source.notServiceAccounts`.
pub(crate) const SOURCE: FieldReader = FieldReader { keys: ["serviceAccounts", "notServiceAccounts"], read };

/// `when` on `source.serviceAccount`.
pub(crate) const CONDITION: ConditionReader = ConditionReader { key: "source.serviceAccount", read };

fn read(node: &ConfigNode<'_>, context: &FieldContext<'_>) -> Option<Rc<dyn AnyFieldValues>> {
    let accounts = read_values(node, |text| ServiceAccount::parse(text, context.namespace))?;
    if accounts.len() > MAX_SERVICE_ACCOUNTS {
        node.error_as(
            ErrorCode::LimitExceeded,
            format!("has {} service accounts, Istio's limit is {MAX_SERVICE_ACCOUNTS}; use principals", accounts.len()),
        );
        return None;
    }
    Some(FieldValues::shared(SourceServiceAccount, accounts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear_reading::Matches;

    #[test]
    fn the_index_agrees_with_istios_expression() {
        let accounts: Vec<_> = ["shop/web", "shop/x", "ns/ns", "sa/sa", "a/b"]
            .into_iter()
            .flat_map(|text| ServiceAccount::parse(text, None))
            .collect();
        let index = Index::new(accounts.iter().cloned().zip((0..).map(ValueId)));
        let mut met = 0;
        for uri in [
            "spiffe://cluster.local/ns/shop/sa/web",
            "spiffe://other/ns/shop/sa/web",
            "spiffe://other/ns/shop/team/sa/web/v1",
            "spiffe://other/team/ns/shop/sa/web",
            "spiffe://other/ns/shop/sa/web2",
            "spiffe://other/ns/shop",
            "spiffe://ns/shop/sa/web",
            "spiffe://td/ns/ns/sa/ns",
            "spiffe://td/ns/sa/sa/sa/sa/x",
            "spiffe://td/ns/sa/sa",
            "spiffe://td/sa/b/ns/a",
        ] {
            let Ok(id) = SpiffeId::parse(uri.as_bytes()) else { continue };
            let expected: Vec<_> = (0..)
                .map(ValueId)
                .zip(&accounts)
                .filter(|(_, account)| account.matches(&id))
                .map(|(number, _)| number)
                .collect();
            let mut found = Matched::new();
            index.lookup_id(&id, &mut found);
            found.sort();
            found.dedup();
            assert_eq!(found.to_vec(), expected, "{uri}");
            met += expected.len();
        }
        assert!(met >= 6, "{met} matches only");
    }

    #[test]
    fn what_is_refused_says_what_to_write() {
        let rows = [
            ("web", None, "bad service account `web`: write its namespace before it, as in `shop/web`"),
            ("shop/*", None, "bad service account `shop/*`: Istio takes no star here, use principals or namespaces"),
            ("shop/..", None, "bad service account `shop/..`: expected namespace/name, as in `shop/web`"),
            ("shop/a/b", None, "bad service account `shop/a/b`: expected namespace/name, as in `shop/web`"),
        ];
        for (text, namespace, message) in rows {
            assert_eq!(ServiceAccount::parse(text, namespace).err().as_deref(), Some(message));
        }
        assert_eq!(
            ServiceAccount::parse("web", Some("shop")).map(|account| account.to_string()).as_deref(),
            Ok("shop/web")
        );
    }
}
