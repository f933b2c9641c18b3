//! Table of prefixes, searched by one binary search.

use std::cmp::Ordering;

use crate::collections::bytes::{bytes_cmp, bytes_eq, first_eight};
use crate::collections::sort::sort_by;
use crate::matcher::value_ids::{Matched, ValueId};

/// Byte strings in order, each linked to the longest other entry that it starts with.
///
/// The entry just before a value's position is the value's longest prefix, or starts with it: every prefix
/// lies on the chain of links from there.
#[derive(Default)]
pub(crate) struct PrefixTable {
    entries: Vec<Entry>,
}

struct Entry {
    prefix: Box<[u8]>,
    /// Its first bytes, which decide most comparisons.
    key: u64,
    value: ValueId,
    shorter: Option<usize>,
}

impl PrefixTable {
    #[inline(never)]
    pub(crate) fn new(mut prefixes: Vec<(Box<[u8]>, ValueId)>) -> Self {
        sort_by(&mut prefixes, |(one, _), (other, _)| bytes_cmp(one, other));
        let mut entries: Vec<Entry> = Vec::with_capacity(prefixes.len());
        for (prefix, value) in prefixes {
            let mut shorter = entries.len().checked_sub(1);
            while let Some(entry) = shorter.and_then(|at| entries.get(at)) {
                if prefix.starts_with(&entry.prefix) {
                    break;
                }
                shorter = entry.shorter;
            }
            entries.push(Entry { key: first_eight(&prefix), prefix, value, shorter });
        }
        Self { entries }
    }

    /// The entry of a value, looked for where there are few.
    pub(crate) fn text(&self, value: ValueId) -> Option<&[u8]> {
        const LINEAR_SCAN_MAX: usize = 64;
        if self.entries.len() > LINEAR_SCAN_MAX {
            return None;
        }
        self.entries.iter().find(|entry| entry.value == value).map(|entry| &*entry.prefix)
    }

    /// Adds the entries that `value` starts with.
    pub(crate) fn lookup(&self, value: &[u8], matched: &mut Matched) {
        if self.entries.is_empty() {
            return;
        }
        let at = self.position(first_eight(value), &|prefix| bytes_cmp(prefix, value).is_le());
        let common = |prefix: &[u8]| match value.get(..prefix.len()) {
            Some(start) if bytes_eq(start, prefix) => prefix.len(),
            _ => common_bytes(prefix.iter(), value.iter()),
        };
        self.add_chain(at, common, 0, matched);
    }

    /// The last entry whose key is lower than that of a value, or the same and for which `is_le` holds.
    fn position(&self, key: u64, is_le: &dyn Fn(&[u8]) -> bool) -> Option<usize> {
        let is_before = |entry: &Entry| match entry.key.cmp(&key) {
            Ordering::Equal => is_le(&entry.prefix),
            ordering => ordering.is_lt(),
        };
        self.entries.partition_point(is_before).checked_sub(1)
    }

    /// Adds those of the entry at `at` and the shorter ones that it begins with that have `least` bytes or more, and no
    /// more than the first one has in common with the value.
    fn add_chain(
        &self,
        mut at: Option<usize>,
        common: impl FnOnce(&[u8]) -> usize,
        least: usize,
        matched: &mut Matched,
    ) {
        let Some(first) = at.and_then(|at| self.entries.get(at)) else { return };
        let common = common(&first.prefix);
        while let Some(entry) = at.and_then(|at| self.entries.get(at)) {
            if (least..=common).contains(&entry.prefix.len()) {
                matched.push(entry.value);
            }
            at = entry.shorter;
        }
    }
}

/// The key of a text that is read from its end.
fn key_from_end(text: &[u8]) -> u64 {
    match text.last_chunk() {
        Some(eight) => u64::from_le_bytes(*eight),
        None => text.iter().fold(0, |key, byte| key >> 8 | u64::from(*byte) << 56),
    }
}

/// Returns how many bytes two texts begin with in common.
fn common_bytes<'b>(one: impl Iterator<Item = &'b u8>, other: impl Iterator<Item = &'b u8>) -> usize {
    one.zip(other).take_while(|(one, other)| one == other).count()
}

/// Table of suffixes.
#[derive(Default)]
pub(crate) struct SuffixTable(PrefixTable);

impl SuffixTable {
    pub(crate) fn new(suffixes: Vec<(Box<[u8]>, ValueId)>) -> Self {
        let reversed = suffixes.into_iter().map(|(mut suffix, value)| {
            suffix.reverse();
            (suffix, value)
        });
        Self(PrefixTable::new(reversed.collect()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.entries.is_empty()
    }

    /// Adds the entries of `least` bytes or more that `value` ends with.
    pub(crate) fn lookup(&self, value: &[u8], least: usize, matched: &mut Matched) {
        let entries = &self.0.entries;
        if entries.is_empty() {
            return;
        }
        let at = self.0.position(key_from_end(value), &|suffix| suffix.iter().le(value.iter().rev()));
        self.0.add_chain(at, |suffix| common_bytes(suffix.iter(), value.iter().rev()), least, matched);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(texts: &[&str]) -> Vec<(Box<[u8]>, ValueId)> {
        (0..).map(ValueId).zip(texts).map(|(id, text)| (text.as_bytes().into(), id)).collect()
    }

    const TEXTS: [&str; 16] = [
        "",
        "a",
        "ab",
        "abc",
        "abd",
        "b",
        "ba",
        "bab",
        "c",
        "a\0",
        "abcdefgh",
        "abcdefghi",
        "abcdefgi",
        "abcdefgh\0",
        "hgfedcba",
        "ihgfedcba",
    ];

    #[test]
    fn finds_every_prefix_and_nothing_else() {
        let prefixes = PrefixTable::new(table(&TEXTS));
        let suffixes = SuffixTable::new(table(&TEXTS));
        for value in [
            "",
            "a",
            "ab",
            "aa",
            "abcd",
            "abda",
            "bab",
            "babc",
            "bb",
            "cab",
            "d",
            "zzab",
            "\u{ff}",
            "a\0\0",
            "abcdefgh",
            "abcdefghij",
            "abcdefg",
            "abcdefgh\0x",
            "zihgfedcba",
            "\0hgfedcba",
        ] {
            let expected = |fits: &dyn Fn(&str) -> bool| -> Vec<ValueId> {
                (0..).map(ValueId).zip(TEXTS).filter(|(_, text)| fits(text)).map(|(id, _)| id).collect()
            };
            let sorted = |mut matched: Matched| {
                matched.sort();
                matched.to_vec()
            };
            let mut found = Matched::new();
            prefixes.lookup(value.as_bytes(), &mut found);
            assert_eq!(sorted(found), expected(&|text| value.starts_with(text)), "prefixes of {value}");
            let mut found = Matched::new();
            suffixes.lookup(value.as_bytes(), 0, &mut found);
            assert_eq!(sorted(found), expected(&|text| value.ends_with(text)), "suffixes of {value}");
        }
    }
}
