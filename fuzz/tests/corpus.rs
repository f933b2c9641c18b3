//! Plays the corpus, the seeds from the suites and random mutations of both through every property.

use std::path::Path;
use std::{fs, io, panic};

use fastrand::Rng;
use fuzz::targets::{TARGETS, Target};

/// Mutations of each target's inputs, of which `FUZZ_MUTATIONS` sets another number.
const MUTATIONS: usize = 1_000;

/// Largest input that mutations make.
const MAX_BYTES: usize = 16 * 1024;

/// Reads the committed inputs of a target, if it has any.
fn corpus(target: &Target) -> io::Result<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut files = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    files.sort();
    files.iter().map(fs::read).collect()
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
            3 => vec![u8::try_from(rng.alphanumeric()).unwrap_or(b'a')],
            _ => {
                let other = rng.choice(inputs).map(Vec::as_slice).unwrap_or_default();
                let from = rng.usize(..=other.len());
                other.iter().skip(from).take(rng.usize(..60)).copied().collect()
            }
        };
        let replaced = if rng.bool() { end } else { at };
        input.splice(at..replaced, piece);
    }
    input.truncate(MAX_BYTES);
    input
}

fn play_all(name: &str) -> io::Result<()> {
    let target = TARGETS.iter().find(|target| target.name == name);
    let target = target.ok_or_else(|| io::Error::other(format!("no target {name}")))?;
    let mut inputs = corpus(target)?;
    inputs.extend((target.seeds)()?);
    inputs.push(Vec::new());
    inputs.iter().for_each(|input| play(target, input));
    let (mut rng, words) = (Rng::with_seed(0x5a11_7907), dictionary());
    let mutations = match std::env::var("FUZZ_MUTATIONS") {
        Ok(text) => text.parse().map_err(io::Error::other)?,
        Err(_) => MUTATIONS,
    };
    for _ in 0..mutations {
        play(target, &mutate(&mut rng, &inputs, &words));
    }
    Ok(())
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() -> io::Result<()> {
                play_all(stringify!($name))
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
