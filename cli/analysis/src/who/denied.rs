//! Access that an ALLOW rule gives and a DENY rule takes back.

use crate::lints::cover::{covers_list, covers_pattern};
use crate::lints::policy::{blocks, is_http_field, texts};
use crate::tree::Node;

/// Access of one caller by one operation of an ALLOW rule.
pub(super) struct Given<'n> {
    pub(super) source: Option<&'n Node>,
    /// Value of the source by which the caller is listed, with its key.
    pub(super) listed: Option<(&'n str, &'n str)>,
    /// SPIFFE ID of the caller that is asked about, without its scheme.
    pub(super) caller: Option<&'n str>,
    pub(super) operation: Option<&'n Node>,
    pub(super) conditions: &'n [Node],
    /// True for a connection, of which a rule for it does not compare what only requests have.
    pub(super) is_connection: bool,
}

/// Access that is taken back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Nothing: no request that is given matches the rule.
    Nothing,
    /// Everything.
    All,
    /// Part that these texts describe, one for each source and operation of the rule.
    Part(Vec<String>),
}

/// Relation of a field of a DENY rule to the access.
enum Meets {
    Never,
    Always,
    Sometimes(String),
}

/// Returns what a DENY rule takes back. Where that cannot be told it is a part.
pub(super) fn taken(deny: &Node, given: &Given<'_>) -> Taken {
    let sources = or_any(blocks(deny, "from", "source").collect());
    let operations = or_any(blocks(deny, "to", "operation").collect());
    let conditions = deny.get("when").map_or(&[][..], Node::items);
    let is_compared = |key: &&str| !(given.is_connection && is_http_field(key));
    let is_condition = |condition: &&Node| condition.text_at(&["key"]).is_none_or(|key| is_compared(&key));
    let mut parts = Vec::new();
    for source in &sources {
        for operation in &operations {
            let of_source = fields(*source).filter(is_compared).map(|key| meets(*source, key, &given.values(key)));
            let of_operation =
                fields(*operation).filter(is_compared).map(|key| meets(*operation, key, &given.values(key)));
            let of_conditions =
                conditions.iter().filter(is_condition).map(|condition| meets_condition(condition, given.conditions));
            let mut described = Vec::new();
            let mut is_possible = true;
            for field in of_source.chain(of_operation).chain(of_conditions) {
                match field {
                    Meets::Never => is_possible = false,
                    Meets::Always => {}
                    Meets::Sometimes(text) => described.push(text),
                }
            }
            match (is_possible, described.is_empty()) {
                (false, _) => {}
                (true, true) => return Taken::All,
                (true, false) => parts.push(described.join(" with ")),
            }
        }
    }
    if parts.is_empty() { Taken::Nothing } else { Taken::Part(parts) }
}

fn or_any(blocks: Vec<&Node>) -> Vec<Option<&Node>> {
    if blocks.is_empty() { vec![None] } else { blocks.into_iter().map(Some).collect() }
}

fn fields(block: Option<&Node>) -> impl Iterator<Item = &str> {
    block.map_or(&[][..], Node::entries).iter().map(|entry| entry.key.as_str())
}

/// Returns the key without its `not`.
fn positive(key: &str) -> (String, bool) {
    match key.strip_prefix("not") {
        Some(rest) if rest.starts_with(|first: char| first.is_ascii_uppercase()) => {
            let (first, rest) = rest.split_at(1);
            (first.to_ascii_lowercase() + rest, true)
        }
        _ => (key.to_owned(), false),
    }
}

impl<'n> Given<'n> {
    /// Returns the values that a field is known to be among; any if there are none.
    fn values(&self, key: &str) -> Vec<&'n str> {
        let (key, _) = positive(key);
        let listed = |key: &str| self.listed.filter(|(known, _)| *known == key).map(|(_, value)| value);
        let of_principal = |principal: &'n str| {
            let (_, path) = principal.split_once("/ns/")?;
            let (namespace, account) = path.split_once("/sa/")?;
            (!namespace.contains(['*', '/']) && !account.is_empty()).then_some(namespace)
        };
        match key.as_str() {
            "principals" if self.caller.is_some() => self.caller.into_iter().collect(),
            "namespaces" if self.caller.is_some() => self.caller.and_then(of_principal).into_iter().collect(),
            "namespaces" if listed("principals").is_some() => {
                listed("principals").and_then(of_principal).into_iter().collect()
            }
            key if listed(key).is_some() => listed(key).into_iter().collect(),
            key => [self.source, self.operation].into_iter().flatten().flat_map(|block| texts(block, key)).collect(),
        }
    }
}

fn meets(block: Option<&Node>, key: &str, given: &[&str]) -> Meets {
    let denied = block.map(|block| texts(block, key)).unwrap_or_default();
    let (name, is_negated) = positive(key);
    let is_covered = !given.is_empty() && covers_list(&denied, given);
    let apart = |denied: &&&str| !given.is_empty() && given.iter().all(|given| are_apart(&name, denied, given));
    let touching: Vec<&str> = denied.iter().filter(|denied| !apart(denied)).copied().collect();
    match (is_negated, is_covered, touching.is_empty()) {
        (false, true, _) | (true, false, true) => Meets::Always,
        (false, false, true) | (true, true, _) => Meets::Never,
        (false, false, false) => Meets::Sometimes(format!("{name} {}", touching.join(" or "))),
        (true, false, false) => Meets::Sometimes(format!("{name} other than {}", denied.join(" or "))),
    }
}

fn meets_condition(denied: &Node, given: &[Node]) -> Meets {
    let key = denied.text_at(&["key"]).unwrap_or_default();
    let (values, nots) = (texts(denied, "values"), texts(denied, "notValues"));
    let is_same = given.iter().any(|given| {
        let known = texts(given, "values");
        given.text_at(&["key"]) == Some(key) && !known.is_empty() && nots.is_empty() && covers_list(&values, &known)
    });
    if is_same {
        return Meets::Always;
    }
    let text =
        |word: &str, values: &[&str]| (!values.is_empty()).then(|| format!("{key} {word}{}", values.join(" or ")));
    let texts: Vec<String> = [text("", &values), text("other than ", &nots)].into_iter().flatten().collect();
    Meets::Sometimes(texts.join(" with "))
}

/// Reports whether no value is matched by both patterns of a field. False negatives are possible.
fn are_apart(field: &str, one: &str, other: &str) -> bool {
    match field {
        "methods" => are_patterns_apart(&one.to_ascii_uppercase(), &other.to_ascii_uppercase()),
        // A path has several spellings, which only the filter knows.
        "paths" if [one, other].iter().any(|path| path.contains(['%', '\\', ';']) || path.contains("//")) => false,
        "paths" | "ports" | "namespaces" | "requestPrincipals" => are_patterns_apart(one, other),
        // The own trust domain has several names.
        "principals" => match one.split_once('/').zip(other.split_once('/')) {
            Some(((_, one), (_, other))) => are_patterns_apart(one, other),
            None => false,
        },
        // A host is also compared without its port and without a final dot.
        "hosts" => are_patterns_apart(&bare_host(one), &bare_host(other)),
        _ => false,
    }
}

fn bare_host(host: &str) -> String {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn are_patterns_apart(one: &str, other: &str) -> bool {
    if covers_pattern(one, other) || covers_pattern(other, one) {
        return false;
    }
    let ends = |pattern: &str| {
        let first = pattern.find(['*', '{'])?;
        let last = pattern.rfind(['*', '}']).unwrap_or(first);
        Some((pattern.get(..first)?.to_owned(), pattern.get(last + 1..)?.to_owned()))
    };
    match (ends(one), ends(other)) {
        (None, None) => one != other,
        (Some((start, end)), None) => !(other.starts_with(&start) && other.ends_with(&end)),
        (None, Some((start, end))) => !(one.starts_with(&start) && one.ends_with(&end)),
        (Some((start, end)), Some((other_start, other_end))) => {
            let is_start = start.starts_with(&other_start) || other_start.starts_with(&start);
            let is_end = end.ends_with(&other_end) || other_end.ends_with(&end);
            !(is_start && is_end)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Project, Settings, who};

    const FRONTEND: &str = "{from: [{source: {principals: [cluster.local/ns/shop/sa/frontend]}}], to: [{operation: {methods: [GET], paths: [/orders/*], hosts: [orders.shop]}}]}";

    /// Returns the conditions of the one row that `allow` gives under `deny`; `None` if nothing is left of it.
    fn left(allow: &str, deny: &str, from: Option<&str>) -> Option<String> {
        let policy = |name: &str, action: &str, rule: &str| {
            format!(
                "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{action: {action}, rules: [{rule}]}}\n---\n"
            )
        };
        let mut project = Project::new(Settings::default());
        project.add("policies.yaml", &(policy("allow", "ALLOW", allow) + &policy("deny", "DENY", deny)));
        assert!(project.findings().is_empty(), "{:?}", project.findings());
        who(&project, from).first().map(|row| row.conditions.join("; "))
    }

    #[test]
    fn what_a_denial_takes_of_a_row_is_told() {
        for (deny, expected) in [
            ("{}", None),
            ("{to: [{operation: {methods: [GET, POST]}}]}", None),
            ("{to: [{operation: {methods: [get]}}]}", Some("not methods get (DENY shop/deny)")),
            ("{to: [{operation: {methods: [POST]}}]}", Some("")),
            (
                "{to: [{operation: {paths: [/admin, /orders/drafts/*]}}]}",
                Some("not paths /orders/drafts/* (DENY shop/deny)"),
            ),
            ("{to: [{operation: {paths: [/%6frders/1]}}]}", Some("not paths /%6frders/1 (DENY shop/deny)")),
            ("{to: [{operation: {paths: ['/{*}/drafts']}}]}", Some("not paths /{*}/drafts (DENY shop/deny)")),
            ("{to: [{operation: {notPaths: ['/orders/*']}}]}", Some("")),
            ("{to: [{operation: {notPaths: [/orders/1]}}]}", Some("not paths other than /orders/1 (DENY shop/deny)")),
            ("{to: [{operation: {hosts: ['orders.shop:8443']}}]}", Some("not hosts orders.shop:8443 (DENY shop/deny)")),
            ("{to: [{operation: {hosts: [bank.shop]}}]}", Some("")),
            ("{from: [{source: {notNamespaces: [shop, billing]}}]}", Some("")),
            ("{from: [{source: {namespaces: [shop]}}]}", None),
            ("{from: [{source: {principals: ['*/sa/backend']}}]}", Some("")),
            (
                "{from: [{source: {ipBlocks: [10.0.0.0/8]}}], to: [{operation: {ports: ['80']}}]}",
                Some("not ipBlocks 10.0.0.0/8 with ports 80 (DENY shop/deny)"),
            ),
            (
                "{when: [{key: 'request.headers[x-env]', values: [test]}]}",
                Some("not request.headers[x-env] test (DENY shop/deny)"),
            ),
        ] {
            assert_eq!(left(FRONTEND, deny, None).as_deref(), expected, "{deny}");
        }
    }

    #[test]
    fn the_caller_that_is_asked_about_counts() {
        let allow = "{from: [{source: {namespaces: [shop, dev]}}]}";
        let deny = "{from: [{source: {principals: [cluster.local/ns/shop/sa/old]}}]}";
        assert_eq!(left(allow, deny, Some("spiffe://cluster.local/ns/shop/sa/old")), None);
        assert_eq!(left(allow, deny, Some("spiffe://cluster.local/ns/shop/sa/new")).as_deref(), Some(""));
        assert_eq!(
            left(allow, deny, None).as_deref(),
            Some("not principals cluster.local/ns/shop/sa/old (DENY shop/deny)")
        );
    }
}
