//! Patterns with stars as the literals that a value has to hold, one after the other.

use crate::matcher::automaton::Literal;
use crate::matcher::string_pattern::{Glob, StringPattern};
use crate::matcher::wild_pattern::{Symbol, WildPattern};

/// Literals that stand in a value in this order and do not overlap.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) steps: Vec<Step>,
    /// Least number of bytes after the last step.
    pub(crate) rest: u32,
}

/// One literal of a sequence.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) literal: Literal,
    /// Required surroundings, if any.
    pub(crate) around: Option<Box<Around>>,
    /// Least number of bytes between the step before and this one.
    pub(crate) gap: u32,
}

/// Surroundings of a literal.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Around {
    pub(crate) before: Box<[Symbol]>,
    pub(crate) after: Box<[Symbol]>,
    pub(crate) start: Border,
    pub(crate) end: Border,
}

/// Required neighbour of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Border {
    /// Anything.
    Open,
    /// The edge of the value.
    Edge,
    /// The edge of the value, or a byte that is no letter.
    NoLetter,
}

impl Border {
    /// Reports whether a byte, or the edge where there is none, may stand there.
    pub(crate) fn allows(self, neighbour: Option<u8>) -> bool {
        match self {
            Self::Open => true,
            Self::Edge => neighbour.is_none(),
            Self::NoLetter => !neighbour.is_some_and(|byte| byte.is_ascii_alphabetic()),
        }
    }
}

impl Sequence {
    /// The literals of a glob.
    pub(crate) fn of_glob(glob: &Glob) -> Self {
        let (head, tail) = glob.ends();
        let inner = glob.middle().map(|piece| Step::plain(piece, false, false));
        let head = (!head.is_empty()).then(|| Step::plain(head, true, false));
        let tail = (!tail.is_empty()).then(|| Step::plain(tail, false, true));
        Self { steps: head.into_iter().chain(inner).chain(tail).collect(), rest: 0 }
    }

    /// The literals of a pattern that is tied to the start or the end of a value; none for one that matches a list where
    /// it matches an element.
    pub(crate) fn of_tied(pattern: &StringPattern) -> Option<Self> {
        let step = match pattern {
            StringPattern::Any => return None,
            StringPattern::Glob(glob) => return glob.is_anchored().then(|| Self::of_glob(glob)),
            StringPattern::Exact(text) => Step::plain(text, true, true),
            StringPattern::Prefix(text) => Step::plain(text, true, false),
            StringPattern::Suffix(text) => Step::plain(text, false, true),
        };
        Some(Self { steps: vec![step], rest: 0 })
    }

    /// The bytes of its literals.
    pub(crate) fn least_bytes(&self) -> usize {
        self.steps.iter().map(|step| step.literal.bytes.len()).sum()
    }

    /// A word with no letter before or after it.
    pub(crate) fn of_word(word: &[u8]) -> Self {
        let around = Around { before: [].into(), after: [].into(), start: Border::NoLetter, end: Border::NoLetter };
        let step = Step { around: Some(Box::new(around)), ..Step::plain(word, false, false) };
        Self { steps: vec![step], rest: 0 }
    }

    /// The literals of a glob without a bare part: of each part the run of plain characters that is the best to look for.
    pub(crate) fn of_wild(pattern: &WildPattern, rank: &dyn Fn(&[u8]) -> usize) -> Self {
        let mut steps = Vec::new();
        let mut gap = 0;
        let last = pattern.parts().count().saturating_sub(1);
        for (at, mut part) in pattern.parts().enumerate() {
            // What a `?` beside a star stands for is a byte more of what the star does.
            while at > 0
                && let [Symbol::Any, rest @ ..] = part
            {
                (part, gap) = (rest, gap + 1);
            }
            let mut after = 0;
            while at < last
                && let [rest @ .., Symbol::Any] = part
            {
                (part, after) = (rest, after + 1);
            }
            if !part.is_empty() {
                steps.push(Step { gap, ..Step::wild(part, at == 0, at == last, rank) });
                gap = 0;
            }
            gap += after;
        }
        Self { steps, rest: gap }
    }
}

impl Step {
    fn plain(text: &[u8], at_start: bool, at_end: bool) -> Self {
        Self { literal: Literal { bytes: text.into(), at_start, at_end }, around: None, gap: 0 }
    }

    fn wild(part: &[Symbol], at_start: bool, at_end: bool, rank: &dyn Fn(&[u8]) -> usize) -> Self {
        let mut best: Option<(usize, Vec<u8>, usize)> = None;
        let mut at = 0;
        while at < part.len() {
            let run: Vec<u8> = part.iter().skip(at).map_while(Symbol::byte).collect();
            let (start, length) = (at, run.len());
            if length > 0 {
                let rank = rank(&run);
                if best.as_ref().is_none_or(|(least, ..)| rank < *least) {
                    best = Some((rank, run, start));
                }
            }
            at += length + 1;
        }
        let (_, bytes, start) = best.unwrap_or_default();
        let before: Box<[Symbol]> = part.get(..start).unwrap_or_default().into();
        let after: Box<[Symbol]> = part.get(start + bytes.len()..).unwrap_or_default().into();
        if before.is_empty() && after.is_empty() {
            return Self::plain(&bytes, at_start, at_end);
        }
        let border = |is_edge| if is_edge { Border::Edge } else { Border::Open };
        let around = Around { before, after, start: border(at_start), end: border(at_end) };
        Self { around: Some(Box::new(around)), ..Self::plain(&bytes, false, false) }
    }
}
