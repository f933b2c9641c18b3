//! Texts of configurations and requests, made fit for a line of a log: nothing in them forges another line or moves a
//! terminal's cursor, and none is longer than [`MAX_TEXT`].

use std::fmt::Write;

/// The most bytes that are printed of one text.
pub(crate) const MAX_TEXT: usize = 200;

/// The most bytes of a line that quotes texts, and how many of them stand before and after what is left out.
const MAX_LINE: usize = 1600;
const HEAD: usize = 1000;
const TAIL: usize = 400;

const CUT: &str = "...";

/// Bytes of a request on one line: those that are not printable ASCII are escaped, and what is beyond 200 bytes is left
/// out.
///
/// ```
/// assert_eq!(sallyport_policy::printable(b"/a\nb"), "/a\\nb");
/// ```
pub fn printable(value: &[u8]) -> String {
    let mut shown = String::new();
    for byte in value {
        let escaped = byte.escape_ascii();
        if shown.len() + escaped.len() > MAX_TEXT {
            shown.push_str(CUT);
            break;
        }
        let _written = write!(shown, "{escaped}");
    }
    shown
}

/// A text of the configuration on one line, likewise; letters of all scripts stay as they are.
pub(crate) fn printable_text(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars() {
        let before = shown.len();
        push_escaped(&mut shown, character);
        if shown.len() > MAX_TEXT {
            shown.truncate(before);
            shown.push_str(CUT);
            break;
        }
    }
    shown
}

/// A line that quotes texts between backticks, `own` among them perhaps without: each is cut, and everything is escaped.
pub(crate) fn printable_line(line: &str, own: Option<&str>) -> String {
    let cut_down = own.filter(|own| own.len() > MAX_TEXT).map(|own| line.replace(own, &cut(own)));
    let mut shown = String::new();
    for (at, part) in cut_down.as_deref().unwrap_or(line).split('`').enumerate() {
        if at > 0 {
            shown.push('`');
        }
        // Every other part is between backticks.
        let part = if at % 2 == 1 { &*cut(part) } else { part };
        part.chars().for_each(|character| push_escaped(&mut shown, character));
    }
    match shown.len() > MAX_LINE {
        true => format!("{} {CUT} {}", head(&shown, HEAD), tail(&shown, TAIL)),
        false => shown,
    }
}

/// The text, or its beginning and a mark that there is more.
fn cut(text: &str) -> String {
    match text.len() > MAX_TEXT {
        true => format!("{}{CUT}", head(text, MAX_TEXT)),
        false => text.to_owned(),
    }
}

/// Returns at most `most` bytes from the beginning, in whole characters.
fn head(text: &str, most: usize) -> &str {
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

/// Returns at most `most` bytes from the end, in whole characters.
fn tail(text: &str, most: usize) -> &str {
    let start = (text.len().saturating_sub(most)..=text.len()).find(|start| text.is_char_boundary(*start));
    start.and_then(|start| text.get(start..)).unwrap_or(text)
}

/// Adds a character, escaped where it is a control character, a mark of direction, or otherwise not seen.
fn push_escaped(shown: &mut String, character: char) {
    match character {
        '"' | '\'' | '\\' => shown.push(character),
        ' '..='~' => shown.push(character),
        other => shown.extend(other.escape_debug()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_one_short_line_of_ascii() {
        let rows: [(&[u8], &str); 4] = [
            (b"GET", "GET"),
            (b"a\r\nsallyport: allowed", "a\\r\\nsallyport: allowed"),
            (b"\x1b[2J\x07", "\\x1b[2J\\x07"),
            (b"caf\xc3\xa9", "caf\\xc3\\xa9"),
        ];
        for (value, expected) in rows {
            assert_eq!(printable(value), expected);
        }
        assert_eq!(printable(&[b'x'; 200]).len(), 200);
        assert_eq!(printable(&[b'x'; 201]), format!("{}...", "x".repeat(200)));
        assert_eq!(printable(&[0; 10_000]), format!("{}...", "\\x00".repeat(50)));
    }

    #[test]
    fn texts_keep_letters_and_lose_what_is_not_seen() {
        let rows = [
            ("/caf\u{e9}", "/caf\u{e9}"),
            ("a\nb", "a\\nb"),
            ("\u{1b}[31m", "\\u{1b}[31m"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\u{202e}b\u{2028}c", "a\\u{202e}b\\u{2028}c"),
            (r#"say "it's" \d"#, r#"say "it's" \d"#),
        ];
        for (text, expected) in rows {
            assert_eq!(printable_text(text), expected);
            assert_eq!(printable_line(text, None), expected);
        }
        assert_eq!(printable_text(&"\u{e9}".repeat(101)), format!("{}...", "\u{e9}".repeat(100)));
        assert_eq!(printable_text(&"x".repeat(200)).len(), 200);
    }

    #[test]
    fn a_line_keeps_its_words_and_cuts_what_it_quotes() {
        let long = "x".repeat(50_000_000);
        let cut = format!("{}...", "x".repeat(200));
        let line = printable_line(&format!("bad path `{long}`: write `{long}/{{*}}`"), None);
        assert_eq!(line, format!("bad path `{cut}`: write `{cut}`"));

        let own = format!("{long}`{long}");
        let line = printable_line(&format!("bad path `{own}`: write another"), Some(&own));
        assert_eq!(line, format!("bad path `{cut}`: write another"));

        let many = printable_line(&"`x` ".repeat(10_000), None);
        assert_eq!(many.len(), HEAD + TAIL + " ... ".len());
        assert!(printable_line(&"`\n\u{e9}` ".repeat(10_000), None).len() <= MAX_LINE);
    }
}
