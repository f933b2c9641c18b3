//! Texts and positions in them.

/// Text of a file, with its name as it was given or found.
#[derive(Clone, Debug)]
pub struct Source {
    /// Name of the file.
    pub name: String,
    /// Content.
    pub text: String,
    /// Byte offsets at which lines begin.
    line_starts: Vec<usize>,
}

/// Part of a text, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Index of the source.
    pub source: usize,
    /// Offset of the first byte.
    pub start: usize,
    /// Offset behind the last byte.
    pub end: usize,
}

/// Position for people: lines and columns count from 1, columns and lengths in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
    /// Characters from there to the end of the part, on that line.
    pub length: usize,
}

impl Source {
    /// Takes a text.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { name: name.into(), text, line_starts }
    }

    /// Returns where a part begins, and its length on that line.
    pub fn position(&self, span: Span) -> Position {
        let line = self.line_starts.partition_point(|start| *start <= span.start).max(1);
        let line_start = self.line_starts.get(line - 1).copied().unwrap_or_default();
        let part = |start, end| self.text.get(start..end).unwrap_or_default();
        let first_line = part(span.start, span.end.max(span.start)).lines().next().unwrap_or_default();
        let column = part(line_start, span.start).chars().filter(|character| *character != '\u{feff}').count() + 1;
        Position { line, column, length: first_line.chars().count() }
    }

    /// Returns a line, counted from 1, without its end.
    pub fn line(&self, number: usize) -> &str {
        let start = number.checked_sub(1).and_then(|index| self.line_starts.get(index)).copied();
        let rest = start.and_then(|start| self.text.get(start..)).unwrap_or_default();
        rest.lines().next().unwrap_or_default()
    }

    /// Returns the byte offset of a line and a column, both counted from 1.
    pub(crate) fn offset(&self, line: usize, column: usize) -> usize {
        let start = line.checked_sub(1).and_then(|index| self.line_starts.get(index)).copied();
        let start = start.unwrap_or(self.text.len());
        let within = self.line(line).chars().take(column.saturating_sub(1)).map(char::len_utf8).sum::<usize>();
        start + within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        let source = Source::new("a.yaml", "a: 1\nü: [x, yz]\nlast");
        let at = |start, end| {
            let Position { line, column, length } = source.position(Span { source: 0, start, end });
            (line, column, length)
        };
        assert_eq!(at(0, 1), (1, 1, 1));
        assert_eq!(at(13, 15), (2, 8, 2));
        assert_eq!(at(5, 20), (2, 1, 10));
        assert_eq!(at(17, 21), (3, 1, 4));
        assert_eq!((source.line(2), source.line(3), source.line(4)), ("ü: [x, yz]", "last", ""));
        assert_eq!((source.offset(2, 8), source.offset(3, 1)), (13, 17));
    }
}
