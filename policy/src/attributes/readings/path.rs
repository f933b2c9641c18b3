//! Readings of a path without query and fragment.
//!
//! A path in its one [spelling] is read as upstreams do: with `%2F`, `%5C` and `\` as `/`, without `;parameters`, with
//! runs of slashes merged, and without dot segments. What decoding yields is not decoded again.

pub(crate) mod spelling;

use crate::attributes::readings::path::spelling::must_be_encoded;
use crate::collections::bytes::{any_eight, bytes_eq};
use crate::config::reader::ConfigNode;

/// The longest path with several readings that is compared, in bytes.
pub(crate) const MAX_COMPARED: usize = 8 << 10;

/// `pathReadings`: readings of a path that the upstream can make. Dot segments are always removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PathReadings {
    /// Runs of slashes are merged.
    pub(crate) slashes: bool,
    /// `%2F`, `%5C` and `\` are slashes.
    pub(crate) separators: bool,
    /// `;parameters` are removed.
    pub(crate) parameters: bool,
}

impl Default for PathReadings {
    fn default() -> Self {
        Self { slashes: true, separators: true, parameters: true }
    }
}

impl PathReadings {
    const NAMES: [(&'static str, &'static str); 3] =
        [("slashes", "slashes"), ("separators", "separators"), ("parameters", "parameters")];

    /// Reads `pathReadings`; absent, all are made.
    pub(crate) fn read(node: Option<&ConfigNode<'_>>) -> Option<Self> {
        let Some(node) = node else { return Some(Self::default()) };
        let mut listed: Vec<&str> = Vec::new();
        for item in node.items()? {
            let name = item.enum_value(&Self::NAMES)?;
            if listed.contains(&name) {
                item.error("listed twice, keep one");
            }
            listed.push(name);
        }
        let [slashes, separators, parameters] = Self::NAMES.map(|(name, _)| listed.contains(&name));
        Some(Self { slashes, separators, parameters })
    }

    /// Returns the fix for a denial caused by reading `number`, for a template or another pattern.
    pub(crate) fn remedy(number: u8, template: bool) -> String {
        let Some((steps, merge)) = parts(number) else { return String::new() };
        let names = [
            (steps.contains(&Step::Separators), "separators"),
            (steps.contains(&Step::Parameters), "parameters"),
            (merge != Merge::Never, "slashes"),
        ];
        let names: Vec<_> = names.iter().filter(|(made, _)| *made).map(|(_, name)| *name).collect();
        match (names.join(" and "), template) {
            (names, _) if names.is_empty() => String::new(),
            (names, true) => {
                format!("; write {{**}}, or leave {names} out of pathReadings if the upstream does not read it so")
            }
            (names, false) => format!("; leave {names} out of pathReadings if the upstream does not read it so"),
        }
    }

    /// Describes the disabled readings for the load line; empty if there are none.
    pub(crate) fn left_out(self) -> String {
        let made = [self.slashes, self.separators, self.parameters];
        let left_out: Vec<_> =
            Self::NAMES.iter().zip(made).filter(|(_, made)| !made).map(|((name, _), _)| *name).collect();
        match left_out.is_empty() {
            true => String::new(),
            false => format!(", pathReadings without {}", left_out.join(", ")),
        }
    }

    /// Returns the numbers of the enabled readings, those that change the least first.
    pub(crate) fn numbers(self) -> impl Iterator<Item = u8> {
        (0..BASES.len() * MERGES.len()).filter_map(move |number| {
            let number = u8::try_from(number).ok()?;
            let (steps, merge) = parts(number)?;
            let made = |step: &Step| match step {
                Step::Separators => self.separators,
                Step::Parameters => self.parameters,
            };
            (steps.iter().all(made) && (self.slashes || merge == Merge::Never)).then_some(number)
        })
    }
}

/// A step of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Separators,
    Parameters,
}

/// Step at which a reading merges slashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Merge {
    Never,
    BeforeDots,
    /// After dot segments are removed, as Envoy does (`merge_slashes` after `normalize_path`).
    AfterDots,
}

/// Steps before dot segments are removed, one list for each reading.
const BASES: [&[Step]; 5] = [
    &[],
    &[Step::Separators],
    &[Step::Parameters],
    &[Step::Separators, Step::Parameters],
    &[Step::Parameters, Step::Separators],
];

const MERGES: [Merge; 3] = [Merge::Never, Merge::BeforeDots, Merge::AfterDots];

fn parts(number: u8) -> Option<(&'static [Step], Merge)> {
    let number = usize::from(number);
    Some((BASES.get(number / MERGES.len())?, *MERGES.get(number % MERGES.len())?))
}

/// Reports whether a path is canonical and has one reading. False negatives are possible.
#[inline(always)]
pub(crate) fn is_plain(path: &[u8]) -> bool {
    !any_eight(path, suspicious) || path.iter().all(|byte| is_quiet(*byte)) && !has_pairs(path)
}

/// Flags bytes that are none of letters, digits, `-`, `.`, `/` and `:`, and dots and slashes that are neighbours.
#[inline(always)]
fn suspicious(eight: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHEST: u64 = ONES << 7;
    let at_least = |letters: u64, least: u64| letters.wrapping_add(ONES * (0x80 - least));
    let low = eight.wrapping_sub(ONES * 0x2d) | eight;
    // In small letters: of 0x3b to 0x60, or of 0x7b and more.
    let small = eight | (ONES * 0x20);
    let other = at_least(small, 0x3b) ^ at_least(small, 0x61) ^ at_least(small, 0x7b);
    // A dot is 0x2e, a slash 0x2f.
    let separators = (eight & (ONES * 0xfe)) ^ (ONES * 0x2e);
    let separators = separators.wrapping_sub(ONES) & !separators & HIGHEST;
    low | other | (separators & (separators >> 8))
}

/// Reports whether a byte has one spelling in a path and does not add a reading.
fn is_quiet(byte: u8) -> bool {
    !must_be_encoded(byte) && byte != b'%' && byte != b';'
}

fn has_pairs(path: &[u8]) -> bool {
    path.windows(2).any(|pair| matches!(pair, b"//" | b"/."))
}

/// Reports whether a path, in any spelling, has several readings and is too long to be compared in all of them.
pub(crate) fn is_too_long(path: &[u8], made: PathReadings) -> bool {
    path.len() > MAX_COMPARED && has_several(path, made)
}

/// Returns the distinct readings of a path with their numbers, without the original one; none for most paths.
pub(crate) fn readings(path: &[u8], made: PathReadings) -> Vec<(u8, Vec<u8>)> {
    let mut readings: Vec<(u8, Vec<u8>)> = Vec::new();
    if !has_several(path, made) {
        return readings;
    }
    let mut bases: Vec<Vec<u8>> = Vec::new();
    for number in made.numbers() {
        let Some((steps, merge)) = parts(number) else { continue };
        if merge == Merge::Never {
            bases.push(after_steps(steps, path));
        }
        // What an earlier reading begins with leads to nothing new, nor does a merge of nothing.
        let Some((base, earlier)) = bases.split_last() else { continue };
        let merges_nothing = || !base.windows(2).any(|pair| pair == b"//");
        if earlier.iter().any(|known| bytes_eq(known, base)) || merge != Merge::Never && merges_nothing() {
            continue;
        }
        if let Some(read) = after_dots(base, merge, Ends::CLOSED)
            && !bytes_eq(&read, path)
            && !readings.iter().any(|(_, known)| bytes_eq(known, &read))
        {
            readings.push((number, read));
        }
    }
    readings
}

/// Reports whether a path, in any spelling, has readings besides the original one.
fn has_several(path: &[u8], made: PathReadings) -> bool {
    let mut rest = path;
    while let [byte, after @ ..] = rest {
        let several = match (byte, after) {
            (b'/', [b'/', ..]) => made.slashes,
            (b'/', [b'.' | b'%', ..]) => begins_with_dot_segment(after),
            (b';', _) => made.parameters,
            (b'\\', _) | (b'%', [b'2', b'F' | b'f', ..] | [b'5', b'C' | b'c', ..]) => made.separators,
            _ => false,
        };
        if several {
            return true;
        }
        rest = after;
    }
    false
}

/// Reports whether the first segment after a slash is `.` or `..`, in any spelling.
fn begins_with_dot_segment(mut rest: &[u8]) -> bool {
    let mut dots = 0;
    while let [b'.', after @ ..] | [b'%', b'2', b'E' | b'e', after @ ..] = rest {
        dots += 1;
        rest = after;
    }
    matches!(dots, 1 | 2) && matches!(rest, [] | [b'/', ..])
}

/// Sides at which a literal is open: a suffix before its start, a prefix after its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) open_start: bool,
    pub(crate) open_end: bool,
}

impl Ends {
    /// The whole of a path.
    pub(crate) const CLOSED: Self = Self { open_start: false, open_end: false };
}

/// Applies reading `number` to a path, or to the text of a path pattern; `None` for a pattern whose dot segments would
/// remove text that a star stands for.
pub(crate) fn read(number: u8, path: &[u8], ends: Ends) -> Option<Vec<u8>> {
    let (steps, merge) = parts(number)?;
    after_dots(&after_steps(steps, path), merge, ends)
}

/// Reports whether reading `number` removes the end of a prefix as part of a parameter.
pub(crate) fn ends_in_parameter(number: u8, prefix: &[u8]) -> bool {
    let Some((steps, _)) = parts(number) else { return false };
    let Some(at) = steps.iter().position(|step| *step == Step::Parameters) else { return false };
    let read = after_steps(steps.get(..at).unwrap_or_default(), prefix);
    read.rsplit(|byte| *byte == b'/').next().is_some_and(|segment| segment.contains(&b';'))
}

fn after_steps(steps: &[Step], path: &[u8]) -> Vec<u8> {
    let mut path = path.to_vec();
    for step in steps {
        match step {
            Step::Separators => separators_read(&mut path),
            Step::Parameters => parameters_removed(&mut path),
        }
    }
    path
}

fn after_dots(path: &[u8], merge: Merge, ends: Ends) -> Option<Vec<u8>> {
    if merge == Merge::BeforeDots {
        let mut path = path.to_vec();
        slashes_merged(&mut path);
        return dot_segments_removed(&path, ends);
    }
    let mut path = dot_segments_removed(path, ends)?;
    if merge == Merge::AfterDots {
        slashes_merged(&mut path);
    }
    Some(path)
}

fn separators_read(path: &mut Vec<u8>) {
    if !path.contains(&b'%') {
        return;
    }
    let mut read = Vec::with_capacity(path.len());
    let mut rest = path.as_slice();
    while let [byte, after @ ..] = rest {
        if *byte != b'%' {
            read.push(*byte);
            rest = after;
            continue;
        }
        (rest, _) = match rest {
            [b'%', b'2', b'F', after @ ..] | [b'%', b'5', b'C', after @ ..] => (after, read.push(b'/')),
            _ => (after, read.push(*byte)),
        };
    }
    *path = read;
}

fn parameters_removed(path: &mut Vec<u8>) {
    let mut within = false;
    path.retain(|byte| {
        within = *byte == b';' || within && *byte != b'/';
        !within
    });
}

/// Merges runs of slashes.
pub(crate) fn slashes_merged(path: &mut Vec<u8>) {
    path.dedup_by(|one, other| *one == b'/' && *other == b'/');
}

/// RFC 3986, section 5.2.4.
fn dot_segments_removed(path: &[u8], ends: Ends) -> Option<Vec<u8>> {
    let least = match ends.open_start {
        true => path.iter().position(|byte| *byte == b'/').unwrap_or(path.len()),
        false => 0,
    };
    let mut read = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [byte, after @ ..] = rest {
        if *byte != b'/' || !after.starts_with(b".") {
            read.push(*byte);
            rest = after;
            continue;
        }
        rest = match rest {
            [b'/', b'.'] if !ends.open_end => b"/",
            [b'/', b'.', b'.'] if !ends.open_end => {
                remove_last_segment(&mut read, least, ends)?;
                b"/"
            }
            [b'/', b'.', b'/', ..] => rest.get(2..).unwrap_or_default(),
            [b'/', b'.', b'.', b'/', ..] => {
                remove_last_segment(&mut read, least, ends)?;
                rest.get(3..).unwrap_or_default()
            }
            _ => {
                read.push(*byte);
                after
            }
        };
    }
    Some(read)
}

/// Fails where it would reach what a star stands for.
fn remove_last_segment(read: &mut Vec<u8>, least: usize, ends: Ends) -> Option<()> {
    let slash = read.iter().rposition(|byte| *byte == b'/').filter(|slash| *slash >= least);
    // What `{**}` stands for has an unknown number of segments.
    if (slash.is_none() && ends.open_start) || read.ends_with(b"/{**}") {
        return None;
    }
    read.truncate(slash.unwrap_or_default());
    Some(())
}

#[cfg(test)]
mod tests;
