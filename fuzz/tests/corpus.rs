//! Plays the corpus, the seeds from the suites and random mutations of both through every property.

use std::path::Path;
use std::{fs, panic};

use fastrand::Rng;
use fuzz::targets::{TARGETS, Target};

/// Mutations of each target's inputs, of which `FUZZ_MUTATIONS` sets another number.
const MUTATIONS: usize = 1_000;

/// Largest input that mutations make.
const MAX_BYTES: usize = 16 * 1024;

/// Reads the committed inputs of a target.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap_or_else(|error| panic!("{}: {error}", folder.display())).path())
        .collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))).collect()
}

/// Reads the words of the dictionary, without their quotes.
fn dictionary() -> Vec<Vec<u8>> {
    let text = include_str!("../dictionary.txt");
    let words = text.lines().filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
    let unescaped =
        |word: &str| word.replace("\\x0a", "\n").replace("\\x09", "\t").replace("\\\"", "\"").replace("\\\\", "\\");
    words.map(|word| unescaped(word).into_bytes()).collect()
}

/// Plays one input, and keeps it where the property does not hold.
fn play(target: &Target, input: &[u8]) {
    if let Err(payload) = panic::catch_unwind(|| (target.check)(input)) {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{}", target.name));
        let kept = fs::write(&file, input);
        eprintln!("the property {} does not hold for {} ({kept:?})", target.name, file.display());
        panic::resume_unwind(payload);
    }
}

/// Changes an input in a few places.
fn mutate(rng: &mut Rng, inputs: &[Vec<u8>], words: &[Vec<u8>]) -> Vec<u8> {
    let mut input = rng.choice(inputs).cloned().unwrap_or_default();
    for _ in 0..rng.usize(1..=4) {
        let at = rng.usize(..=input.len());
        let end = (at + rng.usize(..8)).min(input.len());
        let piece = match rng.usize(..5) {
            0 => vec![rng.u8(..)],
            1 => Vec::new(),
            2 => rng.choice(words).cloned().unwrap_or_default(),
            3 => vec![rng.alphanumeric() as u8],
            _ => {
                let other = rng.choice(inputs).map(Vec::as_slice).unwrap_or_default();
                let from = rng.usize(..=other.len());
                other[from..(from + rng.usize(..60)).min(other.len())].to_vec()
            }
        };
        let replaced = if rng.bool() { end } else { at };
        input.splice(at..replaced, piece);
    }
    input.truncate(MAX_BYTES);
    input
}

fn play_all(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    let mut inputs = corpus(target);
    inputs.extend((target.seeds)().expect("readable suites"));
    inputs.push(Vec::new());
    inputs.iter().for_each(|input| play(target, input));
    let (mut rng, words) = (Rng::with_seed(0x5a11_7907), dictionary());
    let mutations = std::env::var("FUZZ_MUTATIONS").map_or(MUTATIONS, |text| text.parse().expect("a number"));
    for _ in 0..mutations {
        play(target, &mutate(&mut rng, &inputs, &words));
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                play_all(stringify!($name));
            }
        )*

        #[test]
        fn every_target_is_played() {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

targets! {
    identity_authz
    baseline_deny
    egress_allowlist
    paths
    metadata
    tokens
    forwarded_certificates
    header_maps
    destinations
    tunnels
}
