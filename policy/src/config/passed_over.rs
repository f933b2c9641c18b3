//! Resources of kinds that a filter does not read.

use crate::config::printable::printable_line;

/// The most kinds that are told apart.
const MAX_KINDS: usize = 20;

/// Counts of the resources of other kinds, in the order in which the kinds first came.
#[derive(Debug, Default)]
pub(crate) struct PassedOver {
    kinds: Vec<(String, Option<&'static str>, usize)>,
    /// Number of resources of further kinds.
    others: usize,
}

impl PassedOver {
    /// Counts a resource; `purpose` says who or what it is for, if that is known.
    pub(crate) fn add(&mut self, kind: &str, purpose: Option<&'static str>) {
        let is_room = self.kinds.len() < MAX_KINDS;
        match self.kinds.iter_mut().find(|(known, of, _)| known == kind && *of == purpose) {
            Some((_, _, count)) => *count += 1,
            None if is_room => self.kinds.push((kind.to_owned(), purpose, 1)),
            None => self.others += 1,
        }
    }

    /// Returns each kind with the number of its resources.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&str, usize)> {
        let others = (self.others > 0).then_some(("others", self.others));
        self.kinds.iter().map(|(kind, _, count)| (kind.as_str(), *count)).chain(others)
    }

    /// Returns one line that counts them, or `None` where there are none.
    pub(crate) fn describe(&self) -> Option<String> {
        let total: usize = self.counts().map(|(_, count)| count).sum();
        if total == 0 {
            return None;
        }
        let mut parts: Vec<_> = self
            .kinds
            .iter()
            .map(|(kind, purpose, count)| match purpose {
                Some(purpose) => format!("{count} {kind} ({purpose})"),
                None => format!("{count} {kind}"),
            })
            .collect();
        if self.others > 0 {
            parts.push(format!("{} of further kinds", self.others));
        }
        let resources = if total == 1 { "resource" } else { "resources" };
        let line = format!("passed over {total} {resources} that this filter does not read: {}", parts.join(", "));
        Some(printable_line(&line, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_counted_in_one_line_of_bounded_length() {
        let mut passed_over = PassedOver::default();
        assert_eq!(passed_over.describe(), None);
        for (kind, purpose) in
            [("Deployment", None), ("ServiceEntry", Some("for egress-allowlist")), ("Deployment", None)]
        {
            passed_over.add(kind, purpose);
        }
        assert_eq!(
            passed_over.describe().as_deref(),
            Some(
                "passed over 3 resources that this filter does not read: 2 Deployment, 1 ServiceEntry (for egress-allowlist)"
            )
        );
        for number in 0..1000 {
            passed_over.add(&format!("Kind{number}\n{}", "x".repeat(1000)), None);
        }
        let line = passed_over.describe().unwrap_or_default();
        assert!(line.len() < 2000 && line.ends_with("982 of further kinds") && !line.contains('\n'), "{line}");
        assert_eq!(passed_over.counts().map(|(_, count)| count).sum::<usize>(), 1003);
    }
}
