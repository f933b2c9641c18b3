use super::*;

const PAIRS: &[u8] = b"\x03\0\0\0\x01\0\0\0\x02\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0a\0xy\0a\0\0b\0\xff\0";

const PSEUDO: [&str; 3] = [":method", ":authority", ":path"];

fn values_of(bytes: &[u8], name: &str) -> Option<Vec<Vec<u8>>> {
    let map = HeaderMap::new(bytes.to_vec())?;
    map.values(name).ok().map(|values| values.iter().map(|value| value.to_vec()).collect())
}

#[test]
fn repeated_empty_and_odd_values_are_kept() {
    let rows: [(&str, &[&[u8]]); 3] = [("a", &[b"xy", b""]), ("b", &[b"\xff"]), ("c", &[])];
    for (name, expected) in rows {
        let expected: Vec<_> = expected.iter().map(|value| value.to_vec()).collect();
        assert_eq!(values_of(PAIRS, name), Some(expected));
    }
    for none in [&b""[..], b"\0\0\0\0"] {
        assert_eq!(values_of(none, "a"), None);
    }
}

#[test]
fn pseudo_headers_are_found_wherever_they_are_and_the_first_counts() {
    let encoded = |pairs: &[(&str, &str)]| {
        let number = |number: usize| u32::try_from(number).expect("a short text").to_le_bytes();
        let lengths = pairs.iter().flat_map(|(name, value)| [number(name.len()), number(value.len())]);
        let texts = pairs.iter().flat_map(|(name, value)| [name.as_bytes(), b"\0", value.as_bytes(), b"\0"]);
        let lengths: Vec<u8> = [number(pairs.len())].into_iter().chain(lengths).flatten().collect();
        [lengths, texts.collect::<Vec<_>>().concat()].concat()
    };
    let rows = [
        (
            vec![(":authority", "orders"), (":path", "/a"), (":method", "GET"), ("x", "y")],
            [Some("GET"), Some("orders"), Some("/a")],
        ),
        (vec![("x", "y"), (":path", "/a"), (":path", "/b"), (":method", "")], [Some(""), None, Some("/a")]),
        (vec![(":paths", "/a"), (":Path", "/b"), ("path", "/c")], [None; 3]),
        (
            vec![(":method", "GET"), (":path", "/a"), (":method", "PUT"), (":path", "/b")],
            [Some("GET"), None, Some("/a")],
        ),
    ];
    for (pairs, expected) in rows {
        let map = HeaderMap::new(encoded(&pairs)).expect("a map");
        let found = PSEUDO.map(|name| map.first(name));
        assert_eq!(found, expected.map(|value| Ok(value.map(str::as_bytes))), "{pairs:?}");
    }
    let whole = encoded(&[(":method", "GET"), (":path", "/a")]);
    for end in 0..whole.len() - 1 {
        let cut = HeaderMap::new(&whole[..end]);
        let found = |name| cut.as_ref().map_or(Err(Truncated), |map| map.first(name));
        assert_eq!(PSEUDO.map(found)[1..], [Err(Truncated), Err(Truncated)], "cut at {end}");
    }
}

#[test]
fn a_map_that_is_cut_off_is_no_map() {
    for end in 1..PAIRS.len() - 1 {
        for name in ["a", "b", "c"] {
            assert_eq!(values_of(&PAIRS[..end], name), None, "{name} cut at {end}");
        }
    }
    assert!(HeaderMap::new(b"\xff\xff\xff\xff".to_vec()).is_none());
}

#[test]
fn many_names_are_found_as_one_is() {
    let name = |number: usize| format!("h{}", number % 700);
    let pairs: Vec<_> = (0..1_000).map(|number| (name(number), number.to_string())).collect();
    let encoded = encode(&pairs);
    let map = HeaderMap::new(encoded.clone()).expect("a map");
    for number in 0..1_000 {
        let wanted = format!("h{number}");
        let values: Vec<Vec<u8>> = map.values(&wanted).expect("whole").iter().map(|value| value.to_vec()).collect();
        assert_eq!(Some(values), values_of(&encoded, &wanted), "{wanted}");
    }
    let cut = HeaderMap::new(encoded.get(..encoded.len() - 1).unwrap_or_default().to_vec()).expect("a map");
    for number in 0..2 * MAX_PASSES {
        assert_eq!(cut.values(&name(number)).err(), Some(Truncated), "{number}");
    }
}

/// Encodes pairs as the host does.
fn encode(pairs: &[(String, String)]) -> Vec<u8> {
    let number = |number: usize| u32::try_from(number).expect("a short text").to_le_bytes();
    let lengths = pairs.iter().flat_map(|(name, value)| [number(name.len()), number(value.len())]);
    let texts = pairs.iter().flat_map(|(name, value)| [name.as_bytes(), b"\0", value.as_bytes(), b"\0"]);
    let lengths: Vec<u8> = [number(pairs.len())].into_iter().chain(lengths).flatten().collect();
    [lengths, texts.collect::<Vec<_>>().concat()].concat()
}
