//! The index against each pattern by itself, and what an occurrence costs.

use super::*;
use crate::baseline::header_field::HeaderGlob;
use crate::linear_reading::Matches;
use crate::matcher::string_pattern::{Glob, StringPattern};
use crate::matcher::value_ids::once_each;
use crate::matcher::wild_pattern::WildPattern;
use fastrand::Rng;

/// A text of these letters.
fn text(rng: &mut Rng, letters: &str, most: usize) -> String {
    let letters: Vec<char> = letters.chars().collect();
    (0..rng.usize(..=most)).filter_map(|_| rng.choice(&letters)).collect()
}

/// A pattern that the index takes: with several stars or tied, with `?` and `[…]`, or a word.
fn pattern(rng: &mut Rng, letters: &str) -> HeaderGlob {
    loop {
        let plain = text(rng, letters, 3);
        let several = text(rng, &format!("{letters}**"), 9);
        let wild = text(rng, &format!("{letters}{letters}**??"), 8).replace('c', "[ab]").replace('d', "[!a]");
        let pattern = match rng.u8(..8) {
            0 if !plain.is_empty() => HeaderGlob::word(&plain),
            1 => HeaderGlob::Text(StringPattern::new(&plain)),
            2..5 => HeaderGlob::Text(StringPattern::new(&several)),
            _ => match WildPattern::parse(&wild) {
                Ok(wild) => HeaderGlob::Wild(wild),
                Err(_) => continue,
            },
        };
        let is_taken = match &pattern {
            HeaderGlob::Text(StringPattern::Any) => false,
            HeaderGlob::Text(text) => !text.to_string().is_empty(),
            HeaderGlob::Wild(wild) => !wild.has_bare_part(),
            HeaderGlob::Word(_) => true,
        };
        if is_taken {
            return pattern;
        }
    }
}

fn sequence(pattern: &HeaderGlob) -> Sequence {
    match pattern {
        HeaderGlob::Text(StringPattern::Glob(glob)) => Sequence::of_glob(glob),
        HeaderGlob::Text(text) => Sequence::of_tied(text).expect("a tied pattern"),
        HeaderGlob::Wild(wild) => Sequence::of_wild(wild, &|literal| usize::MAX - literal.len()),
        HeaderGlob::Word(word) => Sequence::of_word(word),
    }
}

/// Compares an index of random patterns with each of them, on values and on the elements of lists.
fn compare(rng: &mut Rng, letters: &str, most_patterns: usize) {
    let patterns: Vec<_> = (0..rng.usize(1..=most_patterns)).map(|_| pattern(rng, letters)).collect();
    let sequences = || patterns.iter().map(sequence).zip((0..).map(ValueId)).collect();
    let index = SequenceIndex::new(sequences()).expect("patterns");
    let of_elements = SequenceIndex::of_elements(sequences(), b',').expect("patterns");
    for _ in 0..20 {
        let elements: Vec<String> = (0..rng.usize(..5)).map(|_| text(rng, letters, 24)).collect();
        let elements: Vec<String> = elements.into_iter().filter(|element| !element.is_empty()).collect();
        let value = elements.concat();
        let matching = |values: &[&str]| -> Vec<ValueId> {
            let numbered = (0..).map(ValueId).zip(&patterns);
            let matching = numbered.filter(|(_, pattern)| values.iter().any(|value| pattern.matches(value.as_bytes())));
            matching.map(|(id, _)| id).collect()
        };
        let sorted = |found: &Matched| {
            let mut once = found.clone();
            once_each(&mut once);
            assert_eq!(once.len(), found.len(), "each is added once: {patterns:?} on {elements:?}");
            once.to_vec()
        };
        let mut found = Matched::new();
        index.lookup(value.as_bytes(), &mut found);
        assert_eq!(sorted(&found), matching(&[&value]), "{patterns:?} on {value}");
        let list = format!(",{}", elements.iter().map(|element| format!("{element},")).collect::<String>());
        let mut found = Matched::new();
        of_elements.lookup(list.as_bytes(), &mut found);
        let elements: Vec<&str> = elements.iter().map(String::as_str).collect();
        assert_eq!(sorted(&found), matching(&elements), "{patterns:?} on {list}");
    }
}

#[test]
fn agrees_with_each_pattern_by_itself() {
    let mut rng = Rng::with_seed(20);
    for _ in 0..60 {
        compare(&mut rng, "ab", 6);
        compare(&mut rng, "ab", 60);
        compare(&mut rng, "abc.d", 40);
        compare(&mut rng, "aab1", 200);
    }
}

#[test]
fn an_edge_of_a_value_is_no_byte_of_it() {
    let glob = Glob::new(b"a*b");
    let index = SequenceIndex::new(vec![(Sequence::of_glob(&glob), ValueId(0))]).expect("a pattern");
    for (value, expected) in [(&b"a\0b"[..], 1), (b"\0a b\0", 0), (b"x\0a\0b\0", 0), (b"ab", 1), (b"", 0)] {
        let mut found = Matched::new();
        index.lookup(value, &mut found);
        assert_eq!(found.len(), expected, "{}", value.escape_ascii());
    }
}

#[test]
fn an_index_beyond_the_table_of_states_agrees_too() {
    let mut rng = Rng::with_seed(7);
    let texts: Vec<String> = (0..20_000).map(|number| format!("*{}-{number:05}*", text(&mut rng, "abc", 6))).collect();
    let globs = texts.iter().map(|text| Sequence::of_glob(&Glob::new(text.as_bytes())));
    let index = SequenceIndex::new(globs.zip((0..).map(ValueId)).collect()).expect("patterns");
    for _ in 0..200 {
        let value: String = (0..6).filter_map(|_| rng.choice(&texts)).map(|text| text.trim_matches('*')).collect();
        let expected: Vec<_> = (0..)
            .map(ValueId)
            .zip(&texts)
            .filter(|(_, text)| value.contains(text.trim_matches('*')))
            .map(|(id, _)| id)
            .collect();
        let mut found = Matched::new();
        index.lookup(value.as_bytes(), &mut found);
        once_each(&mut found);
        assert_eq!(found.to_vec(), expected, "{value}");
    }
}
