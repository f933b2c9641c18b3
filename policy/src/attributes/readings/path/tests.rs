use super::*;
use crate::attributes::readings::path::spelling::one_spelling;

const ALL: PathReadings = PathReadings { slashes: true, separators: true, parameters: true };
const NONE: PathReadings = PathReadings { slashes: false, separators: false, parameters: false };

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn texts(path: &str, made: PathReadings) -> Vec<String> {
    if is_too_long(path.as_bytes(), made) {
        return vec!["too long".to_owned()];
    }
    let spelled = one_spelling(path.as_bytes()).0;
    let readings = readings(&spelled, made);
    assert_eq!(has_several(path.as_bytes(), made), !readings.is_empty(), "{path}");
    readings.iter().map(|(_, read)| text(read)).collect()
}

#[test]
fn equal_spellings_become_one() {
    let rows = [
        ("/a", "/a"),
        ("/%61dmin", "/admin"),
        ("/a%7Eb", "/a~b"),
        ("/%2e%2E/a", "/../a"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/caf\u{e9}", "/caf%C3%A9"),
        ("/a|b", "/a%7Cb"),
        ("/a%7cb", "/a%7Cb"),
        ("/a b\t", "/a%20b%09"),
        ("/\"<>^`{}", "/%22%3C%3E%5E%60%7B%7D"),
        ("/a\\b[1]", "/a%5Cb%5B1%5D"),
        ("/%2f%2F%5c", "/%2F%2F%5C"),
        ("/%2561", "/%2561"),
        ("/%252e%252e/", "/%252e%252e/"),
        ("/100%", "/100%"),
        ("/%4", "/%4"),
        ("/%zz%61", "/%zza"),
        ("/!$&'()*+,;=:@", "/!$&'()*+,;=:@"),
    ];
    for (path, expected) in rows {
        let (spelled, encoded) = one_spelling(path.as_bytes());
        assert_eq!(text(&spelled), expected, "{path}");
        assert_eq!(encoded, path.bytes().any(must_be_encoded), "{path}");
        assert_eq!(text(&one_spelling(&spelled).0), expected, "{path} once more");
    }
}

#[test]
fn rows_of_readings() {
    let rows: [(&str, &[&str]); 22] = [
        ("/a/b", &[]),
        ("", &[]),
        ("*", &[]),
        ("/a/.well-known/..x", &[]),
        ("//admin", &["/admin"]),
        ("/./admin", &["/admin"]),
        ("/x/../admin", &["/admin"]),
        ("/x/%2e%2e/admin", &["/admin"]),
        ("/orders/..", &["/"]),
        ("/orders/.", &["/orders/"]),
        ("/..", &["/"]),
        ("/../../a", &["/a"]),
        ("/admin;x", &["/admin"]),
        ("/admin%2fx", &["/admin/x"]),
        ("/admin\\x", &["/admin/x"]),
        ("/x//../secret", &["/x/secret", "/secret"]),
        ("/x//../y//z", &["/x/y//z", "/y/z", "/x/y/z"]),
        ("/orders/..;/admin", &["/admin"]),
        ("/secret;a%2Fb/key", &["/secret;a/b/key", "/secret/key", "/secret/b/key"]),
        ("/shop/a%2Fb/..;/..;/admin", &["/shop/a/b/..;/..;/admin", "/admin", "/shop/admin"]),
        ("/projects/group%2Fproject/..%2f..%2fadmin", &["/projects/admin"]),
        ("/a%252Fb", &[]),
    ];
    for (path, expected) in rows {
        let mut found = texts(path, ALL);
        found.sort();
        let mut expected: Vec<_> = expected.iter().map(|text| (*text).to_owned()).collect();
        expected.sort();
        assert_eq!(found, expected, "{path}");
    }
}

#[test]
fn readings_that_were_left_out_are_not_made() {
    assert_eq!(texts("/x//../a;b%2Fc", NONE), ["/x/a;b%2Fc"]);
    assert_eq!(texts("//a", PathReadings { slashes: false, ..ALL }), Vec::<String>::new());
    assert_eq!(texts("/a;b", PathReadings { parameters: false, ..ALL }), Vec::<String>::new());
    assert_eq!(texts("/a%2Fb", PathReadings { separators: false, ..ALL }), Vec::<String>::new());
    assert_eq!(ALL.left_out(), "");
    assert_eq!(NONE.left_out(), ", pathReadings without slashes, separators, parameters");
}

#[test]
fn a_long_path_with_several_readings_is_not_compared() {
    let long = format!("/{}", "a".repeat(MAX_COMPARED));
    assert_eq!(texts(&long, ALL), Vec::<String>::new());
    assert_eq!(texts(&format!("{long}//"), ALL), ["too long"]);
    assert_eq!(texts(&format!("{long}//"), NONE), Vec::<String>::new());
}

#[test]
fn a_path_that_is_called_plain_has_one_spelling_and_reading() {
    let mut rng = fastrand::Rng::with_seed(11);
    let faces =
        ["/", ".", "a", "Z", "0", "_", "~", "-", "/orders/", "%", "%61", ";", "\\", "|", "=", "\u{e9}", " ", ":"];
    let (mut plain, mut others) = (0, 0);
    for _ in 0..50_000 {
        let most = if rng.usize(..2) == 0 { 9 } else { faces.len() };
        let path: String =
            (0..rng.usize(..14)).map(|_| crate::test_support::random::pick(&mut rng, &faces[..most])).collect();
        match is_plain(path.as_bytes()) {
            true => {
                plain += 1;
                assert_eq!(text(&one_spelling(path.as_bytes()).0), path);
                assert_eq!(texts(&path, ALL), Vec::<String>::new(), "{path}");
            }
            false => others += 1,
        }
    }
    assert!(plain > 5_000 && others > 5_000, "{plain} {others}");
    for path in ["/", "/orders/1", "/api/v1/my_things/17.json", "/a-b~c/@x:y", "/a.b.c/d=e,f"] {
        assert!(is_plain(path.as_bytes()), "{path}");
    }
}

#[test]
fn patterns_are_read_with_open_ends() {
    let read_in = |number, text: &str, open_start, open_end| {
        read(number, text.as_bytes(), Ends { open_start, open_end })
            .map(|read| String::from_utf8_lossy(&read).into_owned())
    };
    let separators = 3;
    assert_eq!(read_in(separators, "/a%2Fb/", false, true).as_deref(), Some("/a/b/"));
    assert_eq!(read_in(0, "/a/.", false, true).as_deref(), Some("/a/."));
    assert_eq!(read_in(0, "./x", true, false).as_deref(), Some("./x"));
    assert_eq!(read_in(separators, "a%2F..%2Fb", true, false), None);
    assert_eq!(read_in(separators, "/{**}/..%2Fb", false, false), None);
    assert_eq!(read_in(separators, "/a/{*}/..%2Fb", false, false).as_deref(), Some("/a/b"));
}
